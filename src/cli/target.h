// Which guest a command means, and the way to its memory.
#pragma once

#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "base/result.h"
#include "daemon/guest_source.h"
#include "memory/physical_memory.h"

namespace hyperward::cli {

struct Target {
  daemon::GuestSource guest;  // a running one
  std::string memory_file;    // or a dump of one's memory
  std::string access = "auto";

  // Adds --pid, --qmp, --memory and --access; the name is positional and added by the command itself.
  void add_options(CLI::App& command);
};

[[nodiscard]] Result<std::unique_ptr<memory::PhysicalMemory>> open_memory(const Target& target);

}  // namespace hyperward::cli
