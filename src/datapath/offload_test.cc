#include "datapath/offload.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "packet/build.h"

namespace hyperward::datapath {
namespace {

namespace build = packet::build;
using packet::Tcp;

const IpAddress kGuest = IpAddress::v4(10, 9, 0, 2), kWorld = IpAddress::v4(192, 0, 2, 1);

// Of a TCP frame over IPv4 whose transport header is at byte 34, ready to be cut into segments.
OffloadHeader segmented() {
  OffloadHeader offload;
  offload.flags = OffloadHeader::kNeedsChecksum;
  offload.gso_type = OffloadHeader::kTcp4;
  offload.hdr_len = 54;
  offload.gso_size = 1448;
  offload.csum_start = 34;
  offload.csum_offset = 16;
  return offload;
}

bool fit(const OffloadHeader& offload, const build::Bytes& frame) {
  std::array<std::byte, kVirtioHeaderBytes> header{};
  std::memcpy(header.data(), &offload, sizeof(offload));
  const auto packet = packet::parse(frame);
  HW_CHECK(packet.has_value());
  return check_offload(header, frame, *packet).has_value();
}

build::Bytes tcp_frame() {
  return build::ethernet(build::ip(kGuest, kWorld, build::tcp(1, 2, Tcp::kAck, 0, 0, std::string(4000, 'x'))));
}

build::Bytes udp_frame() {
  return build::ethernet(build::ip(kGuest, kWorld, build::udp(1, 2, std::string(4000, 'x'))));
}

TEST(Offload, takes_what_a_guests_driver_writes) {
  EXPECT_TRUE(fit({}, tcp_frame()));
  EXPECT_TRUE(fit(segmented(), tcp_frame()));
  OffloadHeader ecn = segmented();
  ecn.gso_type |= OffloadHeader::kEcn;
  EXPECT_TRUE(fit(ecn, tcp_frame()));
  OffloadHeader udp = segmented();
  udp.gso_type = OffloadHeader::kUdp;
  udp.csum_offset = 6;
  EXPECT_TRUE(fit(udp, udp_frame()));
  OffloadHeader checksum = segmented();
  checksum.gso_type = OffloadHeader::kNone;
  checksum.gso_size = 0;
  EXPECT_TRUE(fit(checksum, tcp_frame()));
}

TEST(Offload, refuses_what_contradicts_the_frame) {
  const std::pair<const char*, std::function<void(OffloadHeader&)>> contradictions[] = {
      {"a flag nobody knows", [](OffloadHeader& o) { o.flags |= 0x40; }},
      {"headers longer than the frame", [](OffloadHeader& o) { o.hdr_len = 60'000; }},
      {"a checksum behind the frame", [](OffloadHeader& o) { o.csum_start = 5000; }},
      {"a checksum field behind the frame", [](OffloadHeader& o) { o.csum_offset = 5000; }},
      {"a checksum that is not the transport header's", [](OffloadHeader& o) { o.csum_start = 14; }},
      {"a checksum field that is not TCP's", [](OffloadHeader& o) { o.csum_offset = 6; }},
      {"segments of nothing", [](OffloadHeader& o) { o.gso_size = 0; }},
      {"segments without checksums", [](OffloadHeader& o) { o.flags = 0; }},
      {"a kind of segments nobody knows", [](OffloadHeader& o) { o.gso_type = 77; }},
      {"segments of another IP version", [](OffloadHeader& o) { o.gso_type = OffloadHeader::kTcp6; }},
      {"segments of another protocol", [](OffloadHeader& o) { o.gso_type = OffloadHeader::kUdp; }},
      {"only the mark of congestion", [](OffloadHeader& o) { o.gso_type = OffloadHeader::kEcn; }},
  };
  for (const auto& [what, change] : contradictions) {
    OffloadHeader offload = segmented();
    change(offload);
    EXPECT_FALSE(fit(offload, tcp_frame())) << what;
  }
}

TEST(Offload, refuses_segments_of_a_fragment) {
  const build::Bytes whole = build::ip(kGuest, kWorld, build::tcp(1, 2, Tcp::kAck, 0, 0, std::string(4000, 'x')));
  EXPECT_FALSE(fit(segmented(), build::ethernet(build::fragment_of(whole, 1, 0, 2000))));
}

}  // namespace
}  // namespace hyperward::datapath
