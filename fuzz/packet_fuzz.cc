// Any bytes as a frame. libFuzzer's buffer ends where the frame ends, so that AddressSanitizer sees a read behind it.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "packet/packet.h"

using namespace hyperward;  // NOLINT(google-build-using-namespace)

namespace {

void check(const packet::Packet& parsed, size_t frame_bytes) {
  const packet::FlowKey& key = parsed.key;
  HW_CHECK(packet::reversed(packet::reversed(key)) == key);
  HW_CHECK(packet::flow_of(parsed).vlan_id == key.vlan_id);
  HW_CHECK(packet::FlowHash(1, 2)(key) == packet::FlowHash(1, 2)(packet::reversed(packet::reversed(key))));
  HW_CHECK(!packet::to_string(key).empty());
  HW_CHECK(size_t{parsed.payload_offset} + parsed.payload_bytes <= frame_bytes);

  const bool is_ip = parsed.ethertype == 0x0800 || parsed.ethertype == 0x86dd;
  if (!is_ip) {
    HW_CHECK(parsed.kind == packet::Kind::kArp || parsed.kind == packet::Kind::kOther);
    return;
  }
  HW_CHECK(parsed.network_offset < parsed.transport_offset && parsed.transport_offset <= parsed.payload_offset);
  // A key of IPv6 is never taken for one of IPv4.
  const bool is_v4 = parsed.ethertype == 0x0800;
  for (const Endpoint& endpoint : {key.source, key.destination}) HW_CHECK(endpoint.address.is_v4() == is_v4);

  const bool may_have_ports =
      packet::has_ports(key.protocol) || key.protocol == Protocol::kIcmp || key.protocol == Protocol::kIcmpV6;
  if (!may_have_ports || parsed.kind != packet::Kind::kFlow)
    HW_CHECK(key.source.port == 0 && key.destination.port == 0);
  if (parsed.kind == packet::Kind::kIcmpError)
    HW_CHECK(packet::flow_of(parsed).destination.address == key.destination.address);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto frame = std::as_bytes(std::span(data, size));
  const auto parsed = packet::parse(frame);
  if (!parsed) {
    HW_CHECK(!parsed.error().message.empty());
    return 0;
  }
  check(*parsed, size);

  // Padding behind an IP packet changes nothing.
  if (parsed->network_offset != 0 && size < 60'000) {
    std::vector<std::byte> padded(frame.begin(), frame.end());
    padded.resize(size + 46, std::byte{0x5a});
    const auto again = packet::parse(padded);
    HW_CHECK(again && again->key == parsed->key && again->quoted == parsed->quoted);
    HW_CHECK(again->payload_bytes == parsed->payload_bytes);
  }
  return 0;
}
