#include "daemon/guest_modules.h"

#include <algorithm>

#include "filter/chain.h"
#include "guest/types.h"

namespace hyperward::daemon {
namespace {

using nlohmann::json;

json info_json(const filter::ModuleInfo& info) {
  return {{"name", info.name},
          {"version", guest::printable(info.version)},
          {"description", guest::printable(info.description)}};
}

json status_json(const filter::ModuleStatus& status) {
  json counters = json::object();
  for (const filter::ModuleCounter& counter : status.counters) counters[counter.name] = counter.value;
  return {{"asked", status.asked},
          {"denied", status.denied},
          {"faults", status.faults},
          {"restarts", status.restarts},
          {"pid", status.pid == 0 ? json(nullptr) : json(status.pid)},
          {"running", status.running},
          {"last_fault", status.last_fault.empty() ? json(nullptr) : json(guest::printable(status.last_fault))},
          {"counters", std::move(counters)}};
}

}  // namespace

Result<std::vector<ModuleConfig>> modules_of(const Config& guest, std::span<const StoredModule> run_time) {
  std::vector<ModuleConfig> modules = guest.modules;
  for (const StoredModule& one : run_time) {
    const json config = json::parse(one.config, nullptr, /*allow_exceptions=*/false);
    if (!config.is_object()) return fail(Code::kInvalid, "{}: module '{}' is stored damaged", guest.label(), one.name);
    auto module = module_from(config);
    if (!module)
      return fail(Code::kInvalid, "{}: module '{}' of run time: {}", guest.label(), one.name, module.error().message);
    if (std::ranges::find(modules, one.name, &ModuleConfig::name) != modules.end())
      return fail(Code::kInvalid, "{}: module '{}' is in the guest's file and was loaded at run time: unload that one",
                  guest.label(), one.name);
    modules.push_back(*std::move(module));
  }
  if (modules.size() > filter::Chain::kModulesMax)
    return fail(Code::kLimit, "{}: a guest may have {} modules", guest.label(), filter::Chain::kModulesMax);
  return modules;
}

StoredModule stored(const std::string& guest, const ModuleConfig& module) {
  return {.guest = guest,
          .name = module.name,
          .config = to_json(module).dump(-1, ' ', false, json::error_handler_t::replace)};
}

json to_json(const GuestModule& module) {
  json value = to_json(module.config);
  value["origin"] = module.of_file ? "file" : "run-time";
  value["info"] = module.loaded ? info_json(module.loaded->info) : json(nullptr);
  value["status"] = module.loaded ? status_json(module.loaded->status) : json(nullptr);
  return value;
}

}  // namespace hyperward::daemon
