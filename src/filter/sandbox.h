// What a module's process may do, by stages: a module is somebody else's code in somebody else's hands, and is given
// packets, a guest's memory to read, and nothing.
//
//   loading   the module's file and the system's libraries are read and become code; constructors and create() run
//             here already. From before the file is opened.
//   serving   no files, no new code: memory, clocks, and the descriptors that it has. From before the first question,
//             for good.
//
// In either, whatever is not allowed ends the process at once (SIGSYS): a fault like any crash, that tells the author
// what it was. Threads and processes are not to be had: a second thread could go on while nothing is asked.
//
// Each measure stands for itself; none is believed to be whole. What they leave: reading what Landlock allows (system
// libraries, the module), finding out which files there are, as much processor time as the deadline grants, and the
// kernel's faults behind some forty system calls. Where there is no Landlock a module's constructors may read what
// root may read; serving is the same. enter_loading() says which it is.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/result.h"

namespace hyperward::filter {

struct SandboxLimits {
  std::filesystem::path module;  // to be read; "": none
  uint64_t memory_bytes = 0;     // of addresses, beside those that the process takes already
};

// In the order of what follows: no new privileges, no capabilities, nobody traces or dumps this process, it ends with
// the thread that started it, is the first to go when memory is short, keeps the descriptors 0 to `last_fd`, is
// limited, reads few files (Landlock), calls few calls (seccomp). Gives Landlock's version in this kernel; 0: it has
// none.
[[nodiscard]] Result<int> enter_loading(const SandboxLimits& limits, int last_fd);
[[nodiscard]] Result<void> enter_serving();

}  // namespace hyperward::filter
