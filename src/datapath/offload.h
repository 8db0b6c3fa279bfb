// The virtio_net_hdr in front of a held frame, before it is written back to a tap.
//
// The kernel wrote it from what the guest had asked for. A tap checks such a header again when it is written, but has
// let through contradictions more than once (CVE-2024-43897: a checksum start of a segmented frame that is not its
// transport header). So each field must fit what our own parser found in the frame.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "packet/packet.h"

namespace hyperward::datapath {

// struct virtio_net_hdr of linux/virtio_net.h, which C++ cannot include: it has a field named `class`.
struct OffloadHeader {
  static constexpr uint8_t kNeedsChecksum = 1, kDataValid = 2;                            // flags
  static constexpr uint8_t kNone = 0, kTcp4 = 1, kUdpFragments = 3, kTcp6 = 4, kUdp = 5;  // gso_type
  static constexpr uint8_t kEcn = 0x80;                                                   // a bit of gso_type

  uint8_t flags = 0;
  uint8_t gso_type = 0;
  uint16_t hdr_len = 0;  // Ethernet, IP and transport header
  uint16_t gso_size = 0;
  uint16_t csum_start = 0;
  uint16_t csum_offset = 0;  // from csum_start
};
constexpr size_t kVirtioHeaderBytes = sizeof(OffloadHeader);
static_assert(kVirtioHeaderBytes == 10);  // what IFF_VNET_HDR means when nothing else is asked for

// kInvalid, with what is wrong. `frame` is what `packet` was parsed from.
[[nodiscard]] Result<void> check_offload(std::span<const std::byte, kVirtioHeaderBytes> header,
                                         std::span<const std::byte> frame, const packet::Packet& packet);

}  // namespace hyperward::datapath
