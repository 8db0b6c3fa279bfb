#include "memory/process_memory.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <string_view>

#include "memory/page_map.h"
#include "memory/ram_handle.h"

namespace hyperward::memory {
namespace {

constexpr size_t kMaxVectors = IOV_MAX;

Result<Fd> open_of(pid_t pid, std::string_view file) {
  const std::string path = fmt::format("/proc/{}/{}", pid, file);
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno(errno, "open " + path);
  return fd;
}

}  // namespace

Result<std::unique_ptr<ProcessMemory>> ProcessMemory::open(pid_t pid, uint64_t host_address, Layout layout) {
  HW_TRY(ProcessHandle process, ProcessHandle::open(pid));
  HW_TRY(Fd page_map, open_of(pid, "pagemap"));
  std::unique_ptr<ProcessMemory> memory(
      new ProcessMemory(std::move(process), std::move(page_map), host_address, std::move(layout)));
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
  return memory::populated(page_map_, host_address_, layout_);
}

Result<RamHandle> ProcessMemory::handle() const {
  HW_TRY(Fd memory, open_of(process_.pid(), "mem"));
  HW_TRY(Fd page_map, open_of(process_.pid(), "pagemap"));
  if (!process_.is_alive()) return fail(Code::kNotFound, "process {} has ended", process_.pid());
  const auto segments = layout_.segments();
  return RamHandle{.segments = {segments.begin(), segments.end()},
                   .ram = std::move(memory),
                   .pages = std::move(page_map),
                   .host_address = host_address_};
}

}  // namespace hyperward::memory
