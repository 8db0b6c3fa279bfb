#include "memory/mapped_memory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "memory/ram_handle.h"

namespace hyperward::memory {

Result<std::unique_ptr<MappedMemory>> MappedMemory::open(Fd file, Layout layout) {
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return fail_errno(errno, "stat the RAM's file");
  if (static_cast<uint64_t>(status.st_size) < layout.end_offset())
    return fail(Code::kInvalid, "the file of {:#x} bytes is shorter than the RAM of {:#x} bytes that it should hold",
                status.st_size, layout.end_offset());
  HW_TRY(Mapping mapping, Mapping::read_only(file, layout.end_offset()));
  return std::unique_ptr<MappedMemory>(new MappedMemory(std::move(file), std::move(mapping), std::move(layout)));
}

bool MappedMemory::read(GuestPhysical address, std::span<std::byte> out) const {
  const std::byte* data = mapping_.bytes().data();
  while (!out.empty()) {
    const Segment* segment = layout_.find(address);
    if (segment == nullptr) return false;
    const uint64_t within = address.value - segment->start.value;
    const size_t size = std::min<uint64_t>(out.size(), segment->size_bytes - within);
    std::memcpy(out.data(), data + segment->offset + within, size);
    address = address + size;
    out = out.subspan(size);
  }
  // The guest writes while we read. What is judged later must be this copy: keep the compiler from reading twice.
  asm volatile("" ::: "memory");
  return true;
}

Result<std::vector<Range>> MappedMemory::populated() const {
  std::vector<Range> ranges;
  const auto end = static_cast<off_t>(layout_.end_offset());
  for (off_t offset = 0; offset < end;) {
    const off_t data = ::lseek(file_.get(), offset, SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;  // holes up to the end
    if (data < 0) return fail_errno(errno, "look for data in the RAM's file");
    if (data >= end) break;
    off_t hole = ::lseek(file_.get(), data, SEEK_HOLE);
    if (hole < 0) return fail_errno(errno, "look for holes in the RAM's file");
    if (hole == data) hole = data + static_cast<off_t>(kPageSize);  // the page went away in between
    layout_.append_ranges(static_cast<uint64_t>(data), static_cast<uint64_t>(std::min(hole, end) - data), ranges);
    offset = hole;
  }
  std::ranges::sort(ranges, {}, &Range::start);
  return ranges;
}

Result<RamHandle> MappedMemory::handle() const {
  Fd file(::open(fmt::format("/proc/self/fd/{}", file_.get()).c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return fail_errno(errno, "open the RAM's file for reading");
  const auto segments = layout_.segments();
  return RamHandle{.segments = {segments.begin(), segments.end()}, .ram = std::move(file), .pages = Fd()};
}

}  // namespace hyperward::memory
