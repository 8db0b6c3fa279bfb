#include "memory/address_space.h"

#include <algorithm>

namespace hyperward::memory {
namespace {

constexpr uint64_t kPresent = 1;
constexpr uint64_t kWritable = 2;
constexpr uint64_t kUser = 4;
constexpr uint64_t kLargePage = uint64_t{1} << 7;  // in a table of 1 GiB or 2 MiB entries
constexpr uint64_t kNoExecute = uint64_t{1} << 63;
constexpr uint64_t kAddressBits = 0x000ffffffffff000;
constexpr unsigned kIndexBits = 9;
constexpr unsigned kPageBits = 12;

}  // namespace

AddressSpace::AddressSpace(const PhysicalMemory& memory, GuestPhysical root, Paging paging)
    : memory_(&memory), root_{root.value & kAddressBits & ~paging.sme_mask}, paging_(paging) {
  HW_CHECK(paging.levels == 4 || paging.levels == 5);
}

std::optional<Translation> AddressSpace::translate(GuestVirtual address) const {
  // Canonical: the bits above the translated ones repeat the highest of them.
  const unsigned unused_bits = 64 - (kPageBits + kIndexBits * paging_.levels);
  const auto extended = static_cast<int64_t>(address.value << unused_bits) >> unused_bits;
  if (static_cast<uint64_t>(extended) != address.value) return std::nullopt;

  GuestPhysical table = root_;
  uint64_t granted = kWritable | kUser;
  bool executable = true;
  for (unsigned level = paging_.levels; level >= 1; --level) {
    const unsigned shift = kPageBits + kIndexBits * (level - 1);
    const uint64_t index = (address.value >> shift) & ((1U << kIndexBits) - 1);
    uint64_t entry = 0;
    if (!memory_->read(table + index * sizeof(entry), std::as_writable_bytes(std::span(&entry, 1))))
      return std::nullopt;
    if ((entry & kPresent) == 0) return std::nullopt;
    granted &= entry;
    executable = executable && (entry & kNoExecute) == 0;
    const uint64_t target = entry & kAddressBits & ~paging_.sme_mask;
    const bool is_large = (entry & kLargePage) != 0 && (level == 2 || level == 3);
    if (level != 1 && !is_large) {
      table = {target};
      continue;
    }
    const uint64_t page_size = uint64_t{1} << shift;
    const uint64_t within = address.value & (page_size - 1);
    return Translation{.address = {(target & ~(page_size - 1)) + within},
                       .left_bytes = page_size - within,
                       .writable = (granted & kWritable) != 0,
                       .executable = executable,
                       .user = (granted & kUser) != 0};
  }
  return std::nullopt;
}

bool AddressSpace::read(GuestVirtual address, std::span<std::byte> out) const {
  while (!out.empty()) {
    const auto translation = translate(address);
    if (!translation) return false;
    const size_t size = std::min<uint64_t>(out.size(), translation->left_bytes);
    if (!memory_->read(translation->address, out.first(size))) return false;
    address = address + size;
    out = out.subspan(size);
  }
  return true;
}

}  // namespace hyperward::memory
