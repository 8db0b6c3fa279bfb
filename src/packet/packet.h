// Frames to flow keys: what a packet filter must know of one packet, and nothing more.
//
// Read: Ethernet II; up to two VLAN tags (802.1Q, 802.1ad); IPv4; IPv6 with its extension headers; the ports of TCP,
// UDP and SCTP; the identifier of ICMP and ICMPv6 queries; the packet that an ICMP error quotes. Tunnels are not
// opened: their outer flow is the flow. Source routes are not followed: the destination is the IP header's.
//
// A frame is hostile input, of any length. parse() reads inside the given span alone, in bounded time, and allocates
// only to word an error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/net.h"
#include "base/result.h"

namespace hyperward::packet {

constexpr size_t kFrameMaxBytes = 1U << 20;   // twice the kernel's GSO_MAX_SIZE; a longer frame is malformed
constexpr unsigned kVlanTagsMax = 2;          // a frame with more is Kind::kOther
constexpr unsigned kExtensionHeadersMax = 8;  // an IP packet with more is malformed

// Protocols whose header begins with a source and a destination port.
[[nodiscard]] constexpr bool has_ports(Protocol protocol) {
  return protocol == Protocol::kTcp || protocol == Protocol::kUdp || protocol == Protocol::kSctp;
}

// One direction of a flow, as it stands on the wire in one packet.
//
// The ports of an ICMP or ICMPv6 query (echo, timestamp, ...) are both its identifier, so that the reply's key is the
// request's, reversed. All other ICMP, and every protocol without ports, has ports 0.
struct FlowKey {
  uint16_t vlan_id = 0;  // of the outermost tag; 0: untagged, or a mere priority tag
  Protocol protocol{};
  Endpoint source, destination;

  auto operator<=>(const FlowKey&) const = default;
};

[[nodiscard]] constexpr FlowKey reversed(const FlowKey& key) {
  return {key.vlan_id, key.protocol, key.destination, key.source};
}

// "tcp 10.0.0.2:40000 -> 192.0.2.1:25", with " vlan 7" behind it when there is one.
[[nodiscard]] std::string to_string(const FlowKey& key);

enum class Kind : uint8_t {
  kFlow,           // `key` is whole. A first fragment is one too: its ports are in it
  kLaterFragment,  // a fragment without ports: only `fragment.id` and the addresses tie it to its first fragment
  kIcmpError,      // `quoted` is the flow that it speaks of, and it goes to that flow's sender: see flow_of()
  kArp,            // ARP and RARP; nothing inside is read
  kOther,          // any other ethertype, left in `ethertype`
};

[[nodiscard]] std::string_view to_string(Kind kind);

// A part of a larger IP packet.
struct Fragment {
  uint32_t id = 0;  // IPv4: 16 bits, unique per protocol too (RFC 791); IPv6: 32 bits
  uint16_t offset_bytes = 0;
  bool more = false;  // fragments follow

  [[nodiscard]] constexpr bool is_fragment() const { return more || offset_bytes != 0; }
};

struct Tcp {
  static constexpr uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kPsh = 0x08, kAck = 0x10, kUrg = 0x20;

  uint8_t flags = 0;
  uint16_t window = 0;  // unscaled
  uint32_t sequence = 0, acknowledgement = 0;

  [[nodiscard]] constexpr bool opens() const { return (flags & (kSyn | kAck | kRst | kFin)) == kSyn; }
};

struct Icmp {
  uint8_t type = 0, code = 0;
};

struct Packet {
  Kind kind = Kind::kOther;
  uint16_t ethertype = 0;      // behind the VLAN tags; below 0x600 it is an 802.3 length
  uint16_t inner_vlan_id = 0;  // of the second tag
  FlowKey key;                 // kFlow, kLaterFragment (ports 0) and kIcmpError (the error's own addresses, ports 0)
  FlowKey quoted;              // kIcmpError: as the quoted packet went; ports 0 when `quoted_fragment` is a later one
  Fragment fragment;           // of this packet; the protocol of a later IPv6 fragment may be an extension header's
  Fragment quoted_fragment;
  Tcp tcp;    // when the key's protocol is TCP and the packet no later fragment
  Icmp icmp;  // the same for ICMP and ICMPv6

  // Offsets into the frame. The payload is what follows the TCP, UDP, SCTP common or ICMP (8 bytes) header, or the IP
  // headers of other protocols and of later fragments; it ends where the IP packet ends, before padding. All are 0
  // for kArp and kOther.
  uint32_t network_offset = 0, transport_offset = 0, payload_offset = 0, payload_bytes = 0;
};

// The flow that decides over the packet, in the direction in which the packet goes: its own key, or for an ICMP error
// the quoted flow reversed, for the error goes back to the quoted packet's sender. An error that goes elsewhere is no
// kIcmpError but a flow of its own: else quoting an allowed flow would carry data to anyone (as in the kernel's
// nf_conntrack_inet_error(), commit 1025ce75212b).
[[nodiscard]] constexpr FlowKey flow_of(const Packet& packet) {
  return packet.kind == Kind::kIcmpError ? reversed(packet.quoted) : packet.key;
}

// kInvalid, with what is wrong: a header that is cut off, contradicts itself, or that no honest sender makes and a
// receiver may read in two ways (a TCP fragment inside the TCP header, IPv6 with v4-mapped addresses).
// Checksums are not looked at: offloads leave them unfinished.
//
// The frame may be a superframe of segmentation offload, longer than any MTU. When it is longer than the IP header's
// length field can say and that field is 0, all of the frame is the packet (BIG TCP; iph_totlen() in the kernel).
[[nodiscard]] Result<Packet> parse(std::span<const std::byte> frame);

// Keyed SipHash-1-3 (Aumasson and Bernstein 2012), for tables whose keys a guest chooses. Draw the seed at random once
// per table.
struct FlowHash {
  uint64_t seed0 = 0, seed1 = 0;
  [[nodiscard]] size_t operator()(const FlowKey& key) const noexcept;
};

}  // namespace hyperward::packet
