#include "daemon/config.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <optional>
#include <span>
#include <sstream>

#include <fmt/ranges.h>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

namespace hyperward::daemon {
namespace {

constexpr size_t kMaxConfigBytes = 1UL << 20;
constexpr int64_t kMaxFlows = 16'000'000;

std::string at(const std::filesystem::path& file, const toml::source_region& where) {
  return fmt::format("{}:{}:{}", file.string(), where.begin.line, where.begin.column);
}

// One table of the file, read key by key: what is asked for is taken, what is left over in the end is a mistake.
class Section {
 public:
  Section(const toml::table* table, std::string name, const std::filesystem::path& file)
      : table_(table), name_(std::move(name)), file_(file) {}

  template <typename T>
  [[nodiscard]] Result<std::optional<T>> take(std::string_view key, std::string_view expected) {
    known_.emplace_back(key);
    const toml::node* node = table_ == nullptr ? nullptr : table_->get(key);
    if (node == nullptr) return std::nullopt;
    std::optional<T> value = node->value_exact<T>();
    if (!value) return fail(Code::kInvalid, "{}: {}.{} must be {}", at(file_, node->source()), name_, key, expected);
    return value;
  }

  [[nodiscard]] std::string where(std::string_view key) const { return at(file_, table_->get(key)->source()); }

  [[nodiscard]] Result<void> refuse_others() const {
    if (table_ == nullptr) return {};
    for (const auto& [key, node] : *table_) {
      if (std::find(known_.begin(), known_.end(), key.str()) == known_.end())
        return fail(Code::kInvalid, "{}: unknown key '{}' in [{}]; known are: {}", at(file_, key.source()), key.str(),
                    name_, fmt::join(known_, ", "));
    }
    return {};
  }

 private:
  const toml::table* table_;
  std::string name_;
  const std::filesystem::path& file_;
  std::vector<std::string> known_;
};

Result<std::map<std::string, uint32_t>> ids(const toml::table* table, const std::filesystem::path& file) {
  std::map<std::string, uint32_t> result;
  if (table == nullptr) return result;
  for (const auto& [key, node] : *table) {
    const std::optional<int64_t> id = node.value_exact<int64_t>();
    if (!id || *id < 0 || *id > UINT32_MAX - 1)
      return fail(Code::kInvalid, "{}: the id of '{}' must be a number from 0 to 4294967294", at(file, node.source()),
                  key.str());
    result[std::string(key.str())] = static_cast<uint32_t>(*id);
  }
  return result;
}

Result<const toml::table*> section_table(const toml::table& root, std::string_view name,
                                         const std::filesystem::path& file) {
  const toml::node* node = root.get(name);
  if (node == nullptr) return nullptr;
  if (!node->is_table()) return fail(Code::kInvalid, "{}: [{}] must be a table", at(file, node->source()), name);
  return node->as_table();
}

}  // namespace

Result<std::string> read_file(const std::filesystem::path& file, size_t max_bytes) {
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) return fail(Code::kInvalid, "{} is a directory", file.string());
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return fail_errno(errno, fmt::format("open {}", file.string()));
  std::string text(max_bytes + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(stream.gcount()));
  if (text.size() > max_bytes) return fail(Code::kLimit, "{} is longer than {} bytes", file.string(), max_bytes);
  return text;
}

Result<Config> load_config(const std::filesystem::path& file) {
  HW_TRY(const std::string text, read_file(file, kMaxConfigBytes));
  return parse_config(text, file);
}

Result<Config> parse_config(std::string_view text, const std::filesystem::path& file) {
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    return fail(Code::kInvalid, "{}: {}", at(file, parsed.error().source()), parsed.error().description());
  }
  const toml::table& root = parsed.table();
  for (const auto& [key, node] : root) {
    const std::string_view name = key.str();
    if (name != "guest" && name != "guard" && name != "users" && name != "groups")
      return fail(Code::kInvalid, "{}: unknown section '{}'; known are: guest, guard, users, groups",
                  at(file, key.source()), name);
  }

  Config config;
  HW_TRY(const toml::table* guest_table, section_table(root, "guest", file));
  Section guest(guest_table, "guest", file);
  HW_TRY(const auto name, guest.take<std::string>("name", "a string"));
  HW_TRY(const auto pid, guest.take<int64_t>("pid", "a number"));
  HW_TRY(const auto qmp, guest.take<std::string>("qmp", "a path"));
  HW_TRY(const auto access, guest.take<std::string>("access", "a string"));
  HW_OK(guest.refuse_others());
  if (!name && !pid && !qmp) return fail(Code::kInvalid, "{}: [guest] needs a name, a pid or a qmp", file.string());
  config.guest = {.name = name.value_or(""), .pid = static_cast<int>(pid.value_or(0)), .qmp = qmp.value_or("")};
  if (access) {
    const auto parsed_access = access_from(*access);
    if (!parsed_access) return within(parsed_access.error(), "{}", guest.where("access"));
    config.guest.access = *parsed_access;
  }

  HW_TRY(const toml::table* guard_table, section_table(root, "guard", file));
  Section guard(guard_table, "guard", file);
  HW_TRY(const auto tap, guard.take<std::string>("tap", "an interface's name"));
  HW_TRY(const auto rules, guard.take<std::string>("rules", "a path"));
  HW_TRY(const auto default_verdict, guard.take<std::string>("default", "\"allow\" or \"deny\""));
  HW_TRY(const auto max_flows, guard.take<int64_t>("max_flows", "a number"));
  HW_OK(guard.refuse_others());
  if (!tap) return fail(Code::kInvalid, "{}: [guard] needs a tap", file.string());
  if (!rules) return fail(Code::kInvalid, "{}: [guard] needs rules", file.string());
  config.tap = *tap;
  config.rules = file.parent_path() / *rules;
  if (default_verdict && *default_verdict != "allow" && *default_verdict != "deny")
    return fail(Code::kInvalid, "{}: guard.default must be \"allow\" or \"deny\"", guard.where("default"));
  config.default_allow = default_verdict == "allow";
  if (max_flows && (*max_flows < 1 || *max_flows > kMaxFlows))
    return fail(Code::kInvalid, "{}: guard.max_flows must be from 1 to {}", guard.where("max_flows"), kMaxFlows);
  config.max_flows = static_cast<uint32_t>(max_flows.value_or(config.max_flows));

  HW_TRY(const toml::table* users, section_table(root, "users", file));
  HW_TRY(config.users, ids(users, file));
  HW_TRY(const toml::table* groups, section_table(root, "groups", file));
  HW_TRY(config.groups, ids(groups, file));
  return config;
}

}  // namespace hyperward::daemon
