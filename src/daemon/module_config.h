// A filter module that a guest shall have: what a [[module]] of its file says, and the API's JSON, with the same keys.
//
//   [[module]]
//   name = "rate"                     # one word, the guest's only one of that name; default: the file's, without .so
//   file = "connection_rate.so"       # a path, or a file of the directory where modules are installed
//   run = "process"                   # in a process of its own; or "daemon"
//   settings = { per_second = 20 }    # the module's own
//   batch = 32                        # in a process: how many packets it gets at once, at most,
//   batch_wait_us = 0                 # how long they wait for one another,
//   deadline_ms = 200                 # how long the oldest may wait for its answer,
//   memory_mb = 256                   # and how much memory it may use
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "filter/module.h"

namespace hyperward::daemon {

class Section;  // of a TOML file: toml_section.h

struct ModuleConfig {
  enum class Run : uint8_t { kProcess, kDaemon };

  std::string name;
  std::filesystem::path file;  // absolute
  Run run = Run::kProcess;
  std::string settings = "{}";  // a JSON object
  uint32_t batch = 32;
  std::chrono::microseconds batch_wait{0};
  std::chrono::milliseconds deadline{200};
  uint32_t memory_mb = 256;

  bool operator==(const ModuleConfig&) const = default;
};
[[nodiscard]] std::string_view to_string(ModuleConfig::Run run);  // "process", "daemon"

struct ModuleMistake {
  std::string key;
  std::string message;  // a sentence that names the key
};
// Of a JSON object. What is not given is `base`'s: of a module that is to be changed, or nothing.
[[nodiscard]] std::expected<ModuleConfig, ModuleMistake> module_from(const nlohmann::json& value,
                                                                     const ModuleConfig& base = {});
[[nodiscard]] nlohmann::json to_json(const ModuleConfig& module);

// Every [[module]] of a guest's file.
[[nodiscard]] Result<std::vector<ModuleConfig>> read_modules(std::vector<Section>& sections);

}  // namespace hyperward::daemon
