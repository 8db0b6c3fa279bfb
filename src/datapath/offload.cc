#include "datapath/offload.h"

#include <cstring>

namespace hyperward::datapath {
namespace {

size_t checksum_offset_of(Protocol protocol) {
  return protocol == Protocol::kTcp ? 16 : 6;
}

// Whether the frame can be cut into segments of this type.
bool fits(uint8_t gso_type, const packet::Packet& packet) {
  switch (gso_type) {
    case OffloadHeader::kTcp4: return packet.key.protocol == Protocol::kTcp && packet.key.source.address.is_v4();
    case OffloadHeader::kTcp6: return packet.key.protocol == Protocol::kTcp && !packet.key.source.address.is_v4();
    case OffloadHeader::kUdpFragments:
    case OffloadHeader::kUdp: return packet.key.protocol == Protocol::kUdp;
    default: return false;
  }
}

}  // namespace

Result<void> check_offload(std::span<const std::byte, kVirtioHeaderBytes> header, std::span<const std::byte> frame,
                           const packet::Packet& packet) {
  OffloadHeader offload{};
  std::memcpy(&offload, header.data(), header.size());

  const unsigned known_flags = OffloadHeader::kNeedsChecksum | OffloadHeader::kDataValid;
  if ((offload.flags & ~known_flags) != 0) return fail(Code::kInvalid, "offload flags {:#x}", offload.flags);
  if (offload.hdr_len > frame.size())
    return fail(Code::kInvalid, "headers of {} bytes in a frame of {}", offload.hdr_len, frame.size());

  const bool checksum_unfinished = (offload.flags & OffloadHeader::kNeedsChecksum) != 0;
  if (checksum_unfinished) {
    const size_t start = offload.csum_start, end = start + offload.csum_offset + 2;
    if (end > frame.size()) return fail(Code::kInvalid, "a checksum at byte {} of {}", end - 2, frame.size());
    if (packet::has_ports(packet.key.protocol) && start != packet.transport_offset)
      return fail(Code::kInvalid, "a checksum from byte {}, the transport header is at {}", start,
                  packet.transport_offset);
  }

  const auto gso_type = static_cast<uint8_t>(offload.gso_type & ~OffloadHeader::kEcn);
  if (offload.gso_type == OffloadHeader::kNone) return {};
  if (packet.kind != packet::Kind::kFlow || packet.fragment.is_fragment() || !fits(gso_type, packet))
    return fail(Code::kInvalid, "segmentation {} of {}", gso_type, to_string(packet.key));
  if (offload.gso_size == 0) return fail(Code::kInvalid, "segments of 0 bytes");
  if (!checksum_unfinished || offload.csum_offset != checksum_offset_of(packet.key.protocol))
    return fail(Code::kInvalid, "segmentation without the transport checksum");
  return {};
}

}  // namespace hyperward::datapath
