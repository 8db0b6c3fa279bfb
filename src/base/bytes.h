// Bounds-checked loads from bytes that somebody else wrote.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

namespace hyperward {

// A T copied from `offset`, in the machine's byte order and of any alignment; nothing when it would pass the end.
template <typename T>
  requires std::is_trivially_copyable_v<T>
[[nodiscard]] std::optional<T> load(std::span<const std::byte> bytes, uint64_t offset) {
  if (offset > bytes.size() || sizeof(T) > bytes.size() - offset) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

// [offset, offset + size) of `bytes`; nothing when it would pass the end.
[[nodiscard]] inline std::optional<std::span<const std::byte>> slice(std::span<const std::byte> bytes, uint64_t offset,
                                                                     uint64_t size) {
  if (offset > bytes.size() || size > bytes.size() - offset) return std::nullopt;
  return bytes.subspan(offset, size);
}

}  // namespace hyperward
