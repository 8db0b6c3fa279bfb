// What the detection of one guest makes of judgements, loads and alerts of IDSs.
#include "daemon/watch.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/flow_owner.h"
#include "detect/test_world.h"
#include "filter/decider.h"

namespace hyperward::daemon {
namespace {

using namespace std::chrono_literals;
using detect::dark;
using nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

const guest::Owner kMallory = detect::process(1000, 107);
const Endpoint kLocal{IpAddress::v4(10, 9, 0, 2), 40000};
const Endpoint kMail{IpAddress::v4(203, 0, 113, 9), 25};

packet::FlowKey flow(const Endpoint& local, const Endpoint& remote, Protocol protocol = Protocol::kTcp) {
  return {.protocol = protocol, .source = local, .destination = remote};
}

detect::IdsAlert alert(const Endpoint& source, const Endpoint& destination, Protocol protocol = Protocol::kTcp) {
  return {.protocol = protocol,
          .source = source,
          .destination = destination,
          .text = "ET SCAN",
          .signature = 2001219,
          .severity = 2};
}

class WatchTest : public testing::Test {
 protected:
  void judge(const packet::FlowKey& key, const guest::Owner& owner, policy::Verdict verdict = policy::Verdict::kAllow,
             uint32_t rule = 0, policy::Direction direction = policy::Direction::kOut) {
    filter::Judgement judgement;
    judgement.owner = owner;
    judgement.flow = {.direction = direction, .protocol = key.protocol, .local = key.source, .remote = key.destination};
    judgement.decision.verdict = verdict;
    judgement.decision.rule = rule;
    watch.judged(key, judgement, now);
  }
  // Of addresses that do not answer, 100 a second.
  void scan(const guest::Owner& owner, uint32_t addresses, policy::Verdict verdict = policy::Verdict::kAllow,
            uint32_t rule = 0) {
    for (uint32_t i = 0; i < addresses; ++i) {
      judge(flow({kLocal.address, static_cast<uint16_t>(40000 + i)}, {dark(i), 22}), owner, verdict, rule);
      now += 10ms;
    }
  }
  void put_into_table(const packet::FlowKey& key, const guest::Owner& owner,
                      datapath::Direction direction = datapath::Direction::kOut) {
    datapath::FlowRecord record{.key = key};
    record.flow.verdict = HW_ALLOW;
    record.flow.direction = static_cast<uint8_t>(direction);
    record.flow.owner = pack(owner, 0);
    table[key] = record;
  }
  Case only_case() {
    std::vector<Case> cases = watch.take_cases();
    HW_CHECK(cases.size() == 1);
    return std::move(cases.front());
  }

  std::map<packet::FlowKey, datapath::FlowRecord> table;
  std::map<packet::FlowKey, detect::FlowOwner> sockets;  // of the guest, as they are now
  detect::Time now = detect::Time{} + 100h;
  Watch watch{Config(),
              [this](const packet::FlowKey& key) -> std::optional<datapath::FlowRecord> {
                for (const auto& either : {key, packet::reversed(key)})
                  if (table.contains(either)) return table[either];
                return std::nullopt;
              },
              [this](Protocol protocol, const Endpoint& local, const Endpoint& remote) {
                const auto found = sockets.find(flow(local, remote, protocol));
                return found == sockets.end() ? detect::FlowOwner() : found->second;
              }};
};

// -- what is found --

TEST_F(WatchTest, a_scan_becomes_a_case_that_names_who_scans_and_what_is_to_be_done) {
  scan(kMallory, 30);
  const Case found = only_case();
  EXPECT_EQ(found.finding.kind, detect::Kind::kHorizontalScan);
  EXPECT_EQ(found.finding.culprit.uid, 1000U);
  EXPECT_EQ(found.owner.process, kMallory.process);
  EXPECT_EQ(found.plan.rule, "deny log to tcp port 22 from uid 1000");
  EXPECT_FALSE(watch.has_cases());
}

TEST_F(WatchTest, a_scan_that_was_over_before_its_answers_were_due_is_found_by_a_tick) {
  for (uint16_t i = 0; i < 20; ++i) judge(flow({kLocal.address, i}, {dark(i), 22}), kMallory);
  EXPECT_FALSE(watch.has_cases());
  now += 1s;
  watch.tick(now);
  EXPECT_EQ(only_case().finding.kind, detect::Kind::kHorizontalScan);
}

TEST_F(WatchTest, destinations_that_answer_are_no_scan_and_those_that_reset_are) {
  for (const bool refuses : {false, true}) {
    for (uint16_t i = 0; i < 40; ++i) {
      const auto key = flow({kLocal.address, i}, {dark(i), 80});
      put_into_table(key, kMallory);
      table[key].flow.state = refuses ? HW_STATE_TCP_CLOSED : HW_STATE_TCP_ESTABLISHED;
      table[key].flow.packets[0] = refuses ? 1 : 3;
      table[key].flow.packets[1] = 1;
      judge(key, kMallory);
      now += 20ms;
    }
    EXPECT_EQ(watch.has_cases(), refuses);
  }
}

TEST_F(WatchTest, what_a_rule_of_run_time_denied_raises_nothing) {
  scan(kMallory, 100, policy::Verdict::kDeny, filter::kRunTime | 7);
  now += 1s;
  watch.tick(now);
  EXPECT_FALSE(watch.has_cases());
}

TEST_F(WatchTest, a_flood_that_a_response_has_cut_for_the_most_is_known_for_one_by_what_is_left) {
  for (uint16_t i = 0; i < 20'000 && !watch.has_cases(); ++i) {
    const auto key = flow({kLocal.address, i}, {dark(1), 9}, Protocol::kUdp);
    if (i % 100 == 0) {
      judge(key, kMallory);
    } else {
      judge(key, detect::kUnknownOwner, policy::Verdict::kDeny, filter::kRunTime | 7);
    }
    now += 100us;
  }
  EXPECT_EQ(only_case().plan.rule, "deny log to udp 198.18.0.1 from uid 1000");
}

TEST_F(WatchTest, what_a_rule_of_the_file_denied_is_found_all_the_same) {
  scan(kMallory, 30, policy::Verdict::kDeny, 7);
  EXPECT_TRUE(watch.has_cases());
}

TEST_F(WatchTest, datagrams_without_end_are_found_by_what_their_flow_carries) {
  const auto key = flow(kLocal, {dark(1), 53}, Protocol::kUdp);
  judge(key, kMallory);
  put_into_table(key, kMallory);
  for (int i = 0; i < 30 && !watch.has_cases(); ++i) {
    table[key].flow.packets[0] += 1000;
    now += 100ms;
    watch.seen(table[key], now);
  }
  EXPECT_EQ(only_case().finding.kind, detect::Kind::kUdpFlood);
}

TEST_F(WatchTest, a_server_of_datagrams_floods_nobody_by_answering) {
  const auto key = flow({kLocal.address, 53}, {dark(1), 9999}, Protocol::kUdp);
  put_into_table(key, kMallory, datapath::Direction::kIn);
  for (int i = 0; i < 30; ++i) {
    table[key].flow.packets[0] += 1000;
    now += 100ms;
    watch.seen(table[key], now);
  }
  EXPECT_FALSE(watch.has_cases());
}

// -- alerts of an IDS --

TEST_F(WatchTest, an_alert_of_an_ids_is_attributed_from_the_table_in_either_direction) {
  put_into_table(flow(kLocal, kMail), kMallory);
  for (const auto& told : {alert(kLocal, kMail), alert(kMail, kLocal)}) {
    ASSERT_TRUE(watch.take(told, now));
    const Case found = only_case();
    EXPECT_EQ(found.finding.kind, detect::Kind::kIds);
    EXPECT_EQ(found.finding.culprit.process, kMallory.process);
    EXPECT_EQ(found.finding.example, flow(kLocal, kMail)) << "the guest's end comes first";
    EXPECT_EQ(found.finding.remote, kMail.address);
    EXPECT_EQ(found.finding.port, kMail.port);
  }
}

TEST_F(WatchTest, an_alert_about_a_flow_that_has_ended_is_attributed_from_the_history) {
  judge(flow(kLocal, kMail), kMallory);
  now += Watch::kHistoryAge - 1s;
  EXPECT_TRUE(watch.take(alert(kLocal, kMail), now));
  EXPECT_TRUE(watch.take(alert(kMail, kLocal), now));
  for (const Case& found : watch.take_cases()) EXPECT_EQ(found.finding.culprit.process, kMallory.process);
  now += 2s;
  EXPECT_FALSE(watch.take(alert(kLocal, kMail), now));
}

TEST_F(WatchTest, the_history_knows_what_was_denied_too) {
  judge(flow(kLocal, kMail), kMallory, policy::Verdict::kDeny, filter::kRunTime | 7);
  EXPECT_TRUE(watch.take(alert(kLocal, kMail), now));
}

TEST_F(WatchTest, an_alert_about_a_flow_never_seen_is_attributed_by_the_guests_own_socket) {
  guest::Owner owner = kMallory;
  owner.evidence.state = guest::TcpState::kEstablished;
  sockets[flow(kLocal, kMail)] = {owner};
  for (const auto& told : {alert(kLocal, kMail), alert(kMail, kLocal)}) {
    ASSERT_TRUE(watch.take(told, now));
    EXPECT_EQ(only_case().finding.example, flow(kLocal, kMail));
  }
}

// Wherever it is known from who began it.
TEST_F(WatchTest, an_alert_about_a_flow_that_others_began_is_about_the_service_that_they_asked) {
  const Endpoint web{kLocal.address, 80}, visitor{kMail.address, 50000};
  const guest::Owner server = [] {
    guest::Owner owner = detect::process(33, 80);
    owner.evidence.state = guest::TcpState::kEstablished;
    return owner;
  }();
  const std::function<void()> sources[] = {
      [&] { put_into_table(flow(web, visitor), server, datapath::Direction::kIn); },
      [&] { judge(flow(web, visitor), server, policy::Verdict::kAllow, 0, policy::Direction::kIn); },
      [&] { sockets[flow(web, visitor)] = {server, policy::Direction::kIn}; }};
  for (const auto& make_known : sources) {
    make_known();
    ASSERT_TRUE(watch.take(alert(visitor, web), now));
    const Case found = only_case();
    EXPECT_EQ(found.finding.direction, policy::Direction::kIn);
    EXPECT_EQ(found.finding.port, web.port);
    EXPECT_EQ(found.finding.remote, visitor.address);
    EXPECT_THAT(summary_of(found), HasSubstr(" on tcp port 80 with 203.0.113.9: "));
    EXPECT_EQ(details_of(found)["flow"]["direction"], "in");
    table.clear();
    sockets.clear();
    now += Watch::kHistoryAge + 1s;
  }
}

// A listener on port 25 takes any address for its own: the world's mail server is not this guest.
TEST_F(WatchTest, a_socket_that_waits_for_anyone_does_not_claim_the_worlds_end) {
  guest::Owner listener = detect::process(8, 25);
  listener.how = guest::How::kListener;
  listener.evidence.state = guest::TcpState::kListen;
  sockets[flow(kMail, kLocal)] = {listener};
  EXPECT_FALSE(watch.take(alert(kMail, kLocal), now));

  judge(flow(kLocal, kMail), kMallory);
  ASSERT_TRUE(watch.take(alert(kMail, kLocal), now));
  EXPECT_EQ(only_case().finding.culprit.uid, 1000U);

  const Endpoint resolver{kMail.address, 53};
  guest::Owner unconnected = detect::process(53, 53);
  unconnected.evidence.state = guest::TcpState::kClose;
  sockets[flow(resolver, kLocal, Protocol::kUdp)] = {unconnected};
  EXPECT_FALSE(watch.take(alert(resolver, kLocal, Protocol::kUdp), now));
}

TEST_F(WatchTest, an_alert_about_others_is_none_of_this_guests) {
  EXPECT_FALSE(watch.take(alert({dark(1), 1}, kMail), now));
  EXPECT_FALSE(watch.has_cases());
  EXPECT_EQ(watch.overflowed(), 0U);
}

// -- bounds --

TEST_F(WatchTest, cases_beyond_those_that_may_wait_are_counted_and_forgotten) {
  judge(flow(kLocal, kMail), kMallory);
  for (size_t i = 0; i < Watch::kMaxWaiting + 5; ++i) EXPECT_TRUE(watch.take(alert(kLocal, kMail), now));
  EXPECT_THAT(watch.take_cases(), SizeIs(Watch::kMaxWaiting));
  EXPECT_EQ(watch.overflowed(), 5U);
}

TEST_F(WatchTest, an_ids_that_never_ends_is_heard_so_often_and_no_more) {
  judge(flow(kLocal, kMail), kMallory);
  const auto taken = [&](int sent) {
    int count = 0;
    for (int i = 0; i < sent; ++i) count += watch.take(alert(kLocal, kMail), now) ? 1 : 0;
    static_cast<void>(watch.take_cases());
    return count;
  };
  now += 1h;
  judge(flow(kLocal, kMail), kMallory);
  EXPECT_LE(taken(1000), Watch::kIdsAlertsBurst);
  EXPECT_GE(watch.overflowed(), 1000 - Watch::kIdsAlertsBurst);
  EXPECT_EQ(taken(10), 0);
  now += 1s;
  EXPECT_EQ(taken(1000), Watch::kIdsAlertsPerSecond);
}

// -- what people are told --

TEST_F(WatchTest, the_summary_says_who_did_what_to_whom_on_what_figures) {
  scan(kMallory, 30);
  EXPECT_THAT(summary_of(only_case()),
              testing::MatchesRegex("horizontal-scan by uid 1000, test \\(pid 107\\) to tcp port 22: "
                                    "destinations [0-9]+, .*"));
}

TEST_F(WatchTest, the_details_have_culprit_target_figures_evidence_and_plan) {
  guest::Owner owner = kMallory;
  owner.evidence = {.socket = {0xffff888012345678}, .inode = 8123, .fd = 3, .network_namespace = 4026531840};
  scan(owner, 30);
  const Case found = only_case();
  const json details = details_of(found);
  EXPECT_EQ(details["culprit"], json::parse(R"({"uid":1000,"confirmed":true,"how":"credentials","reason":"",
    "process":{"pid":107,"comm":"test","start_time_ns":1000}})"));
  EXPECT_EQ(details["target"], json::parse(R"({"protocol":"tcp","remote":null,"port":22})"));
  EXPECT_GE(details["figures"]["destinations"], 15);
  EXPECT_EQ(details["flow"]["protocol"], "tcp");
  EXPECT_THAT(details["flow"]["local"], testing::StartsWith("10.9.0.2:"));
  EXPECT_THAT(details["flow"]["remote"], testing::EndsWith(":22"));
  EXPECT_EQ(details["evidence"]["socket"], "0xffff888012345678");
  EXPECT_EQ(details["evidence"]["inode"], 8123);
  EXPECT_EQ(details["evidence"]["fd"], 3);
  EXPECT_EQ(details["evidence"]["netns"], 4026531840);
  EXPECT_EQ(details["plan"], (json{{"action", "deny-port"}, {"why", found.plan.why}}));
  EXPECT_FALSE(details.contains("text"));
}

TEST_F(WatchTest, an_unknown_owner_is_told_as_null_and_not_as_root) {
  scan(detect::kUnknownOwner, 30);
  const Case found = only_case();
  EXPECT_THAT(summary_of(found), HasSubstr(" by an unknown owner to "));
  const json culprit = details_of(found)["culprit"];
  EXPECT_TRUE(culprit["uid"].is_null());
  EXPECT_TRUE(culprit["process"].is_null());
  EXPECT_EQ(culprit["confirmed"], false);
}

TEST_F(WatchTest, names_and_words_of_attackers_are_printable_and_valid_json) {
  guest::Owner owner = kMallory;
  owner.process->comm = "\x1b[2J\n\xff\"\\";
  judge(flow(kLocal, kMail), owner);
  detect::IdsAlert told = alert(kLocal, kMail);
  told.text = "\x1b]0;owned\x07 \xc3\x28 \"}\n\r";
  ASSERT_TRUE(watch.take(told, now));
  const Case found = only_case();

  const std::string summary = summary_of(found);
  EXPECT_TRUE(std::ranges::all_of(summary, [](char c) { return c >= ' ' && c <= '~'; })) << summary;
  EXPECT_THAT(summary, HasSubstr("\\x1b]0;owned"));

  const std::string text = details_of(found).dump(-1, ' ', false, json::error_handler_t::replace);
  const json read = json::parse(text, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(read.is_object()) << text;
  EXPECT_THAT(text, Not(testing::ContainsRegex("[[:cntrl:]]")));
  EXPECT_THAT(read["text"].get<std::string>(), HasSubstr("owned"));
  EXPECT_EQ(read["culprit"]["process"]["comm"], guest::printable(owner.process->comm));
}

}  // namespace
}  // namespace hyperward::daemon
