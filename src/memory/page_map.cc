#include "memory/page_map.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace hyperward::memory {
namespace {

// One word for each page.
constexpr uint64_t kPageIsPresent = uint64_t{1} << 63;
constexpr uint64_t kPageIsSwapped = uint64_t{1} << 62;

}  // namespace

Result<std::vector<Range>> populated(const Fd& page_map, uint64_t host_address, const Layout& layout) {
  std::vector<Range> ranges;
  std::array<uint64_t, 4096> words;  // NOLINT(*-member-init): filled by pread
  for (const Segment& segment : layout.segments()) {
    const uint64_t first_page = (host_address + segment.offset) / kPageSize;
    const uint64_t pages = segment.size_bytes / kPageSize;
    for (uint64_t page = 0; page < pages;) {
      const size_t wanted = std::min<uint64_t>(words.size(), pages - page) * sizeof(uint64_t);
      const ssize_t got =
          ::pread(page_map.get(), words.data(), wanted, static_cast<off_t>((first_page + page) * sizeof(uint64_t)));
      if (got < 0) return fail_errno(errno, "read the page map of QEMU");
      if (got == 0) return fail(Code::kNotFound, "QEMU has ended");
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
