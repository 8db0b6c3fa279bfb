// Guest RAM in the anonymous memory of a QEMU process, read by process_vm_readv: stock QEMU with no backend at all.
//
// Every read is a system call of 1 to 4 us: put a CachedMemory before it.
#pragma once

#include <sys/types.h>

#include <memory>

#include "base/fd.h"
#include "memory/layout.h"
#include "memory/physical_memory.h"

namespace hyperward::memory {

class ProcessMemory final : public PhysicalMemory {
 public:
  // The block of `layout` starts at `host_address` in the process `pid`.
  [[nodiscard]] static Result<std::unique_ptr<ProcessMemory>> open(pid_t pid, uint64_t host_address, Layout layout);

  [[nodiscard]] bool read(GuestPhysical address, std::span<std::byte> out) const override;
  [[nodiscard]] bool read_many(std::span<const Piece> pieces) const override;
  [[nodiscard]] std::span<const Range> ram() const override { return layout_.ranges(); }
  [[nodiscard]] Result<std::vector<Range>> populated() const override;  // by pagemap; reads no page

 private:
  ProcessMemory(pid_t pid, Fd process, Fd pagemap, uint64_t host_address, Layout layout)
      : pid_(pid),
        process_(std::move(process)),
        pagemap_(std::move(pagemap)),
        host_address_(host_address),
        layout_(std::move(layout)) {}

  // True while `pid_` still means the process that was opened: a number is given to a new process some time after
  // its owner has ended, and what was read then would be somebody else's.
  [[nodiscard]] bool is_alive() const;

  pid_t pid_;
  Fd process_;  // a pidfd
  Fd pagemap_;
  uint64_t host_address_;
  Layout layout_;
};

}  // namespace hyperward::memory
