// What a guard tells the other commands while it runs, in one small file per guest under /run/hyperward.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hyperward::daemon {

struct GuardState {
  std::string guest;  // its label
  std::string tap;
  std::string pins;                          // where its flows are: datapath::FlowReader
  std::string config;                        // the file, absolute
  std::string rules;                         // the text of the file that is in force
  std::map<uint32_t, std::string> run_time;  // rules added at run time, by id
  std::map<uint32_t, std::string> modules;   // their names, by place: filter/decider.h
  uint32_t generation = 0;                   // of these rules and modules
  pid_t pid = 0;                             // of the guard; it may have ended since
  // Whose flows these are: the virtual machine, by its process, and its boot; 0: it could not be read yet.
  struct Machine {
    pid_t qemu = 0;
    uint64_t start_time = 0;  // as vm::Qemu has it
    uint64_t boot = 0;        // kernel::Kernel::boot_identity()
  };
  Machine machine{};
};

// Replaces the file whole, so that a reader never sees half of it.
[[nodiscard]] Result<void> save_state(const GuardState& state);
// kNotFound: nothing guards, or has guarded, a guest of this label.
[[nodiscard]] Result<GuardState> load_state(std::string_view guest);
[[nodiscard]] Result<void> remove_state(std::string_view guest);

// Whether the guard that wrote the state still runs.
[[nodiscard]] bool is_alive(const GuardState& state);

}  // namespace hyperward::daemon
