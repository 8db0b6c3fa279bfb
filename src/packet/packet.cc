// Theory of operation
//
// One pass from the outside in: Ethernet and VLAN tags, the IP header with its extension headers, the transport
// header. Each step first asks Bytes whether what it wants lies inside the packet, then reads it; after the IP header
// the end is the IP packet's, not the frame's, so that padding is never taken for data. An ICMP error is opened once
// more, and only once: the quoted packet goes through the same IP reader and gives up its ports.
//
// References: IEEE 802.1Q; RFC 791 (IPv4), 8200 (IPv6), 4302 (AH), 9293 (TCP), 768 (UDP), 9260 (SCTP), 792 and 950
// (ICMP), 4443 (ICMPv6), 1858 and 3128 (fragments that hide a TCP header), 7112 (headers spread over fragments).
#include "packet/packet.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace hyperward::packet {
namespace {

constexpr size_t kEthernetBytes = 14, kVlanTagBytes = 4, kIpv4MinBytes = 20, kIpv6Bytes = 40, kTcpMinBytes = 20,
                 kUdpBytes = 8, kSctpBytes = 12, kIcmpBytes = 8, kPortsBytes = 4;
constexpr size_t kIpLengthMax = 0xffff;

constexpr uint16_t kEthertypeIpv4 = 0x0800, kEthertypeArp = 0x0806, kEthertypeRarp = 0x8035, kEthertypeVlan = 0x8100,
                   kEthertypeIpv6 = 0x86dd, kEthertypeServiceVlan = 0x88a8;

// IPv6 extension headers; the authentication header is IPv4's too.
constexpr uint8_t kHopByHop = 0, kRouting = 43, kFragment = 44, kAuthentication = 51, kDestinationOptions = 60;

// The bytes of a frame up to where the packet at hand ends.
class Bytes {
 public:
  explicit Bytes(std::span<const std::byte> bytes) : bytes_(bytes) {}

  [[nodiscard]] size_t end() const { return bytes_.size(); }
  [[nodiscard]] bool have(size_t offset, size_t count) const {
    return offset <= bytes_.size() && count <= bytes_.size() - offset;
  }
  [[nodiscard]] Bytes cut_at(size_t new_end) const { return Bytes(bytes_.first(new_end)); }

  // The caller has asked have().
  [[nodiscard]] uint8_t u8(size_t offset) const { return static_cast<uint8_t>(bytes_[offset]); }
  [[nodiscard]] uint16_t u16(size_t offset) const {
    return static_cast<uint16_t>(unsigned{u8(offset)} << 8 | u8(offset + 1));
  }
  [[nodiscard]] uint32_t u32(size_t offset) const { return uint32_t{u16(offset)} << 16 | u16(offset + 2); }
  [[nodiscard]] IpAddress v4(size_t offset) const {
    return IpAddress::v4(u8(offset), u8(offset + 1), u8(offset + 2), u8(offset + 3));
  }
  [[nodiscard]] IpAddress v6(size_t offset) const {
    std::array<uint8_t, 16> address{};
    std::memcpy(address.data(), bytes_.data() + offset, address.size());
    return IpAddress::v6(address);
  }

 private:
  std::span<const std::byte> bytes_;
};

bool is_vlan(uint16_t ethertype) {
  return ethertype == kEthertypeVlan || ethertype == kEthertypeServiceVlan;
}

// What the IP headers of a packet say, extension headers included.
struct Ip {
  IpAddress source, destination;
  Protocol protocol{};
  Fragment fragment{};
  size_t transport_offset = 0;
  size_t end = 0;  // of the packet
};

enum class Whole : bool { kNo, kYes };  // whether the packet must lie in the bytes to its end: a quoted one need not

// Follows the chain of extension headers from `ip.transport_offset`, where a header of kind `next` lies, up to the
// transport header or to the data of a later fragment.
Result<void> skip_extension_headers(const Bytes& bytes, uint8_t next, bool is_v6, Ip& ip) {
  bool fragment_seen = false;
  for (unsigned headers = 0;; ++headers) {
    const bool extension =
        next == kAuthentication ||
        (is_v6 && (next == kHopByHop || next == kRouting || next == kFragment || next == kDestinationOptions));
    if (!extension || (ip.fragment.offset_bytes != 0)) break;
    if (headers == kExtensionHeadersMax)
      return fail(Code::kInvalid, "more than {} IP extension headers", kExtensionHeadersMax);

    const size_t at = ip.transport_offset;
    if (!bytes.have(at, 8)) return fail(Code::kInvalid, "an IP extension header is cut off");
    size_t length = (size_t{bytes.u8(at + 1)} + 1) * 8;
    if (next == kAuthentication) length = (size_t{bytes.u8(at + 1)} + 2) * 4;
    if (next == kFragment) {
      if (fragment_seen) return fail(Code::kInvalid, "two fragment headers");
      fragment_seen = true;
      length = 8;
      const uint16_t field = bytes.u16(at + 2);
      ip.fragment = {bytes.u32(at + 4), static_cast<uint16_t>(field & 0xfff8U), (field & 1U) != 0};
    }
    if (!bytes.have(at, length)) return fail(Code::kInvalid, "an IP extension header is cut off");
    next = bytes.u8(at);
    ip.transport_offset = at + length;
  }
  ip.protocol = Protocol{next};
  return {};
}

Result<Ip> read_ipv4(const Bytes& bytes, size_t offset, Whole whole) {
  if (!bytes.have(offset, kIpv4MinBytes)) return fail(Code::kInvalid, "the IPv4 header is cut off");
  const size_t available = bytes.end() - offset;
  const size_t header = size_t{bytes.u8(offset) & 0xfU} * 4;
  if (bytes.u8(offset) >> 4 != 4) return fail(Code::kInvalid, "IPv4 of version {}", bytes.u8(offset) >> 4);
  if (header < kIpv4MinBytes || header > available) return fail(Code::kInvalid, "an IPv4 header of {} bytes", header);

  size_t total = bytes.u16(offset + 2);
  if (total == 0 && available > kIpLengthMax) total = available;  // BIG TCP
  if (total < header) return fail(Code::kInvalid, "an IPv4 packet of {} bytes, less than its header", total);
  if (total > available) {
    if (whole == Whole::kYes) return fail(Code::kInvalid, "an IPv4 packet of {} bytes in {}", total, available);
    total = available;
  }

  const uint16_t field = bytes.u16(offset + 6);
  Ip ip{.source = bytes.v4(offset + 12),
        .destination = bytes.v4(offset + 16),
        .fragment = {bytes.u16(offset + 4), static_cast<uint16_t>((field & 0x1fffU) * 8), (field & 0x2000U) != 0},
        .transport_offset = offset + header,
        .end = offset + total};
  HW_OK(skip_extension_headers(bytes.cut_at(ip.end), bytes.u8(offset + 9), false, ip));
  return ip;
}

Result<Ip> read_ipv6(const Bytes& bytes, size_t offset, Whole whole) {
  if (!bytes.have(offset, kIpv6Bytes)) return fail(Code::kInvalid, "the IPv6 header is cut off");
  const size_t available = bytes.end() - offset - kIpv6Bytes;
  if (bytes.u8(offset) >> 4 != 6) return fail(Code::kInvalid, "IPv6 of version {}", bytes.u8(offset) >> 4);

  size_t payload = bytes.u16(offset + 4);
  if (payload == 0 && available > kIpLengthMax) payload = available;  // BIG TCP
  if (payload > available) {
    if (whole == Whole::kYes) return fail(Code::kInvalid, "an IPv6 payload of {} bytes in {}", payload, available);
    payload = available;
  }

  Ip ip{.source = bytes.v6(offset + 8),
        .destination = bytes.v6(offset + 24),
        .transport_offset = offset + kIpv6Bytes,
        .end = offset + kIpv6Bytes + payload};
  // Such addresses would pass for IPv4's in keys and rules (draft-itojun-v6ops-v4mapped-harmful-02).
  if (ip.source.is_v4() || ip.destination.is_v4())
    return fail(Code::kInvalid, "IPv6 between {} and {}: a v4-mapped address on the wire", to_string(ip.source),
                to_string(ip.destination));
  HW_OK(skip_extension_headers(bytes.cut_at(ip.end), bytes.u8(offset + 6), true, ip));
  return ip;
}

bool is_icmp(Protocol protocol) {
  return protocol == Protocol::kIcmp || protocol == Protocol::kIcmpV6;
}

// Messages that carry an identifier, the same in request and reply.
bool is_icmp_query(Protocol protocol, uint8_t type) {
  if (protocol == Protocol::kIcmpV6) return type == 128 || type == 129;
  return type == 0 || type == 8 || (type >= 13 && type <= 18);
}

// Messages that quote the packet they are about.
bool is_icmp_error(Protocol protocol, uint8_t type) {
  if (protocol == Protocol::kIcmpV6) return type >= 1 && type <= 4;
  return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

FlowKey addresses_of(const Ip& ip, uint16_t vlan_id) {
  return {vlan_id, ip.protocol, {ip.source, 0}, {ip.destination, 0}};
}

// The key of a packet of which only the beginning of the transport header need be there: 8 bytes are what ICMP
// promises to quote.
Result<FlowKey> read_quoted(const Bytes& bytes, const Ip& ip, uint16_t vlan_id) {
  FlowKey key = addresses_of(ip, vlan_id);
  if (ip.fragment.offset_bytes != 0) return key;
  const size_t at = ip.transport_offset;
  if (has_ports(ip.protocol)) {
    if (!bytes.have(at, kPortsBytes)) return fail(Code::kInvalid, "an ICMP error quotes a packet without its ports");
    key.source.port = bytes.u16(at);
    key.destination.port = bytes.u16(at + 2);
  } else if (is_icmp(ip.protocol)) {
    if (!bytes.have(at, kIcmpBytes)) return fail(Code::kInvalid, "an ICMP error quotes ICMP without its header");
    if (is_icmp_query(ip.protocol, bytes.u8(at))) key.source.port = key.destination.port = bytes.u16(at + 4);
  }
  return key;
}

Result<void> read_icmp(const Bytes& bytes, const Ip& ip, Packet& packet) {
  const size_t at = ip.transport_offset;
  if (!bytes.have(at, kIcmpBytes)) return fail(Code::kInvalid, "the ICMP header is cut off");
  packet.icmp = {bytes.u8(at), bytes.u8(at + 1)};
  packet.payload_offset = static_cast<uint32_t>(at + kIcmpBytes);
  if (is_icmp_query(ip.protocol, packet.icmp.type))
    packet.key.source.port = packet.key.destination.port = bytes.u16(at + 4);
  if (!is_icmp_error(ip.protocol, packet.icmp.type)) return {};

  auto quoted = ip.protocol == Protocol::kIcmp ? read_ipv4(bytes, at + kIcmpBytes, Whole::kNo)
                                               : read_ipv6(bytes, at + kIcmpBytes, Whole::kNo);
  if (!quoted) return within(quoted.error(), "in an ICMP error");
  HW_TRY(const FlowKey key, read_quoted(bytes.cut_at(quoted->end), *quoted, packet.key.vlan_id));
  if (key.source.address != ip.destination) return {};
  packet.kind = Kind::kIcmpError;
  packet.quoted = key;
  packet.quoted_fragment = quoted->fragment;
  return {};
}

Result<void> read_tcp(const Bytes& bytes, const Ip& ip, Packet& packet) {
  const size_t at = ip.transport_offset;
  if (!bytes.have(at, kTcpMinBytes)) return fail(Code::kInvalid, "the TCP header is cut off");
  const size_t header = size_t{bytes.u8(at + 12)} / 16 * 4;
  if (header < kTcpMinBytes) return fail(Code::kInvalid, "a TCP header of {} bytes", header);
  if (!bytes.have(at, header) && !ip.fragment.more)
    return fail(Code::kInvalid, "a TCP header of {} bytes in {}", header, bytes.end() - at);
  packet.tcp = {.flags = bytes.u8(at + 13),
                .window = bytes.u16(at + 14),
                .sequence = bytes.u32(at + 4),
                .acknowledgement = bytes.u32(at + 8)};
  packet.payload_offset = static_cast<uint32_t>(std::min(at + header, bytes.end()));
  return {};
}

Result<void> read_transport(const Bytes& bytes, const Ip& ip, Packet& packet) {
  const size_t at = ip.transport_offset;
  packet.payload_offset = static_cast<uint32_t>(at);
  if (ip.fragment.offset_bytes != 0) {
    packet.kind = Kind::kLaterFragment;
    // It could write over the ports and flags of a header that was judged already.
    if (ip.protocol == Protocol::kTcp && ip.fragment.offset_bytes < kTcpMinBytes)
      return fail(Code::kInvalid, "a fragment at byte {} of TCP", ip.fragment.offset_bytes);
    return {};
  }
  packet.kind = Kind::kFlow;
  if (is_icmp(ip.protocol)) return read_icmp(bytes, ip, packet);
  if (!has_ports(ip.protocol)) return {};

  const size_t header = ip.protocol == Protocol::kUdp ? kUdpBytes : kSctpBytes;
  if (ip.protocol == Protocol::kTcp) {
    HW_OK(read_tcp(bytes, ip, packet));
  } else {
    if (!bytes.have(at, header)) return fail(Code::kInvalid, "the {} header is cut off", to_string(ip.protocol));
    packet.payload_offset = static_cast<uint32_t>(at + header);
  }
  packet.key.source.port = bytes.u16(at);
  packet.key.destination.port = bytes.u16(at + 2);
  return {};
}

}  // namespace

Result<Packet> parse(std::span<const std::byte> frame) {
  const Bytes bytes(frame);
  if (frame.size() > kFrameMaxBytes) return fail(Code::kInvalid, "a frame of {} bytes", frame.size());
  if (!bytes.have(0, kEthernetBytes)) return fail(Code::kInvalid, "the Ethernet header is cut off");

  Packet packet;
  packet.ethertype = bytes.u16(kEthernetBytes - 2);
  size_t offset = kEthernetBytes;
  uint16_t vlan_id = 0;
  for (unsigned tags = 0; tags < kVlanTagsMax && is_vlan(packet.ethertype); ++tags) {
    if (!bytes.have(offset, kVlanTagBytes)) return fail(Code::kInvalid, "a VLAN tag is cut off");
    const auto id = static_cast<uint16_t>(bytes.u16(offset) & 0xfffU);
    (tags == 0 ? vlan_id : packet.inner_vlan_id) = id;
    packet.ethertype = bytes.u16(offset + 2);
    offset += kVlanTagBytes;
  }
  packet.key.vlan_id = vlan_id;

  if (packet.ethertype == kEthertypeArp || packet.ethertype == kEthertypeRarp) packet.kind = Kind::kArp;
  if (packet.ethertype != kEthertypeIpv4 && packet.ethertype != kEthertypeIpv6) return packet;

  HW_TRY(const Ip ip, packet.ethertype == kEthertypeIpv4 ? read_ipv4(bytes, offset, Whole::kYes)
                                                         : read_ipv6(bytes, offset, Whole::kYes));
  packet.key = addresses_of(ip, vlan_id);
  packet.fragment = ip.fragment;
  packet.network_offset = static_cast<uint32_t>(offset);
  packet.transport_offset = static_cast<uint32_t>(ip.transport_offset);
  HW_OK(read_transport(bytes.cut_at(ip.end), ip, packet));
  packet.payload_bytes = static_cast<uint32_t>(ip.end) - packet.payload_offset;
  return packet;
}

std::string to_string(const FlowKey& key) {
  const std::string vlan = key.vlan_id == 0 ? "" : fmt::format(" vlan {}", key.vlan_id);
  return fmt::format("{} {} -> {}{}", to_string(key.protocol), to_string(key.source), to_string(key.destination), vlan);
}

std::string_view to_string(Kind kind) {
  switch (kind) {
    case Kind::kFlow: return "flow";
    case Kind::kLaterFragment: return "later fragment";
    case Kind::kIcmpError: return "icmp error";
    case Kind::kArp: return "arp";
    case Kind::kOther: return "other";
  }
  return "?";
}

size_t FlowHash::operator()(const FlowKey& key) const noexcept {
  std::array<uint64_t, 5> words{};
  std::memcpy(words.data(), key.source.address.bytes().data(), 16);
  std::memcpy(words.data() + 2, key.destination.address.bytes().data(), 16);
  words[4] = uint64_t{key.vlan_id} << 48 | uint64_t{static_cast<uint8_t>(key.protocol)} << 32 |
             uint64_t{key.source.port} << 16 | key.destination.port;

  uint64_t v0 = 0x736f6d6570736575 ^ seed0, v1 = 0x646f72616e646f6d ^ seed1;
  uint64_t v2 = 0x6c7967656e657261 ^ seed0, v3 = 0x7465646279746573 ^ seed1;
  const auto round = [&] {
    v0 += v1, v2 += v3;
    v1 = std::rotl(v1, 13) ^ v0, v3 = std::rotl(v3, 16) ^ v2;
    v0 = std::rotl(v0, 32);
    v2 += v1, v0 += v3;
    v1 = std::rotl(v1, 17) ^ v2, v3 = std::rotl(v3, 21) ^ v0;
    v2 = std::rotl(v2, 32);
  };
  for (const uint64_t word : words) {
    v3 ^= word;
    round();
    v0 ^= word;
  }
  constexpr uint64_t kLengthBlock = uint64_t{words.size() * 8} << 56;
  v3 ^= kLengthBlock;
  round();
  v0 ^= kLengthBlock;
  v2 ^= 0xff;
  for (int i = 0; i < 3; ++i) round();
  return v0 ^ v1 ^ v2 ^ v3;
}

}  // namespace hyperward::packet
