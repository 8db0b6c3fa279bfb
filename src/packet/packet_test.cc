#include "packet/packet.h"

#include <gtest/gtest.h>

#include <set>

#include "packet/build.h"

namespace hyperward::packet {
namespace {

using namespace build;  // NOLINT: the tests are written in its words

const IpAddress kGuest = IpAddress::v4(10, 0, 0, 2), kServer = IpAddress::v4(192, 0, 2, 1),
                kRouter = IpAddress::v4(10, 0, 0, 1);
const IpAddress kGuest6 = *IpAddress::parse("2001:db8::2"), kServer6 = *IpAddress::parse("2001:db8:1::1"),
                kRouter6 = *IpAddress::parse("2001:db8::1");

Packet parsed(const Bytes& frame) {
  const auto packet = parse(frame);
  EXPECT_TRUE(packet) << packet.error().message;
  return packet.value_or(Packet{});
}

std::string error_of(const Bytes& frame) {
  const auto packet = parse(frame);
  return packet ? "parsed as " + to_string(packet->key) : packet.error().message;
}

Bytes with_byte(Bytes frame, size_t offset, unsigned value) {
  frame.at(offset) = static_cast<std::byte>(value);
  return frame;
}

TEST(parse, reads_a_tcp_syn) {
  const Packet packet = parsed(ethernet(ip(kGuest, kServer, tcp(40000, 25, Tcp::kSyn, 1000, 0))));
  EXPECT_EQ(packet.kind, Kind::kFlow);
  EXPECT_EQ(packet.key, (FlowKey{0, Protocol::kTcp, {kGuest, 40000}, {kServer, 25}}));
  EXPECT_TRUE(packet.tcp.opens());
  EXPECT_EQ(packet.tcp.sequence, 1000U);
  EXPECT_EQ(packet.payload_bytes, 0U);
}

TEST(parse, reads_what_tcp_carries_and_acknowledges) {
  const uint8_t flags = Tcp::kAck | Tcp::kPsh;
  const Packet packet = parsed(ethernet(ip(kGuest6, kServer6, tcp(40000, 25, flags, 0xfffffff0, 77, "EHLO x\r\n"))));
  EXPECT_EQ(packet.key, (FlowKey{0, Protocol::kTcp, {kGuest6, 40000}, {kServer6, 25}}));
  EXPECT_EQ(packet.tcp.flags, flags);
  EXPECT_EQ(packet.tcp.sequence, 0xfffffff0);
  EXPECT_EQ(packet.tcp.acknowledgement, 77U);
  EXPECT_EQ(packet.tcp.window, 64240);
  EXPECT_EQ(packet.network_offset, 14U);
  EXPECT_EQ(packet.transport_offset, 14U + 40);
  EXPECT_EQ(packet.payload_offset, 14U + 40 + 20);
  EXPECT_EQ(packet.payload_bytes, 8U);
}

TEST(parse, a_syn_that_also_acknowledges_or_ends_opens_nothing) {
  for (const unsigned extra : {Tcp::kAck, Tcp::kRst, Tcp::kFin}) {
    const auto flags = static_cast<uint8_t>(Tcp::kSyn | extra);
    EXPECT_FALSE(parsed(ethernet(ip(kGuest, kServer, tcp(1, 2, flags)))).tcp.opens());
  }
}

TEST(parse, reads_udp_and_sctp_ports) {
  EXPECT_EQ(parsed(ethernet(ip(kGuest, kServer, udp(5353, 53, "query")))).key,
            (FlowKey{0, Protocol::kUdp, {kGuest, 5353}, {kServer, 53}}));
  const std::string sctp("\x12\x34\x00\x50\0\0\0\0\0\0\0\0data", 16);
  const Packet packet = parsed(ethernet(ip(kGuest, kServer, raw(Protocol::kSctp, sctp))));
  EXPECT_EQ(packet.key, (FlowKey{0, Protocol::kSctp, {kGuest, 0x1234}, {kServer, 80}}));
  EXPECT_EQ(packet.payload_bytes, 4U);
}

TEST(parse, padding_behind_the_ip_packet_is_no_payload) {
  Bytes frame = ethernet(ip(kGuest, kServer, udp(1, 2, "x")));
  frame.resize(60);
  EXPECT_EQ(parsed(frame).payload_bytes, 1U);
}

TEST(parse, the_outermost_vlan_tag_stands_in_the_key) {
  const Bytes packet = ip(kGuest, kServer, tcp(1, 2, Tcp::kSyn));
  EXPECT_EQ(parsed(ethernet(packet, {7})).key.vlan_id, 7);
  const Packet twice = parsed(ethernet(packet, {7, 100}));
  EXPECT_EQ(twice.kind, Kind::kFlow);
  EXPECT_EQ(twice.key.vlan_id, 7);
  EXPECT_EQ(twice.inner_vlan_id, 100);
  EXPECT_EQ(twice.payload_offset, 14U + 8 + 20 + 20);
}

TEST(parse, priority_bits_are_no_part_of_the_vlan_id) {
  const Bytes frame = ethernet(ip(kGuest, kServer, tcp(1, 2, Tcp::kSyn)), {0xe007});
  EXPECT_EQ(parsed(frame).key.vlan_id, 7);
}

TEST(parse, does_not_look_behind_a_third_vlan_tag) {
  const Packet packet = parsed(ethernet(ip(kGuest, kServer, tcp(1, 2, Tcp::kSyn)), {1, 2, 3}));
  EXPECT_EQ(packet.kind, Kind::kOther);
  EXPECT_EQ(packet.ethertype, 0x8100);
}

TEST(parse, names_arp_and_other_ethertypes) {
  EXPECT_EQ(parsed(ethernet_of(0x0806, "request", {9})).kind, Kind::kArp);
  EXPECT_EQ(parsed(ethernet_of(0x0806, "request", {9})).key.vlan_id, 9);
  const Packet lldp = parsed(ethernet_of(0x88cc, ""));
  EXPECT_EQ(lldp.kind, Kind::kOther);
  EXPECT_EQ(lldp.ethertype, 0x88cc);
}

TEST(parse, an_echo_reply_is_the_request_reversed) {
  const FlowKey request = parsed(ethernet(ip(kGuest, kServer, icmp_echo(0x1234)))).key;
  const FlowKey reply = parsed(ethernet(ip(kServer, kGuest, icmp_echo(0x1234, 1, true)))).key;
  EXPECT_EQ(request, (FlowKey{0, Protocol::kIcmp, {kGuest, 0x1234}, {kServer, 0x1234}}));
  EXPECT_EQ(reply, reversed(request));
  const FlowKey request6 = parsed(ethernet(ip(kGuest6, kServer6, icmp6_echo(7)))).key;
  EXPECT_EQ(parsed(ethernet(ip(kServer6, kGuest6, icmp6_echo(7, 1, true)))).key, reversed(request6));
}

TEST(parse, icmp_without_an_identifier_has_no_ports) {
  const Packet solicitation = parsed(ethernet(ip(kGuest6, kRouter6, icmp6(135, 0, 0, std::string(16, 'a')))));
  EXPECT_EQ(solicitation.kind, Kind::kFlow);
  EXPECT_EQ(solicitation.icmp.type, 135);
  EXPECT_EQ(solicitation.key.source.port, 0);
}

TEST(parse, an_icmp_error_belongs_to_the_flow_that_it_quotes) {
  const Bytes sent = ip(kGuest, kServer, udp(40000, 53, "query"));
  const Packet error = parsed(ethernet(ip(kRouter, kGuest, icmp_error(3, 1, sent)), {7}));
  EXPECT_EQ(error.kind, Kind::kIcmpError);
  EXPECT_EQ(error.key.source.address, kRouter);
  EXPECT_EQ(error.quoted, (FlowKey{7, Protocol::kUdp, {kGuest, 40000}, {kServer, 53}}));
  EXPECT_EQ(flow_of(error), reversed(error.quoted));
}

TEST(parse, an_icmp_error_may_quote_8_bytes_of_tcp) {
  Bytes sent = ip(kGuest, kServer, tcp(40000, 25, Tcp::kSyn));
  sent.resize(20 + 8);
  EXPECT_EQ(parsed(ethernet(ip(kRouter, kGuest, icmp_error(11, 0, sent)))).quoted.destination.port, 25);
  sent.resize(20 + 3);
  EXPECT_EQ(error_of(ethernet(ip(kRouter, kGuest, icmp_error(11, 0, sent)))),
            "an ICMP error quotes a packet without its ports");
}

TEST(parse, an_icmp6_error_may_quote_an_echo) {
  const Bytes sent = ip(kGuest6, kServer6, icmp6_echo(99));
  const Packet error = parsed(ethernet(ip(kRouter6, kGuest6, icmp6_error(1, 4, sent))));
  EXPECT_EQ(error.kind, Kind::kIcmpError);
  EXPECT_EQ(error.quoted, (FlowKey{0, Protocol::kIcmpV6, {kGuest6, 99}, {kServer6, 99}}));
}

TEST(parse, an_icmp_error_may_quote_a_later_fragment) {
  const Bytes sent = ip(kGuest, kServer, udp(40000, 53, std::string(2000, 'x')));
  const Packet error = parsed(ethernet(ip(kRouter, kGuest, icmp_error(11, 1, fragment_of(sent, 42, 1480, 1480)))));
  EXPECT_EQ(error.kind, Kind::kIcmpError);
  EXPECT_EQ(error.quoted_fragment.id, 42U);
  EXPECT_EQ(error.quoted_fragment.offset_bytes, 1480);
  EXPECT_EQ(error.quoted.source.port, 0);
}

TEST(parse, an_icmp_error_to_a_stranger_of_the_quoted_flow_is_a_flow_of_its_own) {
  const Bytes quoted = ip(kServer, kGuest, tcp(443, 40000, Tcp::kAck));
  const IpAddress elsewhere = IpAddress::v4(203, 0, 113, 66);
  const Packet packet = parsed(ethernet(ip(kGuest, elsewhere, icmp_error(3, 3, quoted))));
  EXPECT_EQ(packet.kind, Kind::kFlow);
  EXPECT_EQ(flow_of(packet), (FlowKey{0, Protocol::kIcmp, {kGuest, 0}, {elsewhere, 0}}));
}

TEST(parse, fragments_share_an_id_and_only_the_first_has_ports) {
  for (const auto& [source, destination] : {std::pair(kGuest, kServer), std::pair(kGuest6, kServer6)}) {
    const Bytes whole = ip(source, destination, udp(40000, 53, std::string(2000, 'x')));
    const Packet first = parsed(ethernet(fragment_of(whole, 42, 0, 1480)));
    EXPECT_EQ(first.kind, Kind::kFlow);
    EXPECT_EQ(first.key.destination.port, 53);
    EXPECT_TRUE(first.fragment.is_fragment());
    EXPECT_TRUE(first.fragment.more);
    EXPECT_EQ(first.fragment.id, 42U);
    const Packet last = parsed(ethernet(fragment_of(whole, 42, 1480, 1480)));
    EXPECT_EQ(last.kind, Kind::kLaterFragment);
    EXPECT_EQ(last.key, (FlowKey{0, Protocol::kUdp, {source, 0}, {destination, 0}}));
    EXPECT_EQ(last.fragment.offset_bytes, 1480);
    EXPECT_FALSE(last.fragment.more);
    EXPECT_EQ(last.fragment.id, 42U);
    EXPECT_EQ(last.payload_bytes, 2008U - 1480);
  }
}

TEST(parse, an_ipv6_packet_in_one_fragment_is_whole) {
  const Packet packet = parsed(ethernet(fragment_of(ip(kGuest6, kServer6, tcp(1, 2, Tcp::kSyn)), 42, 0, 1480)));
  EXPECT_EQ(packet.kind, Kind::kFlow);
  EXPECT_FALSE(packet.fragment.is_fragment());
  EXPECT_TRUE(packet.tcp.opens());
}

TEST(parse, rejects_fragments_that_hide_or_rewrite_a_tcp_header) {
  const Bytes whole = ip(kGuest, kServer, tcp(40000, 25, Tcp::kSyn, 1, 0, std::string(100, 'x')));
  EXPECT_EQ(error_of(ethernet(fragment_of(whole, 42, 0, 16))), "the TCP header is cut off");
  EXPECT_EQ(error_of(ethernet(fragment_of(whole, 42, 8, 80))), "a fragment at byte 8 of TCP");
  EXPECT_EQ(error_of(ethernet(fragment_of(whole, 42, 16, 80))), "a fragment at byte 16 of TCP");
  EXPECT_EQ(parsed(ethernet(fragment_of(whole, 42, 24, 80))).kind, Kind::kLaterFragment);
}

TEST(parse, walks_ipv6_extension_headers) {
  const Segment segment = extended(0, extended(60, extended(43, tcp(40000, 25, Tcp::kSyn), 24), 16));
  const Packet packet = parsed(ethernet(ip(kGuest6, kServer6, segment)));
  EXPECT_EQ(packet.key, (FlowKey{0, Protocol::kTcp, {kGuest6, 40000}, {kServer6, 25}}));
  EXPECT_EQ(packet.transport_offset, 14U + 40 + 8 + 16 + 24);
}

TEST(parse, walks_authentication_headers_of_both_families) {
  // Next header TCP, 4 words minus 2; then the rest of AH and a TCP header.
  std::string header("\x06\x02\0\0\0\0\0\1\0\0\0\1\xaa\xbb\xcc\xdd", 16);
  const Segment inner = tcp(40000, 25, Tcp::kSyn);
  header.append(reinterpret_cast<const char*>(inner.bytes.data()), inner.bytes.size());
  for (const auto& [source, destination] : {std::pair(kGuest, kServer), std::pair(kGuest6, kServer6)}) {
    const Packet packet = parsed(ethernet(ip(source, destination, raw(Protocol{51}, header))));
    EXPECT_EQ(packet.key, (FlowKey{0, Protocol::kTcp, {source, 40000}, {destination, 25}}));
  }
}

TEST(parse, extension_headers_of_ipv6_are_mere_protocols_in_ipv4) {
  const Packet packet = parsed(ethernet(ip(kGuest, kServer, extended(60, tcp(40000, 25, Tcp::kSyn)))));
  EXPECT_EQ(packet.key.protocol, Protocol{60});
  EXPECT_EQ(packet.key.destination.port, 0);
}

TEST(parse, bounds_the_chain_of_extension_headers) {
  Segment segment = udp(1, 2);
  for (unsigned i = 0; i < kExtensionHeadersMax; ++i) segment = extended(60, segment);
  EXPECT_EQ(parsed(ethernet(ip(kGuest6, kServer6, segment))).key.destination.port, 2);
  EXPECT_EQ(error_of(ethernet(ip(kGuest6, kServer6, extended(60, segment)))), "more than 8 IP extension headers");
}

TEST(parse, rejects_two_fragment_headers) {
  const Bytes once = fragment_of(ip(kGuest6, kServer6, udp(1, 2)), 1, 0, 1480);
  EXPECT_EQ(error_of(ethernet(fragment_of(once, 2, 0, 1480))), "two fragment headers");
}

TEST(parse, protocols_without_ports_have_a_key_too) {
  const Packet packet = parsed(ethernet(ip(kGuest, kServer, raw(Protocol{47}, "gre"))));
  EXPECT_EQ(packet.kind, Kind::kFlow);
  EXPECT_EQ(packet.key, (FlowKey{0, Protocol{47}, {kGuest, 0}, {kServer, 0}}));
  EXPECT_EQ(packet.payload_bytes, 3U);
}

TEST(parse, reads_superframes_of_segmentation_offload) {
  for (const size_t payload : {size_t{60'000}, size_t{65'535}, size_t{500'000}}) {
    for (const auto& [source, destination] : {std::pair(kGuest, kServer), std::pair(kGuest6, kServer6)}) {
      const std::string data(payload, 'x');
      const Packet packet = parsed(ethernet(ip(source, destination, tcp(40000, 80, Tcp::kAck, 5, 6, data)), {7}));
      EXPECT_EQ(packet.key.destination.port, 80);
      EXPECT_EQ(packet.payload_bytes, payload);
    }
  }
}

TEST(parse, a_total_length_of_0_is_no_big_tcp_in_a_short_frame) {
  Bytes frame = ethernet(ip(kGuest, kServer, tcp(1, 2, Tcp::kSyn)));
  frame[16] = frame[17] = std::byte{0};
  EXPECT_EQ(error_of(frame), "an IPv4 packet of 0 bytes, less than its header");
}

TEST(parse, an_empty_ipv6_packet_is_one) {
  EXPECT_EQ(parsed(ethernet(ip(kGuest6, kServer6, raw(Protocol{59}, "")))).key.protocol, Protocol{59});
}

TEST(parse, rejects_v4_mapped_addresses_in_ipv6) {
  // ::ffff:192.0.2.1 would pass for the IPv4 address of a rule.
  Bytes frame = ethernet(ip(kGuest6, kServer6, tcp(1, 2, Tcp::kSyn)));
  for (size_t i = 0; i < 16; ++i) frame[14 + 24 + i] = static_cast<std::byte>(kServer.bytes()[i]);
  EXPECT_EQ(error_of(frame), "IPv6 between 2001:db8::2 and 192.0.2.1: a v4-mapped address on the wire");
}

TEST(parse, says_what_is_wrong_with_a_header) {
  const Bytes v4 = ethernet(ip(kGuest, kServer, tcp(1, 2, Tcp::kSyn)));
  const Bytes v6 = ethernet(ip(kGuest6, kServer6, tcp(1, 2, Tcp::kSyn)));
  EXPECT_EQ(error_of(with_byte(v4, 14, 0x65)), "IPv4 of version 6");
  EXPECT_EQ(error_of(with_byte(v4, 14, 0x44)), "an IPv4 header of 16 bytes");
  EXPECT_EQ(error_of(with_byte(v4, 17, 41)), "an IPv4 packet of 41 bytes in 40");
  EXPECT_EQ(error_of(with_byte(v4, 17, 19)), "an IPv4 packet of 19 bytes, less than its header");
  EXPECT_EQ(error_of(with_byte(v4, 46, 0x40)), "a TCP header of 16 bytes");
  EXPECT_EQ(error_of(with_byte(v4, 46, 0x60)), "a TCP header of 24 bytes in 20");
  EXPECT_EQ(error_of(with_byte(v6, 14, 0x40)), "IPv6 of version 4");
  EXPECT_EQ(error_of(with_byte(v6, 19, 21)), "an IPv6 payload of 21 bytes in 20");
  EXPECT_EQ(error_of(with_byte(v6, 20, 60)), "an IP extension header is cut off");
}

TEST(parse, every_frame_cut_short_is_an_error) {
  const Bytes frames[] = {
      ethernet(ip(kGuest, kServer, tcp(1, 2, Tcp::kSyn)), {1, 2}),
      ethernet(ip(kGuest6, kServer6, extended(0, extended(60, udp(1, 2), 16)))),
      ethernet(ip(kRouter, kGuest, icmp_error(3, 1, ip(kGuest, kServer, icmp_echo(1))))),
  };
  for (const Bytes& frame : frames) {
    ASSERT_TRUE(parse(frame));
    // A copy of exactly that size, so that a sanitizer sees a read behind it.
    for (size_t size = 0; size < frame.size(); ++size)
      EXPECT_FALSE(parse(Bytes(frame.begin(), frame.begin() + static_cast<ptrdiff_t>(size)))) << size;
  }
}

TEST(parse, rejects_frames_beyond_the_limit) {
  EXPECT_EQ(error_of(Bytes(kFrameMaxBytes + 1)), "a frame of 1048577 bytes");
}

TEST(FlowKey, prints_as_a_reader_of_tcpdump_expects) {
  EXPECT_EQ(to_string(FlowKey{0, Protocol::kTcp, {kGuest, 40000}, {kServer, 25}}),
            "tcp 10.0.0.2:40000 -> 192.0.2.1:25");
  EXPECT_EQ(to_string(FlowKey{7, Protocol::kUdp, {kGuest6, 1}, {kServer6, 53}}),
            "udp [2001:db8::2]:1 -> [2001:db8:1::1]:53 vlan 7");
}

TEST(FlowHash, differs_for_each_part_of_the_key_and_for_the_seed) {
  const FlowKey key{7, Protocol::kTcp, {kGuest, 40000}, {kServer, 25}};
  std::set<size_t> hashes{FlowHash{1, 2}(key), FlowHash{1, 3}(key), FlowHash{2, 2}(key), FlowHash{1, 2}(reversed(key))};
  FlowKey other = key;
  other.vlan_id = 8;
  hashes.insert(FlowHash{1, 2}(other));
  other = key;
  other.protocol = Protocol::kUdp;
  hashes.insert(FlowHash{1, 2}(other));
  other = key;
  other.source.port = 40001;
  hashes.insert(FlowHash{1, 2}(other));
  EXPECT_EQ(hashes.size(), 7U);
  EXPECT_EQ(FlowHash{}(key), (FlowHash{0, 0}(FlowKey(key))));
}

TEST(build, checksums_are_those_of_rfc_1071) {
  // An IPv4 header with its checksum b861, as in RFC 1071's method worked by hand.
  const unsigned words[] = {0x4500, 0x0073, 0x0000, 0x4000, 0x4011, 0xb861, 0xc0a8, 0x0001, 0xc0a8, 0x00c7};
  Bytes header;
  for (const unsigned word : words) {
    header.push_back(static_cast<std::byte>(word >> 8U));
    header.push_back(static_cast<std::byte>(word));
  }
  EXPECT_EQ(checksum(header), 0);
  header[10] = header[11] = std::byte{0};
  EXPECT_EQ(checksum(header), 0xb861);
}

TEST(build, transport_checksums_cover_the_pseudo_header) {
  const Segment segments[] = {tcp(1, 2, Tcp::kSyn, 0, 0, "odd"), udp(1, 2, "even"), icmp6_echo(5),
                              extended(60, udp(1, 2, "x"))};
  for (const Segment& segment : segments) {
    const Bytes packet = ip(kGuest6, kServer6, segment);
    const auto transport = std::span(packet).subspan(40 + segment.transport_offset);
    Bytes covered(packet.begin() + 8, packet.begin() + 40);  // both addresses
    const auto length = transport.size();
    for (const size_t value : {size_t{0}, length, size_t{0}, static_cast<size_t>(segment.transport)}) {
      covered.push_back(static_cast<std::byte>(value >> 8U));
      covered.push_back(static_cast<std::byte>(value));
    }
    covered.insert(covered.end(), transport.begin(), transport.end());
    EXPECT_EQ(checksum(covered), 0);
  }
  const Bytes echo = ip(kGuest, kServer, icmp_echo(5));
  EXPECT_EQ(checksum(std::span(echo).first(20)), 0);
  EXPECT_EQ(checksum(std::span(echo).subspan(20)), 0);
}

}  // namespace
}  // namespace hyperward::packet
