#include "memory/handed_memory.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "memory/page_map.h"

namespace hyperward::memory {

Result<std::unique_ptr<HandedMemory>> HandedMemory::open(Fd memory, Fd page_map, uint64_t host_address, Layout layout) {
  std::unique_ptr<HandedMemory> opened(
      new HandedMemory(std::move(memory), std::move(page_map), host_address, std::move(layout)));
  std::byte probe;
  if (!opened->read(opened->ram().front().start, std::span(&probe, 1)))
    return fail_errno(errno != 0 ? errno : ESRCH, "read the memory of QEMU");
  return opened;
}

bool HandedMemory::read(GuestPhysical address, std::span<std::byte> out) const {
  while (!out.empty()) {
    const Segment* const segment = layout_.find(address);
    if (segment == nullptr) return false;
    const uint64_t within = address.value - segment->start.value;
    const size_t size = std::min<uint64_t>(out.size(), segment->size_bytes - within);
    // Nothing is read of a process that has ended: its memory is held by its number no more.
    const auto at = static_cast<off_t>(host_address_ + segment->offset + within);
    if (::pread(memory_.get(), out.data(), size, at) != static_cast<ssize_t>(size)) return false;
    address = address + size;
    out = out.subspan(size);
  }
  return true;
}

Result<std::vector<Range>> HandedMemory::populated() const {
  return memory::populated(page_map_, host_address_, layout_);
}

}  // namespace hyperward::memory
