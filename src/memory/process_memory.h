// Guest RAM in the anonymous memory of a QEMU process, read by process_vm_readv: stock QEMU with no backend at all.
//
// Every read is a system call of 1 to 4 us: put a CachedMemory before it.
#pragma once

#include <sys/types.h>

#include <memory>

#include "base/fd.h"
#include "memory/layout.h"
#include "memory/physical_memory.h"
#include "memory/process_handle.h"

namespace hyperward::memory {

class ProcessMemory final : public PhysicalMemory {
 public:
  // The block of `layout` starts at `host_address` in the process `pid`.
  [[nodiscard]] static Result<std::unique_ptr<ProcessMemory>> open(pid_t pid, uint64_t host_address, Layout layout);

  [[nodiscard]] bool read(GuestPhysical address, std::span<std::byte> out) const override;
  [[nodiscard]] bool read_many(std::span<const Piece> pieces) const override;
  [[nodiscard]] std::span<const Range> ram() const override { return layout_.ranges(); }
  [[nodiscard]] Result<std::vector<Range>> populated() const override;
  [[nodiscard]] Result<RamHandle> handle() const override;

 private:
  ProcessMemory(ProcessHandle process, Fd page_map, uint64_t host_address, Layout layout)
      : process_(std::move(process)),
        page_map_(std::move(page_map)),
        host_address_(host_address),
        layout_(std::move(layout)) {}

  ProcessHandle process_;
  Fd page_map_;
  uint64_t host_address_;
  Layout layout_;
};

}  // namespace hyperward::memory
