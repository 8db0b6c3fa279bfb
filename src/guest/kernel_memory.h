// Kernel memory as the walks of this layer see it: the seam between them and the kernel layer.
//
// A read gives a copy or fails; the copy may be torn or forged, and the guest may have moved on meanwhile. So a walk
// reads a struct once, decides by the copy, and confirms what it found by back-pointers.
//
// Reads may be limited: once the limit is reached every further one fails, as one that finds no memory does, and so
// each walk ends soon. What it then gives may be less than there is, and refused() tells.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

#include "base/result.h"
#include "memory/address.h"

namespace hyperward::guest {

using memory::GuestVirtual;

class KernelMemory {
 public:
  KernelMemory() = default;
  KernelMemory(const KernelMemory&) = delete;
  KernelMemory& operator=(const KernelMemory&) = delete;
  virtual ~KernelMemory() = default;

  // All of `out`, or false with `out` unspecified.
  [[nodiscard]] bool read(GuestVirtual address, std::span<std::byte> out) const {
    return afford(out.size()) && do_read(address, out);
  }
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  [[nodiscard]] std::optional<T> read(GuestVirtual address) const {
    T value;
    if (!read(address, std::as_writable_bytes(std::span(&value, 1)))) return std::nullopt;
    return value;
  }

  // The user memory of the process whose mm->pgd is `page_tables`.
  [[nodiscard]] bool read_user(GuestVirtual page_tables, GuestVirtual address, std::span<std::byte> out) const {
    return afford(out.size()) && do_read_user(page_tables, address, out);
  }
  // Drops what is cached below, so that what is read next is the guest as it is now.
  virtual void forget() const {}

  [[nodiscard]] uint64_t reads() const { return reads_; }

  static constexpr uint64_t kUnlimited = UINT64_MAX;
  // What may be read from now on, in reads; one of a page or more counts once more for each page.
  void limit_reads(uint64_t reads) const {
    left_ = reads;
    refused_ = false;
  }
  [[nodiscard]] bool is_limited() const { return left_ != kUnlimited; }
  // Has a read failed for the limit since that was set?
  [[nodiscard]] bool refused() const { return refused_; }

 protected:
  [[nodiscard]] virtual bool do_read(GuestVirtual address, std::span<std::byte> out) const = 0;
  [[nodiscard]] virtual bool do_read_user(GuestVirtual page_tables, GuestVirtual address,
                                          std::span<std::byte> out) const = 0;

 private:
  [[nodiscard]] bool afford(size_t size_bytes) const {
    ++reads_;
    if (left_ == kUnlimited) return true;
    const uint64_t cost = 1 + size_bytes / memory::kPageSize;
    refused_ = refused_ || cost > left_;
    if (refused_) return false;
    left_ -= cost;
    return true;
  }

  mutable uint64_t reads_ = 0;
  mutable uint64_t left_ = kUnlimited;
  mutable bool refused_ = false;
};

// The part of a struct that holds the fields of interest: bytes [begin, end).
struct Extent {
  uint32_t begin = UINT32_MAX;
  uint32_t end = 0;

  constexpr void cover(uint32_t offset, uint32_t size_bytes) {
    begin = std::min(begin, offset);
    end = std::max(end, offset + size_bytes);
  }
  [[nodiscard]] constexpr uint32_t size_bytes() const { return end > begin ? end - begin : 0; }
};

// A copy of an extent of a guest's struct, made by one read. Layout sees to it that extents fit.
template <size_t kCapacity>
class Copy {
 public:
  [[nodiscard]] bool load(const KernelMemory& memory, GuestVirtual base, Extent extent) {
    HW_CHECK(extent.size_bytes() <= kCapacity);
    extent_ = extent;
    return memory.read(base + extent.begin, std::span(bytes_).first(extent.size_bytes()));
  }

  template <typename T>
    requires std::is_trivially_copyable_v<T>
  [[nodiscard]] T at(uint32_t offset) const {
    HW_CHECK(offset >= extent_.begin && offset + sizeof(T) <= extent_.end);
    T value;
    std::memcpy(&value, bytes_.data() + (offset - extent_.begin), sizeof(T));
    return value;
  }
  [[nodiscard]] GuestVirtual pointer(uint32_t offset) const { return {at<uint64_t>(offset)}; }

 private:
  Extent extent_{0, 0};
  std::array<std::byte, kCapacity> bytes_;
};

}  // namespace hyperward::guest
