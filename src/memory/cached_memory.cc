#include "memory/cached_memory.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "memory/ram_handle.h"

namespace hyperward::memory {
namespace {

constexpr size_t kMaxPrefetchPages = 64;

bool is_ram(std::span<const Range> ram, GuestPhysical page) {
  return std::ranges::any_of(ram, [&](const Range& range) {
    const uint64_t within = page.value - range.start.value;
    return page >= range.start && within < range.size_bytes && range.size_bytes - within >= kPageSize;
  });
}

}  // namespace

CachedMemory::CachedMemory(const PhysicalMemory& inner, size_t pages)
    : inner_(inner), slots_(std::bit_ceil(std::max<size_t>(pages, 1))) {}

CachedMemory::CachedMemory(std::unique_ptr<const PhysicalMemory> inner, size_t pages) : CachedMemory(*inner, pages) {
  owned_ = std::move(inner);
}

Result<RamHandle> CachedMemory::handle() const {
  return inner_.handle();
}

void CachedMemory::forget() const {
  inner_.forget();
  const std::lock_guard lock(mutex_);
  ++epoch_;
}

CachedMemory::Slot& CachedMemory::slot_of(uint64_t page) const {
  // Multiplicative hashing (Knuth 6.4): objects that one look-up visits often lie at the same power-of-two distance.
  const uint64_t hash = page * 0x9e3779b97f4a7c15;
  return slots_[(hash >> 32) & (slots_.size() - 1)];
}

bool CachedMemory::read(GuestPhysical address, std::span<std::byte> out) const {
  if (out.size() > kPageSize) return inner_.read(address, out);
  const std::lock_guard lock(mutex_);
  while (!out.empty()) {
    const uint64_t page = address.value / kPageSize;
    const uint64_t within = address.value % kPageSize;
    const size_t size = std::min<uint64_t>(out.size(), kPageSize - within);
    Slot& slot = slot_of(page);
    if (slot.page != page || slot.epoch != epoch_) {
      slot.epoch = 0;
      if (!inner_.read({page * kPageSize}, slot.bytes)) return false;
      slot.page = page;
      slot.epoch = epoch_;
    }
    std::memcpy(out.data(), slot.bytes.data() + within, size);
    address = address + size;
    out = out.subspan(size);
  }
  return true;
}

bool CachedMemory::read_many(std::span<const Piece> pieces) const {
  return inner_.read_many(pieces);
}

void CachedMemory::prefetch(std::span<const GuestPhysical> addresses) const {
  const std::lock_guard lock(mutex_);
  std::array<Piece, kMaxPrefetchPages> pieces;
  std::array<Slot*, kMaxPrefetchPages> claimed;  // NOLINT(*-member-init): filled up to `count`
  size_t count = 0;
  for (const GuestPhysical address : addresses) {
    if (count == kMaxPrefetchPages) break;
    const uint64_t page = address.value / kPageSize;
    Slot& slot = slot_of(page);
    const bool is_cached = slot.page == page && slot.epoch == epoch_;
    const bool is_claimed =
        std::ranges::find(claimed.begin(), claimed.begin() + count, &slot) != claimed.begin() + count;
    if (is_cached || is_claimed || !is_ram(inner_.ram(), {page * kPageSize})) continue;
    slot.epoch = 0;
    slot.page = page;
    claimed[count] = &slot;
    pieces[count++] = {{page * kPageSize}, slot.bytes};
  }
  if (count == 0 || !inner_.read_many(std::span(pieces).first(count))) return;
  for (size_t i = 0; i < count; ++i) claimed[i]->epoch = epoch_;
}

}  // namespace hyperward::memory
