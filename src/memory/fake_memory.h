// Guest RAM for tests: bytes that the test writes itself.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "memory/physical_memory.h"

namespace hyperward::memory {

class FakeMemory final : public PhysicalMemory {
 public:
  explicit FakeMemory(uint64_t size_bytes) : bytes_(size_bytes), ram_{Range{GuestPhysical{0}, size_bytes}} {}

  [[nodiscard]] bool read(GuestPhysical address, std::span<std::byte> out) const override {
    if (address.value > bytes_.size() || out.size() > bytes_.size() - address.value) return false;
    std::copy_n(bytes_.data() + address.value, out.size(), out.data());
    return true;
  }
  [[nodiscard]] std::span<const Range> ram() const override { return ram_; }
  [[nodiscard]] Result<std::vector<Range>> populated() const override { return ram_; }

  // The bytes themselves, to write to.
  [[nodiscard]] std::span<std::byte> bytes() { return bytes_; }

  void write(GuestPhysical address, std::span<const std::byte> data) {
    HW_CHECK(address.value <= bytes_.size() && data.size() <= bytes_.size() - address.value);
    std::copy(data.begin(), data.end(), bytes_.begin() + static_cast<ptrdiff_t>(address.value));
  }
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  void put(GuestPhysical address, const T& value) {
    write(address, std::as_bytes(std::span(&value, 1)));
  }

 private:
  std::vector<std::byte> bytes_;
  std::vector<Range> ram_;
};

}  // namespace hyperward::memory
