// Frames through a real tap: held, judged, put back; and what stays when the judge goes.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <thread>

#include "datapath/datapath.h"
#include "datapath/flow_reader.h"
#include "datapath/interface.h"
#include "datapath/test_net.h"
#include "packet/build.h"

namespace hyperward::datapath {
namespace {

namespace build = packet::build;
using packet::Tcp;
using test::Bytes;
using test::Frame;
using test::TestNet;

const IpAddress kGuest = IpAddress::v4(10, 9, 0, 2), kWorld = IpAddress::v4(192, 0, 2, 1);

constexpr std::chrono::milliseconds kAWhile{30};     // longer than a tick of the programs' clock
constexpr std::chrono::milliseconds kLifetime{200};  // what comes before its end must be done within

Bytes syn(uint16_t port, uint32_t sequence = 1000) {
  return build::ethernet(build::ip(kGuest, kWorld, build::tcp(port, 25, Tcp::kSyn, sequence)));
}

Bytes question(std::string_view text, uint16_t port = 40000) {
  return build::ethernet(build::ip(kGuest, kWorld, build::udp(port, 53, text)));
}

Judgement judgement(Verdict verdict) {
  Judgement judgement;
  judgement.verdict = verdict;
  judgement.direction = Direction::kOut;
  judgement.owner.uid = 1000;
  return judgement;
}

class Hold : public testing::Test {
 protected:
  void SetUp() override {
    auto made = TestNet::make();
    if (!made) GTEST_SKIP() << "NOT TESTED: the packet path. " << made.error().message;
    net.emplace(std::move(*made));
    attach();
  }

  // Anew, as another process would: what is pinned stays.
  void attach() {
    path.reset();
    auto attached = Datapath::attach(net->options());
    ASSERT_TRUE(attached) << attached.error().message;
    path.emplace(std::move(*attached));
  }

  void judge_next(Verdict verdict) {
    const auto held = test::wait_for_held(*path);
    ASSERT_TRUE(held);
    const auto stored = path->store(*held, judgement(verdict));
    ASSERT_TRUE(stored) << stored.error().message;
    const auto done = verdict == Verdict::kAllow ? path->reinject(*held) : path->drop(*held);
    ASSERT_TRUE(done) << done.error().message;
  }

  // Whether user space has nothing to judge. next() still puts back what was judged while it waited.
  bool nothing_to_judge() {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const auto held = path->next();
    return held && !*held;
  }

  // In place of ours, as after an update of hyperward. Not while a Datapath is alive.
  void pin_flows_of_another_shape() const {
    constexpr uint32_t kOtherBytes = sizeof(hw_flow) - sizeof(hw_flow::valid_until_ns);
    const std::string path_of_flows = *pin_path(TestNet::kTap, net->pin_root()) + "/flows";
    const Fd other(::bpf_map_create(BPF_MAP_TYPE_HASH, "flows", sizeof(hw_flow_key), kOtherBytes, 1, nullptr));
    ASSERT_TRUE(other.valid());
    ASSERT_EQ(::unlink(path_of_flows.c_str()), 0);
    ASSERT_EQ(::bpf_obj_pin(other.get(), path_of_flows.c_str()), 0);
  }

  // Whether nothing of the qdisc was left. Makes it anew.
  static bool clsact_had_gone() { return ensure_clsact(::if_nametoindex(TestNet::kTap)).value_or(false); }

  testing::AssertionResult arrives(const Bytes& frame) const {
    const auto arrived = net->world_receives();
    if (!arrived) return testing::AssertionFailure() << "nothing arrived";
    if (arrived->bytes != frame)
      return testing::AssertionFailure() << "another frame arrived, of " << arrived->bytes.size()
                                         << " bytes instead of " << frame.size();
    return testing::AssertionSuccess();
  }

  std::optional<TestNet> net;
  std::optional<Datapath> path;
};

TEST_F(Hold, keeps_an_unjudged_frame_back_until_it_is_put_back) {
  net->guest_sends(syn(40000));
  EXPECT_TRUE(net->world_receives_nothing());

  const auto held = test::wait_for_held(*path);
  ASSERT_TRUE(held);
  EXPECT_EQ(held->key.source.port, 40000);
  EXPECT_EQ(held->direction, Direction::kOut);
  EXPECT_EQ(held->reason, Reason::kNewFlow);
  ASSERT_TRUE(path->store(*held, judgement(Verdict::kAllow)));
  ASSERT_TRUE(path->reinject(*held));

  EXPECT_TRUE(arrives(syn(40000)));
  const auto record = path->find(held->key);
  ASSERT_TRUE(record);
  EXPECT_EQ(record->state(), State::kOpening);
  EXPECT_EQ(record->flow.packets[0], 1U);
}

TEST_F(Hold, asks_once_per_flow) {
  net->guest_sends(question("one"));
  judge_next(Verdict::kAllow);
  EXPECT_TRUE(arrives(question("one")));
  net->guest_sends(question("two"));
  EXPECT_TRUE(arrives(question("two")));
  EXPECT_TRUE(nothing_to_judge());
}

TEST_F(Hold, lets_nothing_of_a_denied_flow_out) {
  net->guest_sends(question("one"));
  judge_next(Verdict::kDeny);
  net->guest_sends(question("two"));
  EXPECT_TRUE(net->world_receives_nothing());
  EXPECT_TRUE(nothing_to_judge());
}

TEST_F(Hold, releases_in_order_what_waited_behind_the_first_frame) {
  net->guest_sends(question("one"));
  net->guest_sends(question("two"));
  net->guest_sends(question("three"));
  judge_next(Verdict::kAllow);
  EXPECT_TRUE(nothing_to_judge());
  EXPECT_TRUE(arrives(question("one")));
  EXPECT_TRUE(arrives(question("two")));
  EXPECT_TRUE(arrives(question("three")));
}

TEST_F(Hold, drops_what_waited_behind_a_denied_frame) {
  net->guest_sends(question("one"));
  net->guest_sends(question("two"));
  judge_next(Verdict::kDeny);
  EXPECT_TRUE(nothing_to_judge());
  EXPECT_TRUE(net->world_receives_nothing());
}

TEST_F(Hold, lets_answers_in) {
  net->guest_sends(syn(40000));
  judge_next(Verdict::kAllow);
  EXPECT_TRUE(arrives(syn(40000)));
  const Bytes answer =
      build::ethernet(build::ip(kWorld, kGuest, build::tcp(25, 40000, Tcp::kSyn | Tcp::kAck, 5000, 1001)));
  net->world_sends(answer);
  const auto arrived = net->guest_receives();
  ASSERT_TRUE(arrived);
  EXPECT_EQ(arrived->bytes, answer);
}

TEST_F(Hold, knows_a_connection_that_began_outside) {
  net->world_sends(build::ethernet(build::ip(kWorld, kGuest, build::tcp(40000, 80, Tcp::kSyn, 5000))));
  ASSERT_TRUE(net->guest_receives());
  const auto from_guest = [](uint8_t flags, std::string_view payload = {}) {
    return build::ethernet(build::ip(kGuest, kWorld, build::tcp(80, 40000, flags, 1000, 5001, payload)));
  };
  net->guest_sends(from_guest(Tcp::kSyn | Tcp::kAck));
  EXPECT_TRUE(arrives(from_guest(Tcp::kSyn | Tcp::kAck)));
  net->guest_sends(from_guest(Tcp::kAck, "HTTP/1.1 200 OK"));
  const auto held = test::wait_for_held(*path);
  ASSERT_TRUE(held);
  EXPECT_EQ(held->direction, Direction::kIn);
  EXPECT_EQ(held->key.destination.port, 40000);
}

TEST_F(Hold, says_when_it_met_a_flow_in_the_middle) {
  net->guest_sends(build::ethernet(build::ip(kGuest, kWorld, build::tcp(40000, 25, Tcp::kAck, 7, 9, "RCPT TO"))));
  const auto held = test::wait_for_held(*path);
  ASSERT_TRUE(held);
  EXPECT_EQ(held->direction, Direction::kUnknown);
}

// What a guest's driver writes in front of a TCP frame over IPv4, for segments of 1448 bytes.
OffloadHeader segmented(uint16_t transport_offset) {
  OffloadHeader offload;
  offload.flags = OffloadHeader::kNeedsChecksum;
  offload.gso_type = OffloadHeader::kTcp4;
  offload.hdr_len = static_cast<uint16_t>(transport_offset + 20);
  offload.gso_size = 1448;
  offload.csum_start = transport_offset;
  offload.csum_offset = 16;
  return offload;
}

TEST_F(Hold, keeps_superframes_checksums_and_vlan_tags_as_they_are) {
  constexpr uint16_t kVlan = 7;
  const Bytes frame = build::ethernet(
      build::ip(kGuest, kWorld, build::tcp(40000, 25, Tcp::kAck, 1, 1, std::string(40'000, 'x'))), {kVlan});
  const OffloadHeader offload = segmented(14 + 4 + 20);
  net->guest_sends(frame, offload);
  judge_next(Verdict::kAllow);
  const auto arrived = net->world_receives();
  ASSERT_TRUE(arrived);
  EXPECT_TRUE(arrived->bytes == frame);
  EXPECT_EQ(arrived->offload.flags, offload.flags);
  EXPECT_EQ(arrived->offload.gso_type, offload.gso_type);
  EXPECT_EQ(arrived->offload.gso_size, offload.gso_size);
  EXPECT_EQ(arrived->offload.csum_start, offload.csum_start);
  EXPECT_EQ(arrived->offload.csum_offset, offload.csum_offset);
}

TEST_F(Hold, sees_headers_that_the_guest_leaves_outside_the_linear_part) {
  OffloadHeader offload = segmented(14 + 20);
  offload.hdr_len = 14 + 20 + 18;  // the least that a tap takes: the end of the TCP header is elsewhere
  const Bytes frame =
      build::ethernet(build::ip(kGuest, kWorld, build::tcp(40000, 25, Tcp::kAck, 1, 1, std::string(8'000, 'x'))));
  net->guest_sends(frame, offload);
  judge_next(Verdict::kAllow);
  EXPECT_TRUE(arrives(frame));
  net->guest_sends(frame, offload);
  EXPECT_TRUE(arrives(frame)) << "known now";
}

TEST_F(Hold, keeps_fragments_behind_their_first_one) {
  const Bytes whole = build::ip(kGuest, kWorld, build::udp(40000, 53, std::string(64, 'x')));
  const auto send = [&](uint32_t id) {
    for (const size_t offset : {0U, 24U, 48U})
      net->guest_sends(build::ethernet(build::fragment_of(whole, id, offset, 24)));
  };
  send(1);
  judge_next(Verdict::kAllow);
  EXPECT_TRUE(nothing_to_judge());
  for (const size_t offset : {0U, 24U, 48U})
    EXPECT_TRUE(arrives(build::ethernet(build::fragment_of(whole, 1, offset, 24))));

  ASSERT_TRUE(path->forget(packet::flow_of(*packet::parse(build::ethernet(whole)))));
  send(2);
  judge_next(Verdict::kDeny);
  EXPECT_TRUE(nothing_to_judge());
  EXPECT_TRUE(net->world_receives_nothing());
  EXPECT_EQ(path->counters()->fragments_lost, 2U);
}

TEST_F(Hold, hands_out_the_stored_owner_when_only_the_rules_are_new) {
  net->guest_sends(question("one"));
  judge_next(Verdict::kAllow);
  EXPECT_TRUE(arrives(question("one")));
  path->set_generation(1);
  net->guest_sends(question("two"));
  const auto held = test::wait_for_held(*path);
  ASSERT_TRUE(held);
  EXPECT_EQ(held->reason, Reason::kRulesChanged);
  ASSERT_TRUE(held->known);
  EXPECT_EQ(held->known->owner.uid, 1000U);

  Judgement again = judgement(Verdict::kAllow);
  again.generation = 1;
  ASSERT_TRUE(path->store(*held, again));
  ASSERT_TRUE(path->reinject(*held));
  EXPECT_TRUE(arrives(question("two")));
  EXPECT_EQ(path->find(held->key)->flow.packets[0], 2U) << "the flow went on";
}

TEST_F(Hold, hands_out_a_flows_history_when_its_judgements_lifetime_is_over) {
  for (const Verdict verdict : {Verdict::kAllow, Verdict::kDeny}) {
    const uint16_t port = verdict == Verdict::kAllow ? 40000 : 40001;
    Judgement judged = judgement(verdict);
    judged.lifetime = kLifetime;
    ASSERT_TRUE(path->store(test::held(question("one", port)), judged));
    net->guest_sends(question("one", port));
    std::this_thread::sleep_for(kLifetime + kAWhile);
    net->guest_sends(question("two", port));
    const auto held = test::wait_for_held(*path);
    ASSERT_TRUE(held);
    EXPECT_EQ(held->reason, Reason::kExpired);
    ASSERT_TRUE(held->known);
    EXPECT_EQ(held->known->owner.uid, 1000U);
    EXPECT_EQ(held->known->packets[0] + held->known->dropped, verdict == Verdict::kAllow ? 1U : 2U);

    ASSERT_TRUE(path->store(*held, judgement(Verdict::kAllow)));
    ASSERT_TRUE(path->reinject(*held));
    net->guest_sends(question("three", port));
    EXPECT_TRUE(verdict == Verdict::kDeny || arrives(question("one", port)));
    EXPECT_TRUE(arrives(question("two", port)));
    EXPECT_TRUE(arrives(question("three", port)));
  }
}

TEST_F(Hold, names_what_asks_for_more_when_a_lifetime_is_over_too) {
  path.reset();
  ASSERT_TRUE(Datapath::detach(TestNet::kTap, net->pin_root()));
  Options options = net->options();
  options.timeouts.judge_again = kAWhile;
  auto attached = Datapath::attach(options);
  ASSERT_TRUE(attached) << attached.error().message;
  path.emplace(std::move(*attached));

  Judgement judged = judgement(Verdict::kAllow);
  judged.lifetime = kAWhile;
  ASSERT_TRUE(path->store(test::held(question("one")), judged));
  std::this_thread::sleep_for(2 * kAWhile);
  net->guest_sends(question("one"));
  auto held = test::wait_for_held(*path);
  ASSERT_TRUE(held);
  EXPECT_EQ(held->reason, Reason::kOwnerAged) << "it is looked up anew, and judged again with that";
  path->set_generation(1);
  net->guest_sends(question("two"));
  held = test::wait_for_held(*path);
  ASSERT_TRUE(held);
  EXPECT_EQ(held->reason, Reason::kRulesChanged);
}

TEST_F(Hold, does_not_hand_out_the_owner_of_an_earlier_connection) {
  net->guest_sends(syn(40000, 1000));
  judge_next(Verdict::kDeny);
  net->guest_sends(syn(40000, 2000));
  const auto held = test::wait_for_held(*path);
  ASSERT_TRUE(held);
  EXPECT_EQ(held->reason, Reason::kNewFlow);
  EXPECT_FALSE(held->known);
}

TEST_F(Hold, treats_a_denied_frame_as_denied_even_when_it_is_put_back) {
  net->guest_sends(question("one"));
  const auto held = test::wait_for_held(*path);
  ASSERT_TRUE(held);
  ASSERT_TRUE(path->store(*held, judgement(Verdict::kDeny)));
  ASSERT_TRUE(path->reinject(*held));
  EXPECT_TRUE(net->world_receives_nothing());
}

// The judge goes
// --------------------------------------------------------------------------------------------------------

TEST_F(Hold, takes_over_the_flows_of_an_earlier_process) {
  net->guest_sends(question("one"));
  judge_next(Verdict::kAllow);
  EXPECT_TRUE(arrives(question("one")));
  attach();
  EXPECT_TRUE(path->took_over());

  const auto record = path->find(packet::flow_of(*packet::parse(question("one"))));
  ASSERT_TRUE(record);
  EXPECT_EQ(record->flow.owner.uid, 1000U);
  net->guest_sends(question("two"));
  EXPECT_TRUE(arrives(question("two")));
  net->guest_sends(question("new", 40001));
  judge_next(Verdict::kAllow);
  EXPECT_TRUE(arrives(question("new", 40001)));
}

TEST_F(Hold, lets_known_flows_go_on_when_its_process_is_killed) {
  path.reset();
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto attached = Datapath::attach(net->options());
    if (!attached || !attached->store(test::held(question("known")), judgement(Verdict::kAllow))) ::_exit(1);
    if (::write(ready[1], "r", 1) != 1) ::_exit(1);
    ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);

  net->guest_sends(question("known"));
  EXPECT_TRUE(arrives(question("known")));
  net->guest_sends(question("new", 40001));
  EXPECT_TRUE(net->world_receives_nothing());
  attach();
  EXPECT_TRUE(path->took_over());
  net->guest_sends(question("new", 40001));
  judge_next(Verdict::kAllow);
  EXPECT_TRUE(arrives(question("new", 40001)));
}

TEST_F(Hold, does_not_give_a_new_tap_the_flows_of_one_that_had_its_name) {
  net->guest_sends(question("one"));
  judge_next(Verdict::kAllow);
  path.reset();
  net.reset();
  auto made = TestNet::make();
  ASSERT_TRUE(made);
  net.emplace(std::move(*made));
  attach();
  EXPECT_FALSE(path->took_over());
  EXPECT_FALSE(path->find(packet::flow_of(*packet::parse(question("one")))));
}

TEST_F(Hold, starts_empty_on_maps_of_another_version) {
  ASSERT_TRUE(path->store(test::held(question("one")), judgement(Verdict::kAllow)));
  hw_config config = test::config_of(*net);
  config.abi_version = HW_ABI_VERSION + 1;
  const uint32_t zero = 0;
  ASSERT_EQ(::bpf_map_update_elem(test::pinned(*net, "config").get(), &zero, &config, BPF_ANY), 0);
  attach();
  EXPECT_FALSE(path->took_over());
  EXPECT_FALSE(path->find(packet::flow_of(*packet::parse(question("one")))));
}

TEST_F(Hold, starts_empty_on_maps_of_another_shape) {
  const std::string pins = path->pins();
  path.reset();
  pin_flows_of_another_shape();
  EXPECT_EQ(FlowReader::open(pins).error().code, Code::kUnsupported);

  attach();
  EXPECT_FALSE(path->took_over());
  EXPECT_TRUE(FlowReader::open(path->pins())) << "the maps pinned are the new ones";
  net->guest_sends(question("one"));
  judge_next(Verdict::kAllow);
  EXPECT_TRUE(arrives(question("one"))) << "the programs on the tap use them";
  net->guest_sends(question("two"));
  EXPECT_TRUE(arrives(question("two")));
  EXPECT_TRUE(nothing_to_judge());

  path.reset();
  ASSERT_TRUE(Datapath::detach(TestNet::kTap, net->pin_root()));
  EXPECT_TRUE(clsact_had_gone());
}

TEST_F(Hold, takes_away_what_another_version_left) {
  path.reset();
  pin_flows_of_another_shape();
  ASSERT_TRUE(Datapath::detach(TestNet::kTap, net->pin_root()));
  EXPECT_TRUE(clsact_had_gone());
  net->guest_sends(question("free"));
  EXPECT_TRUE(arrives(question("free")));
}

TEST_F(Hold, guards_a_tap_once) {
  const auto second = Datapath::attach(net->options());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kLimit) << second.error().message;
}

TEST_F(Hold, leaves_nothing_behind_when_detached) {
  const std::string pins = path->pins();
  path.reset();
  ASSERT_TRUE(Datapath::detach(TestNet::kTap, net->pin_root()));
  struct stat status{};
  EXPECT_NE(::stat(pins.c_str(), &status), 0);
  EXPECT_TRUE(clsact_had_gone());
  net->guest_sends(question("free"));
  EXPECT_TRUE(arrives(question("free")));
  const auto again = Datapath::detach(TestNet::kTap, net->pin_root());
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::kNotFound);
}

TEST_F(Hold, leaves_the_filters_of_others_alone) {
  bpf_tc_hook hook{};
  hook.sz = sizeof(hook);
  hook.ifindex = static_cast<int>(::if_nametoindex(TestNet::kTap));
  hook.attach_point = BPF_TC_EGRESS;
  bpf_tc_opts filter{};
  filter.sz = sizeof(filter);
  filter.handle = 1;
  filter.priority = 50;
  const Fd program = test::pinned(*net, "to_guest");
  filter.prog_fd = program.get();
  ASSERT_EQ(::bpf_tc_attach(&hook, &filter), 0);

  path.reset();
  ASSERT_TRUE(Datapath::detach(TestNet::kTap, net->pin_root()));
  bpf_tc_opts query{};
  query.sz = sizeof(query);
  query.handle = 1;
  query.priority = 50;
  EXPECT_EQ(::bpf_tc_query(&hook, &query), 0) << "still there";
}

TEST_F(Hold, can_be_read_by_others_meanwhile) {
  ASSERT_TRUE(path->store(test::held(question("one")), judgement(Verdict::kAllow)));
  const auto reader = FlowReader::open(path->pins());
  ASSERT_TRUE(reader) << reader.error().message;
  size_t flows = 0;
  ASSERT_TRUE(reader->for_each_flow([&](const FlowRecord& record) {
    ++flows;
    return record.key == packet::flow_of(*packet::parse(question("one")));
  }));
  EXPECT_EQ(flows, 1U);
}

// What cannot be guarded
// ------------------------------------------------------------------------------------------------

TEST_F(Hold, says_what_is_wrong_with_the_interface) {
  Options options = net->options();
  options.tap = "nosuch0";
  EXPECT_EQ(Datapath::attach(options).error().code, Code::kNotFound);
  options.tap = "bridge0";
  EXPECT_EQ(Datapath::attach(options).error().code, Code::kInvalid);
  options.tap = "a name that is too long for an interface";
  EXPECT_EQ(Datapath::attach(options).error().code, Code::kInvalid);
}

TEST_F(Hold, leaves_nothing_behind_when_it_cannot_attach) {
  path.reset();
  ASSERT_TRUE(Datapath::detach(TestNet::kTap, net->pin_root()));
  Options options = net->options();
  options.max_flows = 0;
  EXPECT_FALSE(Datapath::attach(options));
  const auto detached = Datapath::detach(TestNet::kTap, net->pin_root());
  ASSERT_FALSE(detached);
  EXPECT_EQ(detached.error().code, Code::kNotFound);
}

TEST_F(Hold, says_which_qdisc_is_in_the_way) {
  path.reset();
  ASSERT_TRUE(Datapath::detach(TestNet::kTap, net->pin_root()));
  ASSERT_EQ(std::system("tc qdisc add dev tap0 ingress"), 0);
  const auto attached = Datapath::attach(net->options());
  ASSERT_FALSE(attached);
  EXPECT_EQ(attached.error().code, Code::kUnsupported);
  EXPECT_NE(attached.error().message.find("'ingress'"), std::string::npos) << attached.error().message;
}

}  // namespace
}  // namespace hyperward::datapath
