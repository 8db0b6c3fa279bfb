#include "packet/build.h"

#include <algorithm>
#include <array>

namespace hyperward::packet::build {
namespace {

constexpr size_t kIpv4HeaderBytes = 20, kIpv6HeaderBytes = 40;

void append8(Bytes& out, unsigned value) {
  out.push_back(static_cast<std::byte>(value));
}
void append16(Bytes& out, unsigned value) {
  append8(out, value >> 8U);
  append8(out, value);
}
void append32(Bytes& out, uint32_t value) {
  append16(out, value >> 16U);
  append16(out, value);
}
void append(Bytes& out, std::span<const std::byte> bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}
void append(Bytes& out, std::string_view text) {
  append(out, std::as_bytes(std::span(text)));
}
void append(Bytes& out, const IpAddress& address) {
  const auto bytes = std::as_bytes(std::span(address.bytes()));
  append(out, address.is_v4() ? bytes.last(4) : bytes);
}
void put16(Bytes& out, size_t offset, unsigned value) {
  out[offset] = static_cast<std::byte>(value >> 8U);
  out[offset + 1] = static_cast<std::byte>(value);
}
unsigned get8(const Bytes& bytes, size_t offset) {
  return static_cast<unsigned>(bytes[offset]);
}

std::string_view text_of(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

uint32_t sum16(std::span<const std::byte> bytes, uint32_t sum) {
  for (size_t i = 0; i < bytes.size(); ++i) sum += static_cast<uint32_t>(bytes[i]) << (i % 2 == 0 ? 8U : 0U);
  return sum;
}

void finish_checksum(Bytes& packet, size_t transport_offset, const IpAddress& source, const IpAddress& destination,
                     const Segment& segment) {
  uint32_t sum = 0;
  if (segment.transport != Protocol::kIcmp) {  // ICMP alone has no pseudo-header
    Bytes pseudo;
    append(pseudo, source);
    append(pseudo, destination);
    append32(pseudo, static_cast<uint32_t>(packet.size() - transport_offset));
    append32(pseudo, static_cast<uint32_t>(segment.transport));
    sum = sum16(pseudo, 0);
  }
  uint16_t value = checksum(std::span(packet).subspan(transport_offset), sum);
  if (value == 0 && segment.transport == Protocol::kUdp) value = 0xffff;  // 0 would mean "none"
  put16(packet, transport_offset + segment.checksum_offset, value);
}

Segment icmp_of(Protocol protocol, uint8_t type, uint8_t code, uint32_t rest_of_header, std::string_view payload) {
  Segment segment{protocol, {}, protocol, 0, 2};
  append8(segment.bytes, type);
  append8(segment.bytes, code);
  append16(segment.bytes, 0);
  append32(segment.bytes, rest_of_header);
  append(segment.bytes, payload);
  return segment;
}

}  // namespace

uint16_t checksum(std::span<const std::byte> bytes, uint32_t sum) {
  sum = sum16(bytes, sum);
  while (sum > 0xffff) sum = (sum >> 16U) + (sum & 0xffffU);
  return static_cast<uint16_t>(~sum);
}

Segment tcp(uint16_t source_port, uint16_t destination_port, uint8_t flags, uint32_t sequence, uint32_t acknowledgement,
            std::string_view payload) {
  Segment segment{Protocol::kTcp, {}, Protocol::kTcp, 0, 16};
  append16(segment.bytes, source_port);
  append16(segment.bytes, destination_port);
  append32(segment.bytes, sequence);
  append32(segment.bytes, acknowledgement);
  append8(segment.bytes, 5U << 4U);  // a header of 5 words
  append8(segment.bytes, flags);
  append16(segment.bytes, 64240);  // window
  append32(segment.bytes, 0);      // checksum, urgent pointer
  append(segment.bytes, payload);
  return segment;
}

Segment udp(uint16_t source_port, uint16_t destination_port, std::string_view payload) {
  Segment segment{Protocol::kUdp, {}, Protocol::kUdp, 0, 6};
  append16(segment.bytes, source_port);
  append16(segment.bytes, destination_port);
  append16(segment.bytes, static_cast<unsigned>(8 + payload.size()));
  append16(segment.bytes, 0);
  append(segment.bytes, payload);
  return segment;
}

Segment icmp(uint8_t type, uint8_t code, uint32_t rest_of_header, std::string_view payload) {
  return icmp_of(Protocol::kIcmp, type, code, rest_of_header, payload);
}

Segment icmp6(uint8_t type, uint8_t code, uint32_t rest_of_header, std::string_view payload) {
  return icmp_of(Protocol::kIcmpV6, type, code, rest_of_header, payload);
}

Segment icmp_echo(uint16_t id, uint16_t sequence, bool reply) {
  return icmp(reply ? 0 : 8, 0, uint32_t{id} << 16U | sequence, "ping");
}

Segment icmp6_echo(uint16_t id, uint16_t sequence, bool reply) {
  return icmp6(reply ? 129 : 128, 0, uint32_t{id} << 16U | sequence, "ping");
}

Segment icmp_error(uint8_t type, uint8_t code, const Bytes& packet) {
  return icmp(type, code, 0, text_of(packet));
}

Segment icmp6_error(uint8_t type, uint8_t code, const Bytes& packet) {
  return icmp6(type, code, 0, text_of(packet));
}

Segment raw(Protocol protocol, std::string_view payload) {
  Segment segment{protocol, {}, protocol, 0, 0};
  append(segment.bytes, payload);
  return segment;
}

Segment extended(uint8_t header, const Segment& segment, size_t length_bytes) {
  HW_CHECK(length_bytes >= 8 && length_bytes % 8 == 0);
  Segment outer = segment;
  outer.protocol = Protocol{header};
  outer.transport_offset += length_bytes;
  outer.bytes.assign(length_bytes, std::byte{0});
  outer.bytes[0] = static_cast<std::byte>(segment.protocol);
  outer.bytes[1] = static_cast<std::byte>(length_bytes / 8 - 1);
  append(outer.bytes, segment.bytes);
  return outer;
}

Bytes ip(const IpAddress& source, const IpAddress& destination, const Segment& segment) {
  HW_CHECK(source.is_v4() == destination.is_v4());
  const size_t payload = segment.bytes.size();
  Bytes packet;
  if (source.is_v4()) {
    const size_t total = kIpv4HeaderBytes + payload;
    append16(packet, 0x4500);                                             // version, header of 5 words
    append16(packet, total > 0xffff ? 0 : static_cast<unsigned>(total));  // 0: BIG TCP
    append32(packet, 0);                                                  // id, flags, fragment offset
    append8(packet, 64);                                                  // time to live
    append8(packet, static_cast<unsigned>(segment.protocol));
    append16(packet, 0);
  } else {
    append32(packet, 0x60000000);
    append16(packet, payload > 0xffff ? 0 : static_cast<unsigned>(payload));
    append8(packet, static_cast<unsigned>(segment.protocol));
    append8(packet, 64);
  }
  append(packet, source);
  append(packet, destination);
  if (source.is_v4()) put16(packet, 10, checksum(packet));
  const size_t transport_offset = packet.size() + segment.transport_offset;
  append(packet, segment.bytes);
  if (segment.checksum_offset != 0) finish_checksum(packet, transport_offset, source, destination, segment);
  return packet;
}

Bytes fragment_of(const Bytes& packet, uint32_t id, size_t offset_bytes, size_t length_bytes) {
  HW_CHECK(offset_bytes % 8 == 0);
  const bool is_v4 = get8(packet, 0) >> 4U == 4;
  const size_t header = is_v4 ? kIpv4HeaderBytes : kIpv6HeaderBytes;
  HW_CHECK(header + offset_bytes <= packet.size());
  const auto whole = std::span(packet).subspan(header);
  const auto part = whole.subspan(offset_bytes, std::min(length_bytes, whole.size() - offset_bytes));
  const bool more = offset_bytes + part.size() < whole.size();

  Bytes out(packet.begin(), packet.begin() + static_cast<ptrdiff_t>(header));
  if (is_v4) {
    put16(out, 2, static_cast<unsigned>(header + part.size()));
    put16(out, 4, id);
    put16(out, 6, static_cast<unsigned>(offset_bytes / 8 | (more ? 0x2000U : 0)));
    put16(out, 10, 0);
    put16(out, 10, checksum(out));
  } else {
    put16(out, 4, static_cast<unsigned>(8 + part.size()));
    append8(out, get8(packet, 6));
    append8(out, 0);
    append16(out, static_cast<unsigned>(offset_bytes | (more ? 1U : 0)));
    append32(out, id);
    out[6] = std::byte{44};
  }
  append(out, part);
  return out;
}

Bytes ethernet_of(uint16_t ethertype, std::string_view payload, std::initializer_list<uint16_t> vlan_ids) {
  Bytes frame;
  append(frame, std::string_view("\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01", 12));
  size_t left = vlan_ids.size();
  for (const uint16_t id : vlan_ids) {
    append16(frame, left-- > 1 ? 0x88a8 : 0x8100);
    append16(frame, id);
  }
  append16(frame, ethertype);
  append(frame, payload);
  return frame;
}

Bytes ethernet(const Bytes& packet, std::initializer_list<uint16_t> vlan_ids) {
  const bool is_v4 = get8(packet, 0) >> 4U == 4;
  return ethernet_of(is_v4 ? 0x0800 : 0x86dd, text_of(packet), vlan_ids);
}

}  // namespace hyperward::packet::build
