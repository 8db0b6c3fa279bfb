// A guest's RAM for another process: what that one needs to read it, and to do no more.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/fd.h"
#include "memory/layout.h"
#include "memory/physical_memory.h"

namespace hyperward::memory {

struct RamHandle {
  std::vector<Segment> segments;  // as Layout::of() takes them
  // Opened for reading. The RAM's file; or /proc/PID/mem of the QEMU whose private memory it is, and with the RAM then
  // everything else in that process: whoever gets it must be trusted with that.
  Fd ram;
  Fd pages;                   // /proc/PID/pagemap of that QEMU; invalid: `ram` is the RAM's file
  uint64_t host_address = 0;  // of the block, in that QEMU
};

// Mapped when `ram` is a file, else by pread through a CachedMemory. The errors of the one and the other.
[[nodiscard]] Result<std::unique_ptr<PhysicalMemory>> open(RamHandle handle);

}  // namespace hyperward::memory
