// A guest's modules: how they are started, and what those in processes of their own are shown of the guest.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "daemon/module_config.h"
#include "filter/module_process.h"
#include "guest/guest.h"

namespace hyperward::daemon {

// The guest of this moment, for whoever asks about it later. Must outlive the modules that load_module() starts.
struct GuestNow {
  std::string label;  // of the guest, in messages
  // Where the questions are kept that a process had in hand when it ended: for `hyperward module replay`.
  std::filesystem::path recordings = {};
  std::unique_ptr<guest::Guest> guest = {};  // nullptr: it cannot be read at the moment
  uint64_t boots = 0;                        // kernels that were found, with this one
  // The process of a module has ended, and is started again.
  std::function<void(const std::string& module, const filter::ModuleEnd& end)> module_ended = {};

  void found(std::unique_ptr<guest::Guest> kernel) {
    guest = std::move(kernel);
    ++boots;
  }
};

// kInvalid, naming the guest and the module, with LoadedModule's or ModuleProcess's words.
[[nodiscard]] Result<std::unique_ptr<filter::Module>> load_module(const ModuleConfig& module, const GuestNow& now);

}  // namespace hyperward::daemon
