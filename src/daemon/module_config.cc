#include "daemon/module_config.h"

#include <algorithm>
#include <sstream>

#include "daemon/toml_section.h"
#include "filter/chain.h"

namespace hyperward::daemon {
namespace {

using nlohmann::json;

constexpr std::string_view kSuffix = ".so";

bool is_word(std::string_view text) {
  return !text.empty() && text.size() <= filter::kModuleNameMaxBytes &&
         std::ranges::all_of(text, [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-'; });
}

std::filesystem::path found(const std::string& file) {
  const std::filesystem::path path(file);
  return path.is_absolute() ? path : std::filesystem::path(HYPERWARD_MODULE_DIR) / path;
}

Result<uint32_t> number_of(const json& value, std::string_view key, uint32_t least, uint32_t most) {
  if (!value.is_number_integer() || value < json(least) || value > json(most))
    return fail(Code::kInvalid, "{} must be a number from {} to {}", key, least, most);
  return value.get<uint32_t>();
}

Result<std::string> string_of(const json& value, std::string_view key) {
  if (!value.is_string() || value.get_ref<const std::string&>().empty())
    return fail(Code::kInvalid, "{} must be a string", key);
  return value.get<std::string>();
}

Result<void> take(const std::string& key, const json& value, ModuleConfig& module) {
  if (key == "name") {
    HW_TRY(module.name, string_of(value, key));
  } else if (key == "file") {
    HW_TRY(const std::string file, string_of(value, key));
    module.file = found(file);
  } else if (key == "run") {
    if (value != "process" && value != "daemon") return fail(Code::kInvalid, R"(run must be "process" or "daemon")");
    module.run = value == "process" ? ModuleConfig::Run::kProcess : ModuleConfig::Run::kDaemon;
  } else if (key == "settings") {
    if (!value.is_object()) return fail(Code::kInvalid, "settings must be a table");
    module.settings = value.dump(-1, ' ', false, json::error_handler_t::replace);
  } else if (key == "batch") {
    HW_TRY(module.batch, number_of(value, key, 1, 256));
  } else if (key == "batch_wait_us") {
    HW_TRY(const uint32_t wait, number_of(value, key, 0, 100'000));
    module.batch_wait = std::chrono::microseconds(wait);
  } else if (key == "deadline_ms") {
    HW_TRY(const uint32_t deadline, number_of(value, key, 1, 60'000));
    module.deadline = std::chrono::milliseconds(deadline);
  } else if (key == "memory_mb") {
    HW_TRY(module.memory_mb, number_of(value, key, 16, 65'536));
  } else {
    return fail(Code::kInvalid,
                "unknown key '{}'; known are: name, file, run, settings, batch, batch_wait_us, deadline_ms, memory_mb",
                key);
  }
  return {};
}

}  // namespace

std::string_view to_string(ModuleConfig::Run run) {
  return run == ModuleConfig::Run::kProcess ? "process" : "daemon";
}

std::expected<ModuleConfig, ModuleMistake> module_from(const json& value, const ModuleConfig& base) {
  const auto mistake = [](std::string key, std::string message) {
    return std::unexpected(ModuleMistake{.key = std::move(key), .message = std::move(message)});
  };
  ModuleConfig module = base;
  for (const auto& [key, one] : value.items())
    if (auto taken = take(key, one, module); !taken) return mistake(key, std::move(taken).error().message);
  if (module.file.empty()) return mistake("file", "file is missing: the module's shared object");
  if (module.name.empty()) {
    module.name = module.file.filename().string();
    if (module.name.ends_with(kSuffix)) module.name.resize(module.name.size() - kSuffix.size());
  }
  if (!is_word(module.name))
    return mistake("name", fmt::format("name must be one word of letters, digits, _ and -, {} at most",
                                       filter::kModuleNameMaxBytes));
  return module;
}

json to_json(const ModuleConfig& module) {
  return {{"name", module.name},
          {"file", module.file.string()},
          {"run", to_string(module.run)},
          {"settings", json::parse(module.settings, nullptr, false)},
          {"batch", module.batch},
          {"batch_wait_us", module.batch_wait.count()},
          {"deadline_ms", module.deadline.count()},
          {"memory_mb", module.memory_mb}};
}

Result<std::vector<ModuleConfig>> read_modules(std::vector<Section>& sections) {
  std::vector<ModuleConfig> modules;
  for (const Section& section : sections) {
    const auto mistake = [&](std::string_view what) {
      return fail(Code::kInvalid, "{}: [[module]]: {}", section.at(section.table()->source()), what);
    };
    std::ostringstream text;
    text << toml::json_formatter(*section.table());
    const json value = json::parse(text.str(), nullptr, false);
    if (!value.is_object()) return mistake("has a value that JSON does not know");
    auto module = module_from(value);
    if (!module) return mistake(module.error().message);
    if (std::ranges::find(modules, module->name, &ModuleConfig::name) != modules.end())
      return mistake(fmt::format("there are two of the name '{}'", module->name));
    modules.push_back(*std::move(module));
  }
  if (modules.size() > filter::Chain::kModulesMax)
    return fail(Code::kLimit, "{}: a guest may have {} modules", sections[0].at(sections[0].table()->source()),
                filter::Chain::kModulesMax);
  return modules;
}

}  // namespace hyperward::daemon
