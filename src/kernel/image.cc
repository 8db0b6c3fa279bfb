#include "kernel/image.h"

#include <algorithm>
#include <cstring>

namespace hyperward::kernel {
namespace {

using memory::kPageSize;

constexpr uint64_t kChunkBytes = 1 << 20;
// The kernel frees its initialisation code and the padding between sections; what is longer is its end.
constexpr uint64_t kMaxGapBytes = 16 << 20;

}  // namespace

bool Image::read(GuestVirtual address, std::span<std::byte> out) const {
  if (!contains(address) || out.size() > limit_.value - address.value) return false;
  return space_.read(address, out);
}

std::optional<std::vector<std::byte>> Image::read_bytes(GuestVirtual address, uint64_t size_bytes) const {
  if (!contains(address) || size_bytes > limit_.value - address.value) return std::nullopt;
  std::vector<std::byte> bytes(size_bytes);
  if (!read(address, bytes)) return std::nullopt;
  return bytes;
}

std::optional<std::vector<std::byte>> Image::read_until(
    GuestVirtual address, uint64_t limit_bytes,
    const std::function<bool(std::span<const std::byte>)>& is_enough) const {
  std::vector<std::byte> bytes;
  while (bytes.size() < limit_bytes) {
    const GuestVirtual next = address + bytes.size();
    const uint64_t size = kPageSize - next.value % kPageSize;
    const size_t old_size = bytes.size();
    bytes.resize(old_size + size);
    if (!read(next, std::span(bytes).subspan(old_size))) return std::nullopt;
    if (is_enough(bytes)) return bytes;
  }
  return std::nullopt;
}

bool Image::scan(std::span<const std::byte> pattern, const std::function<bool(GuestVirtual)>& visit) const {
  std::vector<std::byte> chunk;  // starts with what may be the first part of a pattern that the last chunk cut
  chunk.reserve(kChunkBytes + pattern.size());
  uint64_t gap_bytes = 0;
  for (GuestVirtual at = start_; at < limit_ && gap_bytes <= kMaxGapBytes;) {
    const auto translation = space_.translate(at);
    if (!translation) {
      chunk.clear();
      gap_bytes += kPageSize;
      at = at + kPageSize;
      continue;
    }
    const uint64_t size = std::min({translation->left_bytes, kChunkBytes, limit_.value - at.value});
    const size_t kept = std::min(chunk.size(), pattern.size() - 1);
    chunk.erase(chunk.begin(), chunk.end() - static_cast<ptrdiff_t>(kept));
    chunk.resize(kept + size);
    if (!space_.read(at, std::span(chunk).subspan(kept))) return false;
    for (size_t offset = 0; offset + pattern.size() <= chunk.size(); ++offset) {
      const void* found = ::memmem(chunk.data() + offset, chunk.size() - offset, pattern.data(), pattern.size());
      if (found == nullptr) break;
      offset = static_cast<size_t>(static_cast<const std::byte*>(found) - chunk.data());
      if (visit(at - kept + offset)) return true;
    }
    gap_bytes = 0;
    at = at + size;
  }
  return false;
}

}  // namespace hyperward::kernel
