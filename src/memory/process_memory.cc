#include "memory/process_memory.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>

namespace hyperward::memory {
namespace {

constexpr size_t kMaxVectors = IOV_MAX;

// /proc/PID/pagemap, Documentation/admin-guide/mm/pagemap.rst: one word for each page.
constexpr uint64_t kPageIsPresent = uint64_t{1} << 63;
constexpr uint64_t kPageIsSwapped = uint64_t{1} << 62;

}  // namespace

Result<std::unique_ptr<ProcessMemory>> ProcessMemory::open(pid_t pid, uint64_t host_address, Layout layout) {
  HW_TRY(ProcessHandle process, ProcessHandle::open(pid));
  Fd pagemap(::open(fmt::format("/proc/{}/pagemap", pid).c_str(), O_RDONLY | O_CLOEXEC));
  if (!pagemap.valid()) return fail_errno(errno, fmt::format("open /proc/{}/pagemap", pid));
  std::unique_ptr<ProcessMemory> memory(
      new ProcessMemory(std::move(process), std::move(pagemap), host_address, std::move(layout)));
  std::byte probe;
  if (!memory->read(memory->ram().front().start, std::span(&probe, 1)))
    return fail_errno(errno != 0 ? errno : ESRCH, fmt::format("read the memory of process {}", pid));
  return memory;
}

bool ProcessMemory::read(GuestPhysical address, std::span<std::byte> out) const {
  const Piece piece{address, out};
  return read_many({&piece, 1});
}

bool ProcessMemory::read_many(std::span<const Piece> pieces) const {
  std::array<iovec, kMaxVectors> local;   // NOLINT(*-member-init): filled up to `count`
  std::array<iovec, kMaxVectors> remote;  // NOLINT(*-member-init): likewise
  size_t count = 0;
  size_t size_bytes = 0;
  const auto flush = [&] {
    const ssize_t done = ::process_vm_readv(process_.pid(), local.data(), count, remote.data(), count, 0);
    const bool is_complete = done >= 0 && static_cast<size_t>(done) == size_bytes;
    count = 0;
    size_bytes = 0;
    return is_complete;
  };
  for (Piece piece : pieces) {
    while (!piece.out.empty()) {
      const Segment* segment = layout_.find(piece.address);
      if (segment == nullptr) return false;
      const uint64_t within = piece.address.value - segment->start.value;
      const size_t size = std::min<uint64_t>(piece.out.size(), segment->size_bytes - within);
      local[count] = {piece.out.data(), size};
      // An address in the other process: a number that becomes a pointer only because iovec says so.
      remote[count] = {reinterpret_cast<void*>(host_address_ + segment->offset + within),
                       size};  // NOLINT(*-int-to-ptr)
      size_bytes += size;
      if (++count == kMaxVectors && !flush()) return false;
      piece = {piece.address + size, piece.out.subspan(size)};
    }
  }
  if (count != 0 && !flush()) return false;
  return process_.is_alive();
}

Result<std::vector<Range>> ProcessMemory::populated() const {
  std::vector<Range> ranges;
  std::array<uint64_t, 4096> words;  // NOLINT(*-member-init): filled by pread
  for (const Segment& segment : layout_.segments()) {
    const uint64_t first_page = (host_address_ + segment.offset) / kPageSize;
    const uint64_t pages = segment.size_bytes / kPageSize;
    for (uint64_t page = 0; page < pages;) {
      const size_t wanted = std::min<uint64_t>(words.size(), pages - page) * sizeof(uint64_t);
      const ssize_t got =
          ::pread(pagemap_.get(), words.data(), wanted, static_cast<off_t>((first_page + page) * sizeof(uint64_t)));
      if (got < 0) return fail_errno(errno, fmt::format("read the page map of process {}", process_.pid()));
      if (got == 0) return fail(Code::kNotFound, "process {} has ended", process_.pid());
      for (size_t i = 0; i < static_cast<size_t>(got) / sizeof(uint64_t); ++i, ++page) {
        if ((words[i] & (kPageIsPresent | kPageIsSwapped)) == 0) continue;
        const GuestPhysical start = segment.start + page * kPageSize;
        if (!ranges.empty() && ranges.back().start + ranges.back().size_bytes == start)
          ranges.back().size_bytes += kPageSize;
        else
          ranges.push_back({start, kPageSize});
      }
    }
  }
  return ranges;
}

}  // namespace hyperward::memory
