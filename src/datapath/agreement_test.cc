// The parser in the kernel and packet::parse must give the same flow for the same frame: a held frame's verdict is
// stored under the key that user space found, and looked up under the one that the kernel finds.
#include <bpf/bpf.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <random>

#include "datapath/flow_table.h"
#include "packet/build.h"
#include "packet/packet.h"
#include "parse_probe.skel.h"

namespace hyperward::datapath {
namespace {

namespace build = packet::build;
using build::Bytes;
using packet::Kind;
using packet::Tcp;

constexpr int kMutationsPerFrame = 400;
constexpr size_t kWithIpHeader_bytes = 14 + 40;

// struct packet of parse.bpf.h.
struct Found {
  alignas(8) hw_flow_key key;
  uint32_t fragment_id, sequence, acknowledgement;
  uint8_t tcp_flags, icmp_type, first_fragment, has_payload;
};
static_assert(sizeof(Found) == 56);
enum FoundKind : int { kFlow, kLaterFragment, kIcmpError, kNeighbour, kNonIp, kMalformed };

struct Destroy {
  void operator()(parse_probe_bpf* skeleton) const { parse_probe_bpf::destroy(skeleton); }
};

class Agreement : public testing::Test {
 protected:
  void SetUp() override {
    skeleton.reset(parse_probe_bpf::open());
    if (!skeleton || parse_probe_bpf::load(skeleton.get()) != 0)
      GTEST_SKIP() << "NOT TESTED: whether both parsers agree. This needs root and BPF.";
  }

  FoundKind probe(const Bytes& frame, bool from_guest) {
    struct bpf_test_run_opts options{};
    options.sz = sizeof(options);
    options.data_in = frame.data();
    options.data_size_in = static_cast<uint32_t>(frame.size());
    const auto* program = from_guest ? skeleton->progs.probe_from_guest : skeleton->progs.probe_to_guest;
    const int error = ::bpf_prog_test_run_opts(::bpf_program__fd(program), &options);
    if (error == -EINVAL && frame.size() < kWithIpHeader_bytes) return kMalformed;  // newer kernels run no such frame
    EXPECT_EQ(error, 0);
    const uint32_t zero = 0;
    EXPECT_EQ(::bpf_map_lookup_elem(::bpf_map__fd(skeleton->maps.found), &zero, &found), 0);
    return static_cast<FoundKind>(options.retval);
  }

  void compare(const Bytes& frame, bool from_guest) {
    const FoundKind kind = probe(frame, from_guest);
    const auto packet = packet::parse(frame);
    if (!packet) {
      ASSERT_EQ(kind, kMalformed) << packet.error().message;
      return;
    }
    if (kind == kNeighbour) {  // passes without a flow; user space never sees it
      ASSERT_TRUE(packet->kind == Kind::kArp || packet->key.protocol == Protocol::kIcmpV6);
      return;
    }
    switch (packet->kind) {
      case Kind::kFlow: ASSERT_EQ(kind, kFlow); break;
      case Kind::kLaterFragment: ASSERT_EQ(kind, kLaterFragment); break;
      case Kind::kIcmpError: ASSERT_EQ(kind, kIcmpError); break;
      case Kind::kArp: ASSERT_EQ(kind, kNeighbour); break;
      case Kind::kOther: ASSERT_EQ(kind, kNonIp); return;
    }
    const packet::FlowKey flow = packet::flow_of(*packet);
    ASSERT_EQ(from_abi(found.key), from_guest ? flow : packet::reversed(flow));
    if (packet->fragment.is_fragment()) {
      ASSERT_EQ(found.fragment_id, packet->fragment.id);
    }
    ASSERT_EQ(found.first_fragment != 0, packet->fragment.more && packet->fragment.offset_bytes == 0);
    if (packet->kind == Kind::kFlow && packet->key.protocol == Protocol::kTcp) {
      ASSERT_EQ(found.tcp_flags, packet->tcp.flags);
      ASSERT_EQ(found.sequence, packet->tcp.sequence);
      ASSERT_EQ(found.acknowledgement, packet->tcp.acknowledgement);
      ASSERT_EQ(found.has_payload != 0, packet->payload_bytes != 0);
    }
  }

  std::unique_ptr<parse_probe_bpf, Destroy> skeleton;
  Found found{};
};

std::vector<Bytes> frames() {
  const IpAddress v4_a = IpAddress::v4(10, 9, 0, 2), v4_b = IpAddress::v4(192, 0, 2, 1);
  const IpAddress v6_a = *IpAddress::parse("2001:db8::2"), v6_b = *IpAddress::parse("2001:db8:1::1");
  constexpr uint8_t kHopByHop = 0, kRouting = 43, kDestinationOptions = 60;
  std::vector<Bytes> frames;
  const auto add = [&](const Bytes& packet) {
    frames.push_back(build::ethernet(packet));
    frames.push_back(build::ethernet(packet, {7}));
    frames.push_back(build::ethernet(packet, {7, 9}));
  };
  for (const auto& [from, to] : {std::pair{v4_a, v4_b}, std::pair{v6_a, v6_b}}) {
    add(build::ip(from, to, build::tcp(40000, 25, Tcp::kSyn, 1000)));
    add(build::ip(from, to, build::tcp(40000, 25, Tcp::kAck | Tcp::kPsh, 1001, 7, "EHLO")));
    add(build::ip(from, to, build::udp(40000, 53, "question")));
    add(build::ip(from, to, build::raw(Protocol::kSctp, "twelve bytes and more")));
    add(build::ip(from, to, build::raw(Protocol{47}, "gre")));
    const Bytes large = build::ip(from, to, build::udp(40000, 53, std::string(64, 'x')));
    for (const size_t offset : {0U, 24U, 48U}) add(build::fragment_of(large, 77, offset, 24));
    const Bytes segment = build::ip(from, to, build::tcp(40000, 25, Tcp::kAck, 1001, 7, std::string(64, 'x')));
    for (const size_t offset : {0U, 8U, 24U}) add(build::fragment_of(segment, 78, offset, 24));
  }
  const Bytes quoted_v4 = build::ip(v4_b, v4_a, build::udp(53, 40000, "answer"));
  const Bytes quoted_v6 = build::ip(v6_b, v6_a, build::tcp(53, 40000, Tcp::kAck));
  add(build::ip(v4_a, v4_b, build::icmp_echo(99)));
  add(build::ip(v4_a, v4_b, build::icmp_error(3, 3, quoted_v4)));
  add(build::ip(v4_a, IpAddress::v4(192, 0, 2, 9), build::icmp_error(3, 3, quoted_v4)));  // about a flow of others
  add(build::ip(v4_a, v4_b, build::icmp_error(11, 0, build::ip(v4_b, v4_a, build::icmp_echo(98)))));
  add(build::ip(v6_a, v6_b, build::icmp6_echo(99)));
  add(build::ip(v6_a, v6_b, build::icmp6_error(1, 4, quoted_v6)));
  add(build::ip(v6_a, v6_b, build::icmp6(135, 0, 0, std::string(16, 'n'))));
  for (const uint8_t header : {kHopByHop, kRouting, kDestinationOptions})
    add(build::ip(v6_a, v6_b, build::extended(header, build::udp(40000, 53, "question"), 24)));
  frames.push_back(build::ethernet_of(0x0806, std::string(28, 'a')));
  frames.push_back(build::ethernet_of(0x88cc, "lldp"));
  return frames;
}

TEST_F(Agreement, holds_for_frames_as_they_should_be) {
  for (const Bytes& frame : frames())
    for (const bool from_guest : {true, false}) ASSERT_NO_FATAL_FAILURE(compare(frame, from_guest));
}

TEST_F(Agreement, holds_for_frames_cut_off_anywhere) {
  for (const Bytes& frame : frames())
    for (size_t length = 15; length < frame.size(); ++length)
      ASSERT_NO_FATAL_FAILURE(compare(Bytes(frame.begin(), frame.begin() + static_cast<ptrdiff_t>(length)), true));
}

TEST_F(Agreement, holds_for_frames_with_bytes_changed) {
  std::mt19937 random(20);  // the same frames each time
  const auto below = [&](size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random); };
  for (const Bytes& frame : frames()) {
    for (int i = 0; i < kMutationsPerFrame; ++i) {
      Bytes changed = frame;
      for (size_t changes = 1 + below(4); changes > 0; --changes)
        changed[12 + below(std::min<size_t>(changed.size() - 12, 64))] = static_cast<std::byte>(below(256));
      ASSERT_NO_FATAL_FAILURE(compare(changed, i % 2 == 0));
    }
  }
}

}  // namespace
}  // namespace hyperward::datapath
