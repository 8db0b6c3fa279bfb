// The kernel's own code and data, read through its page tables: where it keeps its tables about itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "memory/address.h"
#include "memory/address_space.h"

namespace hyperward::kernel {

using memory::GuestVirtual;

constexpr GuestVirtual kKernelMap{0xffffffff80000000};  // __START_KERNEL_map
constexpr uint64_t kMaxImageSizeBytes = 1 << 30;        // KERNEL_IMAGE_SIZE, with KASLR

class Image {
 public:
  // The image starts at `start` and ends before kKernelMap + `size_limit_bytes`.
  Image(const memory::AddressSpace& space, GuestVirtual start, uint64_t size_limit_bytes)
      : space_(space), start_(start), limit_(kKernelMap + std::min(size_limit_bytes, kMaxImageSizeBytes)) {}

  [[nodiscard]] bool contains(GuestVirtual address) const { return address >= start_ && address < limit_; }
  [[nodiscard]] GuestVirtual start() const { return start_; }

  // False when the bytes are not all mapped parts of the image.
  [[nodiscard]] bool read(GuestVirtual address, std::span<std::byte> out) const;
  template <typename T>
  [[nodiscard]] std::optional<T> read(GuestVirtual address) const {
    T value;
    if (!read(address, std::as_writable_bytes(std::span(&value, 1)))) return std::nullopt;
    return value;
  }
  [[nodiscard]] std::optional<std::vector<std::byte>> read_bytes(GuestVirtual address, uint64_t size_bytes) const;

  // Reads on from `address` for a table whose size only its content tells: `is_enough` sees all that was read so far,
  // more each time. Nothing when it is not satisfied before `limit_bytes` or the end of what is mapped.
  [[nodiscard]] std::optional<std::vector<std::byte>> read_until(
      GuestVirtual address, uint64_t limit_bytes,
      const std::function<bool(std::span<const std::byte>)>& is_enough) const;

  // Calls `visit` with each place in the mapped image that holds `pattern`, until it returns true.
  bool scan(std::span<const std::byte> pattern, const std::function<bool(GuestVirtual)>& visit) const;

 private:
  memory::AddressSpace space_;
  GuestVirtual start_;
  GuestVirtual limit_;
};

}  // namespace hyperward::kernel
