// The modules of a guest: its file's, in their order, then those that were loaded at run time, in theirs.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "daemon/config.h"
#include "daemon/module_config.h"
#include "daemon/store.h"
#include "filter/module.h"

namespace hyperward::daemon {

// kInvalid: two have one name, or what is stored is none; kLimit: more than a guest may have.
[[nodiscard]] Result<std::vector<ModuleConfig>> modules_of(const Config& guest, std::span<const StoredModule> run_time);

[[nodiscard]] StoredModule stored(const std::string& guest, const ModuleConfig& module);

// One of them, and how it fares.
struct GuestModule {
  ModuleConfig config;
  bool of_file = true;
  struct Loaded {
    filter::ModuleInfo info;
    filter::ModuleStatus status;
  };
  std::optional<Loaded> loaded = std::nullopt;  // nothing: the guest is not guarded at the moment
};
[[nodiscard]] nlohmann::json to_json(const GuestModule& module);  // docs/openapi.json: Module

}  // namespace hyperward::daemon
