// Frames for tests, written inside out, with right lengths and checksums:
//
//   ethernet(ip(guest, server, tcp(40000, 25, Tcp::kSyn, 1000)))
//   ethernet(ip(router, guest, icmp_error(3, 1, ip(guest, server, udp(40000, 53)))), {7})
//
// What is given is trusted; nothing here is for packets of strangers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "base/net.h"
#include "packet/packet.h"

namespace hyperward::packet::build {

using Bytes = std::vector<std::byte>;

// What an IP packet carries. The checksum is finished by ip(), which knows the pseudo-header.
struct Segment {
  Protocol protocol{};
  Bytes bytes;
  Protocol transport{};  // what lies behind extension headers, if there are any, at
  size_t transport_offset = 0;
  size_t checksum_offset = 0;  // from there; 0: the protocol has none
};

[[nodiscard]] Segment tcp(uint16_t source_port, uint16_t destination_port, uint8_t flags, uint32_t sequence = 0,
                          uint32_t acknowledgement = 0, std::string_view payload = {});
[[nodiscard]] Segment udp(uint16_t source_port, uint16_t destination_port, std::string_view payload = {});
[[nodiscard]] Segment icmp(uint8_t type, uint8_t code, uint32_t rest_of_header, std::string_view payload = {});
[[nodiscard]] Segment icmp6(uint8_t type, uint8_t code, uint32_t rest_of_header, std::string_view payload = {});
[[nodiscard]] Segment icmp_echo(uint16_t id, uint16_t sequence = 1, bool reply = false);
[[nodiscard]] Segment icmp6_echo(uint16_t id, uint16_t sequence = 1, bool reply = false);
// Quotes `packet`, an IP packet, whole.
[[nodiscard]] Segment icmp_error(uint8_t type, uint8_t code, const Bytes& packet);
[[nodiscard]] Segment icmp6_error(uint8_t type, uint8_t code, const Bytes& packet);
[[nodiscard]] Segment raw(Protocol protocol, std::string_view payload);

// Puts an IPv6 extension header in front: hop-by-hop, routing or destination options (length a multiple of 8, at
// least 8), filled with zeroes.
[[nodiscard]] Segment extended(uint8_t header, const Segment& segment, size_t length_bytes = 8);

// An IP packet, of the family of its addresses.
[[nodiscard]] Bytes ip(const IpAddress& source, const IpAddress& destination, const Segment& segment);

// The part of an IP packet's payload from `offset_bytes` (a multiple of 8), `length_bytes` or what is left of it.
[[nodiscard]] Bytes fragment_of(const Bytes& packet, uint32_t id, size_t offset_bytes, size_t length_bytes);

// The frame around an IP packet, with VLAN tags, outermost first (0x88a8 in front of a second one).
[[nodiscard]] Bytes ethernet(const Bytes& packet, std::initializer_list<uint16_t> vlan_ids = {});
// A frame of any ethertype.
[[nodiscard]] Bytes ethernet_of(uint16_t ethertype, std::string_view payload,
                                std::initializer_list<uint16_t> vlan_ids = {});

// RFC 1071 over `bytes`: 0 when a checksum in them is right. `sum` is what a pseudo-header adds.
[[nodiscard]] uint16_t checksum(std::span<const std::byte> bytes, uint32_t sum = 0);

}  // namespace hyperward::packet::build
