// Where guest-physical addresses lie in what holds the RAM: a memory backend, a mapping, or a dump file.
//
// QEMU keeps a guest's RAM in one block. The guest sees it in pieces: PCI holes and the VGA window lie between them,
// and what does not fit below 4 GiB goes on at 4 GiB. A Layout is that map, and nothing else.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "memory/address.h"
#include "memory/physical_memory.h"

namespace hyperward::memory {

// Guest-physical [start, start + size) lies at [offset, offset + size) of the block.
struct Segment {
  GuestPhysical start;
  uint64_t size_bytes = 0;
  uint64_t offset = 0;
  auto operator<=>(const Segment&) const = default;
};

class Layout {
 public:
  // The block is the guest-physical address space itself, from 0.
  [[nodiscard]] static Layout flat(uint64_t size_bytes);
  // Sorts and joins the segments, and drops what a segment repeats of an earlier one: an ELF dump describes a page
  // once for each virtual address that maps it. kInvalid when a segment wraps around or none is left.
  [[nodiscard]] static Result<Layout> of(std::vector<Segment> segments);
  // What the monitor's `info mtree -f` prints: the exact map. The RAM is the block found at address 0.
  [[nodiscard]] static Result<Layout> from_mtree(std::string_view text);
  // What QEMU's arguments imply for its pc and q35 machines. Other machines are kUnsupported: give the mtree.
  [[nodiscard]] static Result<Layout> from_arguments(std::span<const std::string> arguments);

  // The offset of `address`, if the `size_bytes` from there lie in one segment.
  [[nodiscard]] std::optional<uint64_t> offset(GuestPhysical address, uint64_t size_bytes) const {
    const Segment* segment = find(address);
    if (segment == nullptr) return std::nullopt;
    const uint64_t within = address.value - segment->start.value;
    if (size_bytes > segment->size_bytes - within) return std::nullopt;
    return segment->offset + within;
  }

  // The segment that holds `address`, or null.
  [[nodiscard]] const Segment* find(GuestPhysical address) const;

  [[nodiscard]] std::span<const Segment> segments() const { return segments_; }  // ascending by `start`
  [[nodiscard]] std::span<const Range> ranges() const { return ranges_; }        // the same, without the offsets
  [[nodiscard]] uint64_t end_offset() const { return end_offset_; }              // one past the last byte in use

  // The guest-physical ranges of those of our segments that meet [offset, offset + size) of the block.
  void append_ranges(uint64_t offset, uint64_t size_bytes, std::vector<Range>& out) const;

 private:
  explicit Layout(std::vector<Segment> segments);

  std::vector<Segment> segments_;
  std::vector<Range> ranges_;
  uint64_t end_offset_ = 0;
};

// The guest's RAM size from QEMU's arguments: `-m`, or QEMU's default of 128 MiB.
[[nodiscard]] Result<uint64_t> ram_size_bytes(std::span<const std::string> arguments);

}  // namespace hyperward::memory
