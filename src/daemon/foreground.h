// A guard by itself, in the foreground: until SIGINT or SIGTERM, or until the guest's QEMU ends. SIGHUP reads its file
// and its rules again.
#pragma once

#include <filesystem>

#include "base/fd.h"
#include "base/result.h"

namespace hyperward::daemon {

// SIGINT, SIGTERM and SIGHUP, to be read from a descriptor; blocked in this thread, and those that it starts later.
[[nodiscard]] Result<Fd> watch_signals();
// The next one that waits; 0: none does.
[[nodiscard]] int next_signal(const Fd& signals);

[[nodiscard]] Result<void> guard_in_foreground(const std::filesystem::path& config_file);

}  // namespace hyperward::daemon
