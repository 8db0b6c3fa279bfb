// The guest's RAM, by guest-physical address: the one seam between hyperward and how the RAM is reached.
//
// Everything behind it is hostile: it may change between two reads, and hold anything. Read once, validate the copy,
// use only the copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "memory/address.h"

namespace hyperward::memory {

// Guest-physical bytes [start, start + size).
struct Range {
  GuestPhysical start;
  uint64_t size_bytes = 0;
};

// One read of several.
struct Piece {
  GuestPhysical address;
  std::span<std::byte> out;
};

struct RamHandle;  // ram_handle.h

class PhysicalMemory {
 public:
  PhysicalMemory() = default;
  PhysicalMemory(const PhysicalMemory&) = delete;
  PhysicalMemory& operator=(const PhysicalMemory&) = delete;
  virtual ~PhysicalMemory() = default;

  // Copies guest RAM from `address` into all of `out`. False, with `out` unspecified, when any byte of it is no RAM
  // or the RAM is gone (its guest ended). Never touches bytes outside guest RAM. Safe from several threads.
  [[nodiscard]] virtual bool read(GuestPhysical address, std::span<std::byte> out) const = 0;

  // The same for several pieces: one system call where that helps. False when any of them fails.
  [[nodiscard]] virtual bool read_many(std::span<const Piece> pieces) const {
    for (const Piece& piece : pieces)
      if (!read(piece.address, piece.out)) return false;
    return true;
  }

  // Hints that the pages of these addresses will be read next. Those that are no RAM do not matter.
  virtual void prefetch(std::span<const GuestPhysical> addresses) const { static_cast<void>(addresses); }

  // The guest's RAM in ascending order, without overlaps.
  [[nodiscard]] virtual std::span<const Range> ram() const = 0;

  // The parts of ram() that the guest has written so far, for scans: reading the others would only make the host
  // populate pages of zeroes.
  [[nodiscard]] virtual Result<std::vector<Range>> populated() const = 0;

  // The same RAM for another process. kUnsupported: it can be read by this one alone.
  [[nodiscard]] virtual Result<RamHandle> handle() const;

  // Drops what an implementation has cached, so that the next read sees the guest as it is now.
  virtual void forget() const {}
};

}  // namespace hyperward::memory
