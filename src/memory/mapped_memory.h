// Guest RAM through a mapping of the file that holds it: QEMU's memory backend with share=on, or a dump.
//
// A read is a bounds check and a copy. Two things to know about mappings of somebody else's file:
//   - A file that shrinks below its mapping raises SIGBUS on the next read. QEMU seals its memfd against that
//     (F_SEAL_SHRINK, memory-backend-memfd's default), and never shrinks a memory-backend-file; nothing a guest does
//     can. open() checks the size once. For files that another user could cut, copy first, or read by ProcessMemory.
//   - Reading a hole of a shared file makes the host fill it with a page. Scans go by populated().
#pragma once

#include <memory>

#include "base/fd.h"
#include "base/mapping.h"
#include "memory/layout.h"
#include "memory/physical_memory.h"

namespace hyperward::memory {

class MappedMemory final : public PhysicalMemory {
 public:
  // `file` must hold all that `layout` names.
  [[nodiscard]] static Result<std::unique_ptr<MappedMemory>> open(Fd file, Layout layout);

  [[nodiscard]] bool read(GuestPhysical address, std::span<std::byte> out) const override;
  [[nodiscard]] std::span<const Range> ram() const override { return layout_.ranges(); }
  [[nodiscard]] Result<std::vector<Range>> populated() const override;

  // The RAM's file opened anew for reading, so that no mapping of it can be made writable.
  [[nodiscard]] Result<RamHandle> handle() const override;

 private:
  MappedMemory(Fd file, Mapping mapping, Layout layout)
      : file_(std::move(file)), mapping_(std::move(mapping)), layout_(std::move(layout)) {}

  Fd file_;
  Mapping mapping_;
  Layout layout_;
};

}  // namespace hyperward::memory
