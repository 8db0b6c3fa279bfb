// Ways to a guest's RAM: a running QEMU, or a dump of one.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>

#include "memory/layout.h"
#include "memory/physical_memory.h"

namespace hyperward::memory {

struct OpenOptions {
  std::optional<std::string_view> mtree;       // the monitor's `info mtree -f`; else the arguments tell the layout
  std::optional<uint64_t> ram_host_address{};  // the monitor's `gpa2hva 0`; else found in the process's maps
  bool force_process_reads = false;            // process_vm_readv even when the RAM could be mapped
};

// The RAM of the guest that QEMU process `pid` runs: mapped when its backend is shared, else by process_vm_readv.
// kNotFound: no such process; kInvalid: it is no QEMU; kPermission; kUnsupported: its RAM was not recognised.
[[nodiscard]] Result<std::unique_ptr<PhysicalMemory>> open_process(pid_t pid, const OpenOptions& options = {});

// A raw dump, whose offsets are guest-physical addresses unless a layout says otherwise, or an ELF vmcore as
// `dump-guest-memory` writes it, with and without paging=true.
[[nodiscard]] Result<std::unique_ptr<PhysicalMemory>> open_dump(const std::filesystem::path& path,
                                                                std::optional<Layout> layout = std::nullopt);

}  // namespace hyperward::memory
