// x86-64 page tables, walked from outside (Intel SDM volume 3, 4.5 "4-level paging and 5-level paging").
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "memory/address.h"
#include "memory/physical_memory.h"

namespace hyperward::memory {

struct Paging {
  unsigned levels = 4;    // or 5
  uint64_t sme_mask = 0;  // AMD's encryption bit in page-table entries, which is no part of an address
};

struct Translation {
  GuestPhysical address;
  uint64_t left_bytes = 0;  // from `address` to the end of its page, which is of 4 KiB, 2 MiB or 1 GiB
  bool writable = false;    // as the tables say, all levels taken together
  bool executable = false;
  bool user = false;
};

class AddressSpace {
 public:
  // `root` is the top table, as in CR3; the bits below 4 KiB are dropped. `memory` must outlive this.
  AddressSpace(const PhysicalMemory& memory, GuestPhysical root, Paging paging);

  // Nothing when the address is not canonical, not present, or its tables are not RAM. Reads `levels` entries at most.
  [[nodiscard]] std::optional<Translation> translate(GuestVirtual address) const;

  // All of `out`, over as many pages as it takes; false when any of them does not translate to RAM.
  [[nodiscard]] bool read(GuestVirtual address, std::span<std::byte> out) const;

  [[nodiscard]] GuestPhysical root() const { return root_; }
  [[nodiscard]] Paging paging() const { return paging_; }

 private:
  const PhysicalMemory* memory_;
  GuestPhysical root_;
  Paging paging_;
};

}  // namespace hyperward::memory
