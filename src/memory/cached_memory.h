// A bounded page cache before another PhysicalMemory, for looking one thing up at the price of a few system calls.
//
// A page is read whole and once, and stays as it was until forget(): call that before each look-up. What is larger
// than a page is not cached.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "memory/physical_memory.h"

namespace hyperward::memory {

class CachedMemory final : public PhysicalMemory {
 public:
  static constexpr size_t kDefaultPages = 512;

  // `inner` must outlive this, or belongs to it. `pages` is rounded up to a power of two.
  explicit CachedMemory(const PhysicalMemory& inner, size_t pages = kDefaultPages);
  explicit CachedMemory(std::unique_ptr<const PhysicalMemory> inner, size_t pages = kDefaultPages);

  [[nodiscard]] bool read(GuestPhysical address, std::span<std::byte> out) const override;
  [[nodiscard]] bool read_many(std::span<const Piece> pieces) const override;
  void prefetch(std::span<const GuestPhysical> addresses) const override;
  [[nodiscard]] std::span<const Range> ram() const override { return inner_.ram(); }
  [[nodiscard]] Result<std::vector<Range>> populated() const override { return inner_.populated(); }
  [[nodiscard]] Result<RamHandle> handle() const override;
  void forget() const override;

 private:
  struct Slot {
    uint64_t page = 0;
    uint64_t epoch = 0;  // valid only when it is the cache's own
    std::array<std::byte, kPageSize> bytes;
  };

  [[nodiscard]] Slot& slot_of(uint64_t page) const;

  std::unique_ptr<const PhysicalMemory> owned_;
  const PhysicalMemory& inner_;
  mutable std::mutex mutex_;
  mutable uint64_t epoch_ = 1;
  mutable std::vector<Slot> slots_;  // direct-mapped by page number
};

}  // namespace hyperward::memory
