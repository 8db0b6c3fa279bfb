// Guest RAM in the private memory of a QEMU process, read by a descriptor of its /proc/PID/mem that another process has
// opened: by one who is not permitted to reach processes himself.
//
// Every read is a system call, as ProcessMemory's: put a CachedMemory before it.
#pragma once

#include <memory>

#include "base/fd.h"
#include "memory/layout.h"
#include "memory/physical_memory.h"

namespace hyperward::memory {

class HandedMemory final : public PhysicalMemory {
 public:
  // `memory` and `page_map` are the process's; the block of `layout` starts at `host_address` in it.
  [[nodiscard]] static Result<std::unique_ptr<HandedMemory>> open(Fd memory, Fd page_map, uint64_t host_address,
                                                                  Layout layout);

  [[nodiscard]] bool read(GuestPhysical address, std::span<std::byte> out) const override;
  [[nodiscard]] std::span<const Range> ram() const override { return layout_.ranges(); }
  [[nodiscard]] Result<std::vector<Range>> populated() const override;

 private:
  HandedMemory(Fd memory, Fd page_map, uint64_t host_address, Layout layout)
      : memory_(std::move(memory)),
        page_map_(std::move(page_map)),
        host_address_(host_address),
        layout_(std::move(layout)) {}

  Fd memory_, page_map_;
  uint64_t host_address_;
  Layout layout_;
};

}  // namespace hyperward::memory
