// Frame in, verdict out: single runs of the programs over frames that go nowhere.
#include <bpf/bpf.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "datapath/datapath.h"
#include "datapath/flow_table.h"
#include "datapath/test_net.h"
#include "packet/build.h"

namespace hyperward::datapath {
namespace {

namespace build = packet::build;
using packet::Tcp;
using test::Bytes;
using test::kDrop;
using test::kPass;
using test::kRedirect;
using test::TestNet;

const IpAddress kGuest = IpAddress::v4(10, 9, 0, 2), kWorld = IpAddress::v4(192, 0, 2, 1);
const IpAddress kGuest6 = *IpAddress::parse("2001:db8::2"), kWorld6 = *IpAddress::parse("2001:db8:1::1");
constexpr uint16_t kGuestPort = 40000, kWorldPort = 25;
constexpr std::chrono::milliseconds kAWhile{30};  // longer than a tick of the programs' clock
constexpr std::chrono::milliseconds kAnInstant{1};
constexpr std::chrono::milliseconds kLifetime{200};  // what comes before its end must be done within

Bytes from_guest(uint8_t flags, uint32_t sequence, uint32_t acknowledgement = 0, std::string_view payload = {}) {
  return build::ethernet(
      build::ip(kGuest, kWorld, build::tcp(kGuestPort, kWorldPort, flags, sequence, acknowledgement, payload)));
}

Bytes to_guest(uint8_t flags, uint32_t sequence, uint32_t acknowledgement = 0, std::string_view payload = {}) {
  return build::ethernet(
      build::ip(kWorld, kGuest, build::tcp(kWorldPort, kGuestPort, flags, sequence, acknowledgement, payload)));
}

Bytes question() {
  return build::ethernet(build::ip(kGuest, kWorld, build::udp(kGuestPort, 53, "question")));
}

Bytes answer() {
  return build::ethernet(build::ip(kWorld, kGuest, build::udp(53, kGuestPort, "answer")));
}

class Flows : public testing::Test {
 protected:
  void SetUp() override {
    auto made = TestNet::make();
    if (!made) GTEST_SKIP() << "NOT TESTED: the BPF programs. " << made.error().message;
    net.emplace(std::move(*made));
    attach([](Options&) {});
  }

  // Anew, with other options.
  void attach(const std::function<void(Options&)>& change) {
    if (path) {
      path.reset();
      ASSERT_TRUE(Datapath::detach(TestNet::kTap, net->pin_root()));
    }
    Options options = net->options();
    change(options);
    auto attached = Datapath::attach(options);
    ASSERT_TRUE(attached) << attached.error().message;
    path.emplace(std::move(*attached));
  }

  int guest_sends(const Bytes& frame) { return test::run(*net, "from_guest", frame); }
  int guest_gets(const Bytes& frame) { return test::run(*net, "to_guest", frame); }
  // The frame comes back from user space.
  int reinject(const Bytes& frame) { return test::run(*net, "from_guest", frame, test::config_of(*net).magic); }

  void judge(const Bytes& frame, Verdict verdict, uint32_t generation = 0,
             std::optional<std::chrono::milliseconds> lifetime = {}) {
    Judgement judgement;
    judgement.verdict = verdict;
    judgement.direction = Direction::kOut;
    judgement.generation = generation;
    judgement.lifetime = lifetime;
    const auto stored = path->store(test::held(frame), judgement);
    ASSERT_TRUE(stored) << stored.error().message;
  }
  void allow(const Bytes& frame) {
    judge(frame, Verdict::kAllow);
    ASSERT_EQ(reinject(frame), kPass);
  }

  FlowRecord flow_of(const Bytes& frame) {
    const auto record = path->find(test::held(frame).key);
    EXPECT_TRUE(record);
    return record.value_or(FlowRecord{});
  }
  State state() { return flow_of(from_guest(Tcp::kSyn, 0)).state(); }

  // SYN, SYN-ACK, ACK of a connection that the guest opens.
  void connect() {
    allow(from_guest(Tcp::kSyn, 1000));
    ASSERT_EQ(guest_gets(to_guest(Tcp::kSyn | Tcp::kAck, 5000, 1001)), kPass);
    ASSERT_EQ(guest_sends(from_guest(Tcp::kAck, 1001, 5001)), kPass);
  }

  uint64_t count(hw_counter counter) {
    const auto counters = path->counters();
    EXPECT_TRUE(counters);
    return counters ? (*counters)[counter] : 0;
  }

  std::optional<TestNet> net;
  std::optional<Datapath> path;
};

// Verdicts ------------------------------------------------------------------------------------------------------------

TEST_F(Flows, holds_what_is_not_judged) {
  EXPECT_EQ(guest_sends(from_guest(Tcp::kSyn, 1000)), kRedirect);
  EXPECT_EQ(guest_sends(question()), kRedirect);
  EXPECT_EQ(count(HW_COUNT_HELD), 2U);
}

TEST_F(Flows, passes_an_allowed_flow_both_ways_and_counts_it) {
  connect();
  EXPECT_EQ(guest_gets(to_guest(Tcp::kAck, 5001, 1001, "220 ready")), kPass);
  const FlowRecord record = flow_of(from_guest(Tcp::kSyn, 0));
  EXPECT_EQ(record.flow.packets[0], 2U);
  EXPECT_EQ(record.flow.packets[1], 2U);
  EXPECT_EQ(record.flow.bytes[1], 54U + 63U);
  EXPECT_EQ(count(HW_COUNT_PASSED), 4U);
}

TEST_F(Flows, cuts_a_denied_flow_both_ways_and_counts_it) {
  judge(from_guest(Tcp::kSyn, 1000), Verdict::kDeny);
  EXPECT_EQ(guest_sends(from_guest(Tcp::kSyn, 1000)), kDrop);
  EXPECT_EQ(guest_gets(to_guest(Tcp::kAck, 5000, 1001)), kDrop);
  EXPECT_EQ(flow_of(from_guest(Tcp::kSyn, 0)).flow.dropped, 3U);  // the held one too
  EXPECT_EQ(state(), State::kDenied);
}

TEST_F(Flows, tells_vlans_apart) {
  const auto tagged = [](uint16_t vlan) {
    return build::ethernet(build::ip(kGuest, kWorld, build::udp(kGuestPort, 53)), {vlan});
  };
  allow(tagged(7));
  EXPECT_EQ(guest_sends(tagged(7)), kPass);
  EXPECT_EQ(guest_sends(tagged(8)), kRedirect);
  EXPECT_EQ(guest_sends(build::ethernet(build::ip(kGuest, kWorld, build::udp(kGuestPort, 53)))), kRedirect);
}

TEST_F(Flows, finds_ipv6_flows_behind_extension_headers) {
  constexpr uint8_t kDestinationOptions = 60;
  const Bytes plain = build::ethernet(build::ip(kGuest6, kWorld6, build::udp(kGuestPort, 53)));
  const Bytes extended = build::ethernet(
      build::ip(kGuest6, kWorld6, build::extended(kDestinationOptions, build::udp(kGuestPort, 53), 16)));
  allow(plain);
  EXPECT_EQ(guest_sends(extended), kPass);
}

TEST_F(Flows, lets_neighbour_discovery_alone_and_nothing_that_looks_like_it) {
  EXPECT_EQ(guest_sends(build::ethernet_of(0x0806, std::string(28, 'a'))), kPass);
  Bytes solicitation = build::ethernet(build::ip(kGuest6, kWorld6, build::icmp6(135, 0, 0, std::string(16, 'n'))));
  constexpr size_t kHopLimit = 14 + 7;
  solicitation[kHopLimit] = std::byte{255};
  EXPECT_EQ(guest_sends(solicitation), kPass);
  solicitation[kHopLimit] = std::byte{64};
  EXPECT_EQ(guest_sends(solicitation), kRedirect);
}

TEST_F(Flows, gives_other_protocols_than_ip_their_own_default) {
  const Bytes lldp = build::ethernet_of(0x88cc, "a neighbour");
  EXPECT_EQ(guest_sends(lldp), kDrop);
  attach([](Options& options) { options.non_ip = Verdict::kAllow; });
  EXPECT_EQ(guest_sends(lldp), kPass);
}

TEST_F(Flows, drops_what_no_honest_sender_makes) {
  Bytes frame = from_guest(Tcp::kSyn, 1000);
  constexpr size_t kTcpDataOffset = 14 + 20 + 12;
  frame[kTcpDataOffset] = std::byte{0x10};  // a TCP header of 4 bytes
  EXPECT_EQ(guest_sends(frame), kDrop);
  EXPECT_EQ(count(HW_COUNT_MALFORMED), 1U);
}

TEST_F(Flows, lets_what_comes_back_pass_and_nothing_that_claims_to) {
  const uint32_t magic = test::config_of(*net).magic;
  EXPECT_EQ(test::run(*net, "from_guest", question(), magic), kPass);
  EXPECT_EQ(test::run(*net, "from_guest", question(), magic + 1), kRedirect);
  EXPECT_EQ(test::run(*net, "from_guest", question(), 0), kRedirect);
}

TEST_F(Flows, keeps_the_hosts_own_frames_out_of_the_hold) {
  EXPECT_EQ(test::run(*net, "hold_gate", question()), kDrop);
  EXPECT_NE(test::run(*net, "hold_gate", question(), test::config_of(*net).magic), kDrop);
}

// New judgements ------------------------------------------------------------------------------------------------------

TEST_F(Flows, holds_flows_of_older_rules_until_they_are_judged_again) {
  connect();
  path->set_generation(1);
  EXPECT_EQ(guest_sends(from_guest(Tcp::kAck, 1001, 5001)), kRedirect);

  Judgement judgement;
  judgement.verdict = Verdict::kAllow;
  judgement.generation = 1;
  judgement.owner.uid = 33;
  ASSERT_TRUE(path->rejudge(test::held(from_guest(Tcp::kAck, 1001)).key, judgement));
  EXPECT_EQ(guest_sends(from_guest(Tcp::kAck, 1001, 5001)), kPass);
  const FlowRecord record = flow_of(from_guest(Tcp::kSyn, 0));
  EXPECT_EQ(record.flow.owner.uid, 33U);
  EXPECT_EQ(record.flow.packets[0], 3U) << "a new judgement leaves what was counted";
  EXPECT_EQ(record.state(), State::kEstablished);
}

TEST_F(Flows, cannot_judge_again_what_has_gone) {
  const auto judged = path->rejudge(test::held(question()).key, {});
  ASSERT_FALSE(judged);
  EXPECT_EQ(judged.error().code, Code::kNotFound);
}

TEST_F(Flows, lets_answers_pass_when_only_older_rules_denied_them) {
  judge(from_guest(Tcp::kSyn, 1000), Verdict::kDeny);
  path->set_generation(1);
  EXPECT_EQ(guest_gets(to_guest(Tcp::kAck, 5000, 1001)), kPass);
}

TEST_F(Flows, forgets_what_it_is_told_to) {
  allow(question());
  ASSERT_TRUE(path->forget(test::held(question()).key));
  EXPECT_EQ(guest_sends(question()), kRedirect);
  EXPECT_FALSE(path->find(test::held(question()).key));
}

TEST_F(Flows, asks_again_for_the_owner_of_flows_without_connections) {
  attach([](Options& options) { options.timeouts.judge_again = kAnInstant; });
  allow(question());
  connect();
  std::this_thread::sleep_for(kAWhile);
  EXPECT_EQ(guest_sends(question()), kRedirect);
  EXPECT_EQ(guest_sends(from_guest(Tcp::kAck, 1001, 5001)), kPass) << "a connection keeps its owner";
}

TEST_F(Flows, judges_a_denied_flow_again_from_time_to_time) {
  attach([](Options& options) { options.timeouts.denied = kAWhile; });
  judge(question(), Verdict::kDeny);
  EXPECT_EQ(guest_sends(question()), kDrop);
  std::this_thread::sleep_for(2 * kAWhile);
  EXPECT_EQ(guest_sends(question()), kRedirect);
}

// Lifetimes -----------------------------------------------------------------------------------------------------------

TEST_F(Flows, holds_an_allowed_flow_when_its_judgements_lifetime_is_over) {
  judge(question(), Verdict::kAllow, 0, kLifetime);
  EXPECT_EQ(guest_sends(question()), kPass);
  std::this_thread::sleep_for(kLifetime + kAWhile);
  EXPECT_EQ(guest_sends(question()), kRedirect);
}

TEST_F(Flows, holds_a_denied_flow_when_its_judgements_lifetime_is_over) {
  judge(question(), Verdict::kDeny, 0, kLifetime);
  EXPECT_EQ(guest_sends(question()), kDrop);
  std::this_thread::sleep_for(kLifetime + kAWhile);
  EXPECT_EQ(guest_sends(question()), kRedirect);
}

TEST_F(Flows, a_judgement_without_lifetime_left_holds_for_no_further_packet) {
  judge(question(), Verdict::kAllow, 0, std::chrono::milliseconds(0));
  EXPECT_EQ(guest_sends(question()), kRedirect);
}

TEST_F(Flows, ends_the_lifetime_of_connections_too) {
  connect();
  EXPECT_EQ(flow_of(from_guest(Tcp::kSyn, 0)).flow.valid_until_ns, 0U) << "none was given";
  Judgement judgement;
  judgement.verdict = Verdict::kAllow;
  judgement.lifetime = kAnInstant;
  ASSERT_TRUE(path->rejudge(test::held(from_guest(Tcp::kAck, 1001)).key, judgement));
  std::this_thread::sleep_for(kAWhile);
  EXPECT_EQ(guest_sends(from_guest(Tcp::kAck, 1001, 5001)), kRedirect);
  EXPECT_EQ(state(), State::kEstablished) << "its history stays";
}

TEST_F(Flows, gives_a_new_judgement_a_lifetime_of_its_own) {
  judge(question(), Verdict::kAllow, 0, kAnInstant);
  std::this_thread::sleep_for(kAWhile);
  ASSERT_EQ(guest_sends(question()), kRedirect);
  Judgement judgement;
  judgement.verdict = Verdict::kAllow;
  judgement.lifetime = std::chrono::hours(1);
  ASSERT_TRUE(path->rejudge(test::held(question()).key, judgement));
  EXPECT_EQ(guest_sends(question()), kPass);
  judgement.lifetime = kAnInstant;
  ASSERT_TRUE(path->rejudge(test::held(question()).key, judgement));
  std::this_thread::sleep_for(kAWhile);
  EXPECT_EQ(guest_sends(question()), kRedirect);
  judgement.lifetime.reset();
  ASSERT_TRUE(path->rejudge(test::held(question()).key, judgement));
  EXPECT_EQ(guest_sends(question()), kPass) << "and none ends never";
}

TEST_F(Flows, lets_the_world_answer_a_flow_whose_lifetime_is_over) {
  for (const Verdict verdict : {Verdict::kAllow, Verdict::kDeny}) {
    judge(question(), verdict, 0, kAnInstant);
    std::this_thread::sleep_for(kAWhile);
    EXPECT_EQ(guest_gets(answer()), kPass) << "what comes from outside is never held";
  }
}

TEST_F(Flows, bounds_lifetimes) {
  judge(question(), Verdict::kAllow, 0, std::chrono::milliseconds::max());
  const hw_flow longest = flow_of(question()).flow;
  EXPECT_EQ(longest.valid_until_ns - longest.judged_ns, uint64_t{std::chrono::nanoseconds(kLifetimeMax).count()});
  judge(question(), Verdict::kAllow, 0, std::chrono::milliseconds::min());
  const hw_flow shortest = flow_of(question()).flow;
  EXPECT_LT(shortest.valid_until_ns, shortest.judged_ns) << "over";
}

// TCP -----------------------------------------------------------------------------------------------------------------

TEST_F(Flows, takes_a_retransmitted_syn_for_the_same_connection) {
  allow(from_guest(Tcp::kSyn, 1000));
  EXPECT_EQ(guest_sends(from_guest(Tcp::kSyn, 1000)), kPass);
  EXPECT_EQ(state(), State::kOpening);
}

TEST_F(Flows, takes_another_sequence_number_for_another_connection) {
  for (const Verdict verdict : {Verdict::kAllow, Verdict::kDeny}) {
    judge(from_guest(Tcp::kSyn, 1000), verdict);
    EXPECT_EQ(guest_sends(from_guest(Tcp::kSyn, 2000)), kRedirect);
  }
}

TEST_F(Flows, follows_a_connection_to_its_end) {
  allow(from_guest(Tcp::kSyn, 1000));
  EXPECT_EQ(state(), State::kOpening);
  EXPECT_EQ(guest_gets(to_guest(Tcp::kSyn | Tcp::kAck, 5000, 1001)), kPass);
  EXPECT_EQ(state(), State::kEstablished);
  EXPECT_EQ(guest_sends(from_guest(Tcp::kAck | Tcp::kFin, 1001, 5001)), kPass);
  EXPECT_EQ(state(), State::kClosing);
  EXPECT_EQ(guest_gets(to_guest(Tcp::kAck | Tcp::kFin, 5001, 1002)), kPass);
  EXPECT_EQ(guest_sends(from_guest(Tcp::kAck, 1002, 5002)), kPass);
  EXPECT_EQ(state(), State::kClosing);
}

TEST_F(Flows, does_not_believe_a_syn_ack_to_another_syn) {
  allow(from_guest(Tcp::kSyn, 1000));
  EXPECT_EQ(guest_gets(to_guest(Tcp::kSyn | Tcp::kAck, 5000, 7)), kPass);
  EXPECT_EQ(state(), State::kOpening);
}

TEST_F(Flows, believes_a_reset_only_where_the_next_byte_is_due) {
  connect();
  EXPECT_EQ(guest_gets(to_guest(Tcp::kRst, 5001U + (1U << 30U))), kPass);
  EXPECT_EQ(guest_gets(to_guest(Tcp::kRst, 4000)), kPass);
  EXPECT_EQ(state(), State::kEstablished);
  EXPECT_EQ(guest_gets(to_guest(Tcp::kRst, 5001)), kPass);
  EXPECT_EQ(state(), State::kClosed);
}

TEST_F(Flows, closes_a_connection_that_is_refused) {
  allow(from_guest(Tcp::kSyn, 1000));
  EXPECT_EQ(guest_gets(to_guest(Tcp::kRst | Tcp::kAck, 0, 7)), kPass);
  EXPECT_EQ(state(), State::kOpening);
  EXPECT_EQ(guest_gets(to_guest(Tcp::kRst | Tcp::kAck, 0, 1001)), kPass);
  EXPECT_EQ(state(), State::kClosed);
}

TEST_F(Flows, takes_a_flow_met_in_the_middle_as_established) {
  allow(from_guest(Tcp::kAck, 1001, 5001));
  EXPECT_EQ(state(), State::kEstablished);
}

TEST_F(Flows, holds_what_timed_out) {
  attach([](Options& options) { options.timeouts.established = kAnInstant; });
  connect();
  std::this_thread::sleep_for(kAWhile);
  EXPECT_EQ(guest_sends(from_guest(Tcp::kAck, 1001, 5001)), kRedirect);
}

TEST_F(Flows, counts_a_superframe_as_its_segments) {
  connect();
  const Fd program = test::pinned(*net, "from_guest");
  const Bytes frame = from_guest(Tcp::kAck, 1001, 5001, std::string(3000, 'x'));
  __sk_buff context{};
  context.gso_size = 1000;
  struct bpf_test_run_opts options{};
  options.sz = sizeof(options);
  options.data_in = frame.data();
  options.data_size_in = static_cast<uint32_t>(frame.size());
  options.ctx_in = &context;
  options.ctx_size_in = sizeof(context);
  ASSERT_EQ(::bpf_prog_test_run_opts(program.get(), &options), 0);
  EXPECT_EQ(flow_of(frame).flow.packets[0], 2U + 4U) << "3054 bytes, the headers with them, at 1000 each";
}

// From outside --------------------------------------------------------------------------------------------------------

TEST_F(Flows, lets_the_world_speak_first_and_remembers_it) {
  EXPECT_EQ(guest_gets(to_guest(Tcp::kSyn, 5000)), kPass);
  EXPECT_EQ(guest_gets(answer()), kPass);
  EXPECT_TRUE(path->was_inbound(test::held(from_guest(Tcp::kSyn, 0)).key));
  EXPECT_TRUE(path->was_inbound(test::held(question()).key));
  EXPECT_EQ(count(HW_COUNT_INBOUND_NEW), 2U);
}

TEST_F(Flows, takes_an_inbound_packet_in_mid_flow_for_no_beginning) {
  EXPECT_EQ(guest_gets(to_guest(Tcp::kAck, 5000, 1001)), kPass);
  EXPECT_FALSE(path->was_inbound(test::held(from_guest(Tcp::kSyn, 0)).key));
}

TEST_F(Flows, lets_answers_to_a_syn_pass_without_asking) {
  EXPECT_EQ(guest_gets(to_guest(Tcp::kSyn, 5000)), kPass);
  EXPECT_EQ(guest_sends(from_guest(Tcp::kSyn | Tcp::kAck, 1000, 5001)), kPass);
  EXPECT_EQ(guest_sends(from_guest(Tcp::kRst | Tcp::kAck, 0, 5001)), kPass);
  EXPECT_EQ(count(HW_COUNT_ANSWERED), 2U);
  EXPECT_FALSE(path->find(test::held(from_guest(Tcp::kSyn, 0)).key)) << "no state for a flood of SYNs";
}

TEST_F(Flows, holds_what_only_looks_like_an_answer) {
  EXPECT_EQ(guest_sends(from_guest(Tcp::kSyn | Tcp::kAck, 1000, 5001)), kRedirect) << "nobody asked";
  EXPECT_EQ(guest_gets(to_guest(Tcp::kSyn, 5000)), kPass);
  EXPECT_EQ(guest_sends(from_guest(Tcp::kSyn | Tcp::kAck, 1000, 7)), kRedirect) << "of something else";
  EXPECT_EQ(guest_sends(from_guest(Tcp::kSyn | Tcp::kAck, 1000, 5001, "data")), kRedirect);
  EXPECT_EQ(guest_sends(from_guest(Tcp::kAck, 1001, 5001, "220 ready")), kRedirect) << "the connection is judged";
}

TEST_F(Flows, judges_a_new_connection_of_outside_on_an_old_tuple) {
  connect();
  EXPECT_EQ(guest_gets(to_guest(Tcp::kSyn, 9000)), kPass);
  EXPECT_EQ(guest_sends(from_guest(Tcp::kAck, 1001, 5001)), kPass) << "the guest has not given up the old one";
  EXPECT_EQ(guest_sends(from_guest(Tcp::kSyn | Tcp::kAck, 3000, 9001)), kPass);
  EXPECT_EQ(guest_sends(from_guest(Tcp::kAck, 3001, 9001, "220 ready")), kRedirect);
}

// UDP, ICMP, fragments
// --------------------------------------------------------------------------------------------------

TEST_F(Flows, knows_a_udp_flow_that_was_answered) {
  allow(question());
  EXPECT_EQ(flow_of(question()).state(), State::kUdpOneWay);
  EXPECT_EQ(guest_gets(answer()), kPass);
  EXPECT_EQ(flow_of(question()).state(), State::kUdpTwoWay);
}

TEST_F(Flows, counts_an_echo_and_its_reply_as_one_flow) {
  const Bytes echo = build::ethernet(build::ip(kGuest, kWorld, build::icmp_echo(99)));
  allow(echo);
  EXPECT_EQ(guest_gets(build::ethernet(build::ip(kWorld, kGuest, build::icmp_echo(99, 1, true)))), kPass);
  EXPECT_EQ(flow_of(echo).flow.packets[1], 1U);
  EXPECT_EQ(guest_sends(build::ethernet(build::ip(kGuest, kWorld, build::icmp_echo(98)))), kRedirect);
}

TEST_F(Flows, treats_an_icmp_error_as_the_flow_that_it_is_about) {
  const Bytes answered = build::ip(kWorld, kGuest, build::udp(53, kGuestPort, "answer"));
  const Bytes unreachable = build::ethernet(build::ip(kGuest, kWorld, build::icmp_error(3, 3, answered)));
  EXPECT_EQ(guest_sends(unreachable), kRedirect);
  allow(question());
  EXPECT_EQ(guest_sends(unreachable), kPass);
  judge(question(), Verdict::kDeny);
  EXPECT_EQ(guest_sends(unreachable), kDrop);

  const Bytes asked = build::ip(kGuest, kWorld, build::udp(kGuestPort, 53, "question"));
  const IpAddress router = IpAddress::v4(203, 0, 113, 1);
  EXPECT_EQ(guest_gets(build::ethernet(build::ip(router, kGuest, build::icmp_error(11, 0, asked)))), kDrop);
}

TEST_F(Flows, gives_later_fragments_their_first_ones_verdict) {
  const Bytes whole = build::ip(kGuest, kWorld, build::udp(kGuestPort, 53, std::string(64, 'x')));
  const auto part = [&](uint32_t id, size_t offset) {
    return build::ethernet(build::fragment_of(whole, id, offset, 24));
  };
  allow(question());
  EXPECT_EQ(guest_sends(part(1, 24)), kRedirect) << "it came before its first one";
  EXPECT_EQ(guest_sends(part(1, 0)), kPass);
  EXPECT_EQ(guest_sends(part(1, 24)), kPass);
  EXPECT_EQ(guest_sends(part(2, 24)), kRedirect) << "of another packet";
  judge(question(), Verdict::kDeny);
  EXPECT_EQ(guest_sends(part(3, 0)), kDrop);
  EXPECT_EQ(guest_sends(part(3, 24)), kDrop);
}

TEST_F(Flows, drops_fragments_that_could_write_over_a_tcp_header) {
  const Bytes whole = build::ip(kGuest, kWorld, build::tcp(kGuestPort, kWorldPort, Tcp::kAck, 1, 1, "0123456789"));
  EXPECT_EQ(guest_sends(build::ethernet(build::fragment_of(whole, 1, 8, 16))), kDrop);
}

// Nobody there to judge
// -------------------------------------------------------------------------------------------------

TEST_F(Flows, gives_new_flows_the_default_when_user_space_is_gone) {
  connect();
  path->retire();
  EXPECT_EQ(guest_sends(question()), kDrop);
  EXPECT_EQ(guest_sends(from_guest(Tcp::kAck, 1001, 5001)), kPass) << "known flows go on";
  path->set_default_verdict(Verdict::kAllow);
  EXPECT_EQ(guest_sends(question()), kPass);
  path->beat();
  EXPECT_EQ(guest_sends(question()), kRedirect);
  EXPECT_EQ(count(HW_COUNT_DEFAULT_DENIED), 1U);
  EXPECT_EQ(count(HW_COUNT_DEFAULT_ALLOWED), 1U);
}

TEST_F(Flows, gives_new_flows_the_default_when_user_space_hangs) {
  std::this_thread::sleep_for(kBeatMissing + kAWhile);
  EXPECT_EQ(guest_sends(question()), kDrop);
}

TEST_F(Flows, gives_new_flows_the_default_when_too_much_is_held) {
  attach([](Options& options) { options.max_held = 2; });
  EXPECT_EQ(guest_sends(question()), kRedirect);
  EXPECT_EQ(guest_sends(question()), kRedirect);
  EXPECT_EQ(guest_sends(question()), kDrop);
  EXPECT_EQ(count(HW_COUNT_HOLD_FULL), 1U);
  ASSERT_TRUE(path->next());  // finds that nothing waits: test runs put nothing there
  EXPECT_EQ(guest_sends(question()), kRedirect);
}

// The table
// -------------------------------------------------------------------------------------------------------------

Bytes question_from(uint16_t port) {
  return build::ethernet(build::ip(kGuest, kWorld, build::udp(port, 53)));
}

TEST_F(Flows, makes_room_for_a_new_flow_in_a_full_table) {
  constexpr uint32_t kMax = 64;
  attach([](Options& options) { options.max_flows = kMax; });
  connect();
  for (uint16_t port = 1; port <= 4 * kMax; ++port) allow(question_from(port));
  EXPECT_EQ(guest_sends(question_from(4 * kMax)), kPass) << "the newest is there";
  EXPECT_EQ(guest_sends(from_guest(Tcp::kAck, 1001, 5001)), kPass) << "a connection is worth more than a question";
}

TEST_F(Flows, gives_up_old_half_open_connections_for_new_ones) {
  constexpr uint32_t kMax = 16;
  attach([](Options& options) { options.max_half_open = kMax; });
  const auto syn = [](uint16_t port) {
    return build::ethernet(build::ip(kGuest, kWorld, build::tcp(port, kWorldPort, Tcp::kSyn, 1)));
  };
  for (uint16_t port = 1; port <= 4 * kMax; ++port) allow(syn(port));
  uint32_t flows = 0;
  ASSERT_TRUE(path->for_each_flow([&](const FlowRecord&) { return ++flows > 0; }));
  EXPECT_EQ(flows, kMax);
  EXPECT_EQ(guest_sends(syn(4 * kMax)), kPass);
}

TEST_F(Flows, shows_each_flow_once) {
  constexpr uint16_t kCount = 2000;
  for (uint16_t port = 1; port <= kCount; ++port) judge(question_from(port), Verdict::kAllow);
  std::multiset<uint16_t> ports;
  ASSERT_TRUE(path->for_each_flow([&](const FlowRecord& record) {
    ports.insert(record.key.source.port);
    return true;
  }));
  EXPECT_EQ(ports.size(), kCount);
  EXPECT_EQ(std::set<uint16_t>(ports.begin(), ports.end()).size(), kCount);
}

TEST_F(Flows, sweeps_away_what_timed_out_and_nothing_else) {
  constexpr uint16_t kCount = 1000;
  connect();
  for (uint16_t port = 1; port <= kCount; ++port) judge(question_from(port), Verdict::kDeny);
  size_t removed = 0, ended = 0, seen = 0;
  const Time later = std::chrono::steady_clock::now() + std::chrono::seconds(31);
  for (int call = 0; call < 10; ++call) {
    const auto swept =
        path->sweep(later, 300, [&](const FlowRecord&, bool has_ended) { has_ended ? ++ended : ++seen; });
    ASSERT_TRUE(swept) << swept.error().message;
    EXPECT_LT(*swept, kCount) << "a budget is a budget";
    removed += *swept;
  }
  EXPECT_EQ(removed, kCount);
  EXPECT_EQ(ended, kCount);
  EXPECT_GE(seen, 1U) << "a flow that goes on is shown too";
  EXPECT_EQ(guest_sends(from_guest(Tcp::kAck, 1001, 5001)), kPass);
}

TEST_F(Flows, finds_a_flow_by_either_direction_of_its_key) {
  allow(question());
  const packet::FlowKey key = test::held(question()).key;
  const auto record = path->find(packet::reversed(key));
  ASSERT_TRUE(record);
  EXPECT_EQ(record->key, key);
}

TEST(CounterNames, are_all_different) {
  std::set<std::string_view> names;
  for (int i = 0; i < HW_COUNTERS; ++i) names.insert(to_string(static_cast<hw_counter>(i)));
  EXPECT_EQ(names.size(), size_t{HW_COUNTERS});
  EXPECT_FALSE(names.contains("?"));
}

}  // namespace
}  // namespace hyperward::datapath
