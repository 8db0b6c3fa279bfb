// Guest addresses are numbers of their own types: neither is a host pointer, and one is not the other.
#pragma once

#include <compare>
#include <cstdint>

namespace hyperward::memory {

constexpr uint64_t kPageSize = 4096;

struct GuestPhysical {
  uint64_t value = 0;
  auto operator<=>(const GuestPhysical&) const = default;
};

struct GuestVirtual {
  uint64_t value = 0;
  auto operator<=>(const GuestVirtual&) const = default;
  [[nodiscard]] constexpr bool is_null() const { return value == 0; }
};

// Arithmetic wraps as the guest's does; the result is checked where it is read.
constexpr GuestPhysical operator+(GuestPhysical a, uint64_t bytes) {
  return {a.value + bytes};
}
constexpr GuestVirtual operator+(GuestVirtual a, uint64_t bytes) {
  return {a.value + bytes};
}
constexpr GuestVirtual operator-(GuestVirtual a, uint64_t bytes) {
  return {a.value - bytes};
}

}  // namespace hyperward::memory
