// Attacks, each found within its bound, and what is said of them.
#include "detect/detectors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "detect/response.h"
#include "detect/test_world.h"

namespace hyperward::detect {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr milliseconds kHundredPerSecond{10};
const guest::Owner kMallory = process(1000, 7);

// Connections made, the last of them included, when the first finding comes; 0 when none comes.
template <typename Connect>
uint32_t found_after(World& world, uint32_t most, std::chrono::microseconds interval, Connect connect) {
  for (uint32_t i = 0; i < most; ++i) {
    connect(i);
    if (!world.findings.empty()) return i + 1;
    world.wait(interval);
    if (!world.findings.empty()) return i + 1;
  }
  return 0;
}

double figure(const Finding& finding, std::string_view name) {
  for (const auto& [key, value] : finding.figures)
    if (key == name) return value;
  ADD_FAILURE() << "no figure " << name;
  return -1;
}

// --- Scans ---

TEST(Scan, of_dark_addresses_is_found_before_the_twentieth) {
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
    World world;
    const auto after =
        found_after(world, 100, kHundredPerSecond, [&](uint32_t i) { world.connect(kMallory, dark(i), 22, protocol); });
    EXPECT_GT(after, 0U);
    EXPECT_LE(after, 20U);
    ASSERT_THAT(world.found(), ElementsAre("horizontal-scan uid 1000 pid 7 * port 22"));
    EXPECT_EQ(world.findings[0].example.protocol, protocol);
    EXPECT_EQ(figure(world.findings[0], "destinations"), after);
    EXPECT_NEAR(figure(world.findings[0], "seconds"), 0.15, 0.05);
    EXPECT_EQ(world.findings[0].time, world.now);
    EXPECT_EQ(world.findings[0].culprit.how, guest::How::kCredentials);
  }
}

TEST(Scan, of_the_ports_of_one_address_is_found_before_the_twentieth) {
  World world;
  const auto after = found_after(world, 100, kHundredPerSecond,
                                 [&](uint32_t i) { world.connect(kMallory, dark(1), static_cast<uint16_t>(i + 1)); });
  EXPECT_GT(after, 0U);
  EXPECT_LE(after, 20U);
  EXPECT_THAT(world.found(), ElementsAre("vertical-scan uid 1000 pid 7 198.18.0.1 *"));
  EXPECT_EQ(figure(world.findings[0], "ports"), after);
}

TEST(Scan, of_random_addresses_and_ports_is_found) {
  World world;
  const auto after = found_after(world, 100, kHundredPerSecond,
                                 [&](uint32_t i) { world.connect(kMallory, dark(i), static_cast<uint16_t>(i * 37)); });
  EXPECT_GT(after, 0U);
  EXPECT_LE(after, 40U);
  EXPECT_THAT(world.found(), ElementsAre("horizontal-scan uid 1000 pid 7 * *"));
}

TEST(Scan, with_pings_is_found_though_each_has_its_own_identifier) {
  World world;
  const auto after = found_after(world, 100, kHundredPerSecond, [&](uint32_t i) {
    world.connect_from(kMallory, {IpAddress::v4(10, 9, 0, 2), static_cast<uint16_t>(i)},
                       {dark(i), static_cast<uint16_t>(i)}, Protocol::kIcmp);
  });
  EXPECT_LE(after, 20U);
  EXPECT_THAT(world.found(), ElementsAre("horizontal-scan uid 1000 pid 7 * *"));
}

TEST(Scan, as_fast_as_it_may_be_is_found_as_soon_as_answers_are_due) {
  World world;
  const Time begin = world.now;
  const auto after = found_after(world, 5000, std::chrono::microseconds(100),
                                 [&](uint32_t i) { world.connect(kMallory, dark(i), 22); });
  EXPECT_GT(after, 0U);
  EXPECT_LE(world.now - begin, milliseconds(150));
}

TEST(Scan, that_has_ended_before_answers_are_due_is_found_all_the_same) {
  World world;
  for (uint32_t i = 0; i < 30; ++i) world.connect(kMallory, dark(i), 22);
  EXPECT_THAT(world.found(), IsEmpty());
  world.wait(seconds(2));
  EXPECT_THAT(world.found(), ElementsAre("horizontal-scan uid 1000 pid 7 * port 22"));
}

TEST(Scan, among_many_connections_that_are_answered_is_found) {
  World world;
  uint32_t n = 0;
  const auto after = found_after(world, 300, kHundredPerSecond, [&](uint32_t i) {
    world.connect(kMallory, dark(i), 22);
    for (int k = 0; k < 10; ++k) world.connect(kMallory, alive(++n), 443);
  });
  EXPECT_GT(after, 0U);
  EXPECT_LE(after, 30U);
  EXPECT_THAT(world.found(), ElementsAre("horizontal-scan uid 1000 pid 7 * port 22"));
}

TEST(Scan, beside_one_that_was_found_is_found_too) {
  World world;
  uint32_t n = 0;
  for (uint32_t i = 0; i < 100; ++i) {
    for (int k = 0; k < 50; ++k) world.connect(kMallory, dark(++n), 22);
    if (i >= 50) world.connect(kMallory, dark(i), 23);
    world.wait(kHundredPerSecond);
  }
  EXPECT_THAT(world.found(),
              ElementsAre("horizontal-scan uid 1000 pid 7 * port 22", "horizontal-scan uid 1000 pid 7 * port 23"));
}

TEST(Scan, by_one_process_per_connection_is_the_users) {
  World world;
  const auto after = found_after(world, 100, kHundredPerSecond,
                                 [&](uint32_t i) { world.connect(process(1000, 100 + i), dark(i), 22); });
  EXPECT_GT(after, 0U);
  EXPECT_LE(after, 20U);
  EXPECT_THAT(world.found(), ElementsAre("horizontal-scan uid 1000 * port 22"));
}

TEST(Scan, by_processes_that_each_stay_below_the_count_is_the_users) {
  World world;
  const auto after = found_after(world, 1000, kHundredPerSecond,
                                 [&](uint32_t i) { world.connect(process(1000, 100 + i / 12), dark(i), 22); });
  EXPECT_GT(after, 0U);
  EXPECT_LE(after, 80U);
  EXPECT_THAT(world.found(), ElementsAre("horizontal-scan uid 1000 * port 22"));
}

TEST(Scan, by_nobody_that_is_known_is_charged_to_unknown) {
  World world;
  EXPECT_GT(found_after(world, 20, kHundredPerSecond, [&](uint32_t i) { world.connect(kUnknownOwner, dark(i), 22); }),
            0U);
  EXPECT_THAT(world.found(), ElementsAre("horizontal-scan unknown * port 22"));
}

TEST(Scan, of_a_process_is_not_told_of_its_user_again) {
  World world;
  for (uint32_t i = 0; i < 1000; ++i) {
    world.connect(kMallory, dark(i), 22);
    // What others of the user fail at does not add up with what one of them is found for.
    if (i % 100 == 0) world.connect(process(1000, 1000 + i), dark(90'000 + i), 22);
    world.wait(kHundredPerSecond);
  }
  EXPECT_THAT(world.found(), ElementsAre("horizontal-scan uid 1000 pid 7 * port 22"));
}

TEST(Scan, that_few_innocent_processes_fall_short_of_is_not_their_users) {
  World world;
  for (int round = 0; round < 100; ++round) {
    for (uint32_t pid = 1; pid <= 4; ++pid)
      for (uint32_t i = 0; i < 10; ++i) world.connect(process(0, pid), dark(pid * 100 + i), 443);
    world.wait(seconds(1));
  }
  EXPECT_THAT(world.found(), IsEmpty());
}

TEST(Scan, of_a_crowd_that_pushes_out_accounts_is_found_in_its_midst) {
  World world({.max_accounts = 512});
  uint32_t n = 0;
  const auto after = found_after(world, 100, kHundredPerSecond, [&](uint32_t i) {
    world.connect(kMallory, dark(i), 22);
    for (int k = 0; k < 100; ++k) world.connect(process(1000, 100 + ++n), alive(1), 80);
  });
  EXPECT_GT(after, 0U);
  EXPECT_LE(after, 20U);
  EXPECT_LE(world.detectors.accounts(), 512U);
}

TEST(Scan, is_told_once_per_quiet_period) {
  World world;
  uint32_t n = 0;
  for (; n < 6000; ++n) {
    world.connect(kMallory, dark(n), 22);
    world.wait(kHundredPerSecond);
  }
  EXPECT_EQ(world.findings.size(), 1U);
  for (; n < 7000; ++n) {
    world.connect(kMallory, dark(n), 22);
    world.wait(kHundredPerSecond);
  }
  EXPECT_EQ(world.findings.size(), 2U);
}

TEST(Scan, of_ever_other_ports_is_not_told_for_ever) {
  World world;
  for (uint32_t i = 0; i < 3000; ++i) {
    world.connect(kMallory, dark(i), static_cast<uint16_t>(1000 + i / 25));
    world.wait(kHundredPerSecond);
  }
  EXPECT_EQ(world.findings.size(), 17U);
  EXPECT_EQ(world.found().back(), "horizontal-scan uid 1000 pid 7 * *");
}

TEST(Scan, of_a_larger_count_is_found_at_that) {
  for (const uint32_t count : {30U, 100U, 256U}) {
    World world({.horizontal_scan = {.count = count, .length = seconds(10)}});
    const auto after =
        found_after(world, 400, kHundredPerSecond, [&](uint32_t i) { world.connect(kMallory, dark(i), 22); });
    EXPECT_GE(after, count);
    EXPECT_LE(after, count + 2);
  }
}

TEST(Scan, below_the_count_in_the_window_is_none) {
  World world;
  EXPECT_EQ(found_after(world, 100, milliseconds(800), [&](uint32_t i) { world.connect(kMallory, dark(i), 22); }), 0U);
}

TEST(Scan, is_not_found_when_it_is_not_looked_for) {
  World world({.horizontal_scan = {.enabled = false, .count = 15, .length = seconds(10)}});
  EXPECT_EQ(found_after(world, 100, kHundredPerSecond, [&](uint32_t i) { world.connect(kMallory, dark(i), 22); }), 0U);
}

TEST(Scan, asks_a_bounded_number_of_times) {
  World world;
  uint32_t n = 0;
  for (int i = 0; i < 10'000; ++i) {
    world.connect(kMallory, alive(++n), 443);
    world.wait(milliseconds(1));
  }
  EXPECT_THAT(world.found(), IsEmpty());
  EXPECT_LT(world.asked, 100'000U);
}

// --- Floods ---

TEST(SynFlood, of_one_service_is_found) {
  World world;
  const auto after = found_after(world, 2000, milliseconds(5), [&](uint32_t) { world.connect(kMallory, dark(1), 80); });
  EXPECT_GE(after, 100U);
  EXPECT_LE(after, 130U);
  EXPECT_THAT(world.found(), ElementsAre("syn-flood uid 1000 pid 7 198.18.0.1 port 80"));
}

TEST(SynFlood, with_forged_sources_is_charged_to_unknown) {
  World world;
  const auto after = found_after(world, 2000, milliseconds(1), [&](uint32_t i) {
    world.connect_from(kUnknownOwner, {alive(i), static_cast<uint16_t>(i)}, {dark(1), 443});
  });
  EXPECT_GT(after, 0U);
  EXPECT_LE(after, 300U);
  EXPECT_THAT(world.found(), ElementsAre("syn-flood unknown 198.18.0.1 port 443"));
}

TEST(SynFlood, by_one_process_per_connection_is_the_users) {
  World world;
  const auto after = found_after(world, 2000, milliseconds(5),
                                 [&](uint32_t i) { world.connect(process(1000, 100 + i), dark(1), 80); });
  EXPECT_GE(after, 100U);
  EXPECT_LE(after, 130U);
  EXPECT_THAT(world.found(), ElementsAre("syn-flood uid 1000 198.18.0.1 port 80"));
}

TEST(SynFlood, that_has_ended_before_answers_are_due_is_found_all_the_same) {
  World world;
  for (uint32_t i = 0; i < 500; ++i) world.connect(kMallory, dark(1), 80);
  world.wait(seconds(2));
  EXPECT_THAT(world.found(), ElementsAre("syn-flood uid 1000 pid 7 198.18.0.1 port 80"));
}

TEST(SynFlood, of_several_services_by_turns_is_found_of_each) {
  World world;
  for (uint32_t i = 0; i < 10'000; ++i) {
    world.connect(kMallory, dark(i % 10), 80);
    world.wait(milliseconds(1));
  }
  EXPECT_EQ(world.findings.size(), 10U);
}

TEST(UdpFlood, by_one_flow_is_found) {
  World world;
  const auto key = world.connect(kMallory, dark(1), 9, Protocol::kUdp);
  world.wait(seconds(1));
  world.load(kMallory, key, 20'000, 0);
  ASSERT_THAT(world.found(), ElementsAre("udp-flood uid 1000 pid 7 198.18.0.1 port 9"));
  EXPECT_NEAR(figure(world.findings[0], "packets"), 20'000, 3000);
  EXPECT_EQ(figure(world.findings[0], "answers"), 0);
}

TEST(UdpFlood, by_a_flow_met_in_its_midst_is_found_from_the_second_look_on) {
  World world;
  packet::FlowKey key{.protocol = Protocol::kUdp, .source = {alive(1), 1}, .destination = {dark(1), 9}};
  world.load(kMallory, key, 1'000'000'000, 0);
  EXPECT_THAT(world.found(), IsEmpty());
  world.wait(seconds(1));
  world.load(kMallory, key, 1'000'020'000, 0);
  EXPECT_THAT(world.found(), ElementsAre("udp-flood uid 1000 pid 7 198.18.0.1 port 9"));
}

TEST(UdpFlood, over_many_flows_of_several_ports_is_found_of_their_address) {
  World world;
  std::vector<packet::FlowKey> keys;
  for (uint16_t i = 0; i < 10; ++i)
    keys.push_back(world.connect(kMallory, dark(1), static_cast<uint16_t>(100 + i), Protocol::kUdp));
  for (uint64_t second = 1; second <= 3; ++second) {
    world.wait(seconds(1));
    for (const auto& key : keys) world.load(kMallory, key, second * 600, 0);
  }
  EXPECT_THAT(world.found(), ElementsAre("udp-flood uid 1000 pid 7 198.18.0.1 *"));
}

TEST(UdpFlood, of_one_datagram_per_flow_is_found) {
  World world;
  const auto after = found_after(world, 20'000, std::chrono::microseconds(100), [&](uint32_t i) {
    world.connect_from(kMallory, {alive(i >> 10), static_cast<uint16_t>(i)}, {dark(1), 53}, Protocol::kUdp);
  });
  EXPECT_GE(after, 4000U);
  EXPECT_LE(after, 5000U);
  EXPECT_THAT(world.found(), ElementsAre("udp-flood uid 1000 pid 7 198.18.0.1 port 53"));
}

TEST(UdpFlood, of_a_slow_look_is_measured_by_the_time_it_took) {
  World world;
  const auto key = world.connect(kMallory, dark(1), 9, Protocol::kUdp);
  for (uint64_t look = 1; look <= 20; ++look) {
    world.wait(seconds(10));
    world.load(kMallory, key, look * 30'000, 0);  // 3000 in a second
  }
  EXPECT_THAT(world.found(), IsEmpty());
}

TEST(UdpFlood, is_none_when_others_began_the_flow) {
  World world;
  const packet::FlowKey key{.protocol = Protocol::kUdp, .source = {alive(1), 53}, .destination = {dark(1), 9}};
  world.detectors.observe(NewFlow{.time = world.now, .key = key, .direction = policy::Direction::kIn}, kMallory,
                          world.findings);
  for (uint64_t second = 1; second <= 5; ++second) {
    world.wait(seconds(1));
    world.load(kMallory, key, second * 20'000, 0);
  }
  EXPECT_THAT(world.found(), IsEmpty());
  EXPECT_EQ(world.detectors.accounts(), 0U);
}

// --- Floods by many owners, and by one who is seldom caught in the act ---

// Begins flows to one target, each from a socket that is closed at once: so many in a thousand are looked up in time.
struct HitAndRun {
  uint32_t per_second = 10'000;
  uint32_t known_per_mille = 10;
  Protocol protocol = Protocol::kUdp;
  std::function<guest::Owner(uint32_t)> owner = [](uint32_t) { return kMallory; };
};
constexpr uint16_t kFloodedPort = 9;

// Whoever is found is cut at once, as a response does. How many flows of the last second were cut by nobody.
uint32_t let_loose(World& world, uint32_t for_seconds, const HitAndRun& flood) {
  uint32_t uncut = 0;
  for (uint32_t i = 0; i < for_seconds * flood.per_second; ++i) {
    const bool known = i * flood.known_per_mille % 1000 < flood.known_per_mille;
    const guest::Owner owner = known ? flood.owner(i) : kUnknownOwner;
    const bool cut =
        std::ranges::any_of(world.findings, [&](const Finding& finding) { return finding.culprit.uid == owner.uid; });
    if (!cut && i >= (for_seconds - 1) * flood.per_second) ++uncut;
    world.connect_from(owner, {alive(i >> 10), static_cast<uint16_t>(i)}, {dark(1), kFloodedPort}, flood.protocol, cut);
    world.wait(std::chrono::microseconds(1'000'000 / flood.per_second));
  }
  return uncut;
}

TEST(FloodByMany, of_datagrams_from_ever_new_sockets_is_found_of_its_sender_and_of_unknown) {
  for (const uint32_t known_per_mille : {8, 50, 186, 399}) {
    World world;
    EXPECT_EQ(let_loose(world, 3, {.known_per_mille = known_per_mille}), 0U) << known_per_mille;
    EXPECT_THAT(world.found(), UnorderedElementsAre("udp-flood uid 1000 pid 7 198.18.0.1 port 9",
                                                    "udp-flood unknown 198.18.0.1 port 9"));
  }
}

TEST(FloodByMany, of_which_less_is_known_than_a_part_goes_on_at_that) {
  World world;
  EXPECT_LT(let_loose(world, 3, {.known_per_mille = 1}), 20U);
  EXPECT_THAT(world.found(), ElementsAre("udp-flood unknown 198.18.0.1 port 9"));
}

TEST(FloodByMany, of_whom_nobody_does_enough_alone_is_found) {
  World world;
  EXPECT_EQ(let_loose(world, 3, {.per_second = 5000, .known_per_mille = 500}), 0U);
  EXPECT_EQ(world.findings.size(), 2U);
  for (const Finding& finding : world.findings) {
    EXPECT_GE(figure(finding, "together"), 4000);
    EXPECT_LT(figure(finding, "packets"), 4000);
    EXPECT_GE(figure(finding, "packets"), 20);
  }
}

TEST(FloodByMany, of_connections_by_ever_new_processes_is_found_of_their_user_and_of_unknown) {
  World world;
  const auto forked = [](uint32_t i) { return process(1000, 100 + i); };
  EXPECT_EQ(
      let_loose(world, 3, {.per_second = 500, .known_per_mille = 60, .protocol = Protocol::kTcp, .owner = forked}), 0U);
  EXPECT_THAT(world.found(),
              UnorderedElementsAre("syn-flood uid 1000 198.18.0.1 port 9", "syn-flood unknown 198.18.0.1 port 9"));
}

TEST(FloodByMany, by_ever_new_users_is_found_of_those_who_do_their_part) {
  World world;
  EXPECT_EQ(
      let_loose(world, 3, {.known_per_mille = 1000, .owner = [](uint32_t i) { return process(i % 100, i % 100); }}),
      0U);
  EXPECT_EQ(world.findings.size(), 100U);
}

TEST(FloodByMany, goes_on_while_one_of_them_is_cut) {
  World world;
  let_loose(world, 90, {.known_per_mille = 0});
  ASSERT_THAT(world.found(), ElementsAre("udp-flood unknown 198.18.0.1 port 9"));
  EXPECT_EQ(let_loose(world, 2, {.known_per_mille = 10}), 0U);
  EXPECT_EQ(world.findings.size(), 2U);
}

TEST(FloodByMany, is_no_more_when_it_has_ended) {
  World world;
  let_loose(world, 2, {.known_per_mille = 0});
  world.wait(seconds(12));
  let_loose(world, 3, {.per_second = 100, .known_per_mille = 1000});
  EXPECT_THAT(world.found(), ElementsAre("udp-flood unknown 198.18.0.1 port 9"));
}

TEST(FloodByMany, that_has_ended_before_answers_are_due_is_found_all_the_same) {
  World world;
  world.wait(milliseconds(500));
  for (uint32_t i = 0; i < 6000; ++i)
    world.connect_from(i % 2 == 0 ? kMallory : kUnknownOwner, {alive(i >> 10), static_cast<uint16_t>(i)},
                       {dark(1), kFloodedPort}, Protocol::kUdp);
  EXPECT_THAT(world.found(), IsEmpty());
  world.wait(seconds(1));
  EXPECT_EQ(world.findings.size(), 2U);
}

TEST(FloodByMany, touches_nobody_who_asks_its_target_seldom_or_is_answered_by_it) {
  World world;
  world.favourite = IpAddress::v4(10, 9, 0, 3);
  const guest::Owner seldom = process(33, 33), answered = process(53, 53);
  const Endpoint target{dark(1), kFloodedPort};
  let_loose(world, 2, {});
  ASSERT_EQ(world.findings.size(), 2U);
  for (uint32_t i = 0; i < 30 * 5000; ++i) {
    const auto port = static_cast<uint16_t>(i);
    world.connect_from(kUnknownOwner, {alive(6), port}, target, Protocol::kUdp, /*cut=*/true);
    if (i % 1000 == 0) world.connect_from(seldom, {alive(5), port}, target, Protocol::kUdp);
    if (i % 50 == 0) world.connect_from(answered, {*world.favourite, port}, target, Protocol::kUdp);
    world.wait(std::chrono::microseconds(200));
  }
  EXPECT_EQ(world.findings.size(), 2U);
}

TEST(FloodByMany, touches_nobody_who_keeps_to_one_socket) {
  World world;
  const guest::Owner logger = process(104, 104);
  const auto key = world.connect(logger, dark(1), 514, Protocol::kUdp);
  let_loose(world, 2, {});
  world.load(logger, key, 2000, 0);
  let_loose(world, 2, {});
  world.load(logger, key, 4000, 0);
  for (const Finding& finding : world.findings) EXPECT_NE(finding.culprit.uid, 104U);
}

TEST(FloodByMany, of_a_doubtful_owner_cuts_him_from_the_one_destination_alone) {
  guest::Owner doubtful = process(1000, 7);
  doubtful.process.reset();
  doubtful.how = guest::How::kSocketOnly;
  doubtful.reason = guest::Reason::kNotConfirmed;
  World world;
  let_loose(world, 2, {.owner = [&](uint32_t) { return doubtful; }});
  ASSERT_EQ(world.findings.size(), 2U);
  Responder responder(ResponsePolicy::defaults());
  std::vector<std::string> rules;
  for (const Finding& finding : world.findings) rules.push_back(responder.plan(finding).rule);
  EXPECT_THAT(rules, UnorderedElementsAre("deny log to udp 198.18.0.1 from unknown",
                                          "deny log to udp 198.18.0.1 port 9 from uid 1000"));
}

// --- Bursts ---

TEST(MailBurst, is_found_when_the_bucket_is_empty) {
  World world;
  const auto after = found_after(world, 100, milliseconds(50), [&](uint32_t i) {
    world.connect(kMallory, alive(i % 7), i % 2 == 0 ? uint16_t{25} : uint16_t{587});
  });
  EXPECT_GT(after, 20U);
  EXPECT_LE(after, 25U);
  EXPECT_THAT(world.found(), ElementsAre("mail-burst uid 1000 pid 7 * *"));
  EXPECT_EQ(figure(world.findings[0], "connections"), after);
}

TEST(MailBurst, to_one_port_names_it) {
  World world;
  found_after(world, 100, milliseconds(50), [&](uint32_t i) { world.connect(kMallory, alive(i), 25); });
  EXPECT_THAT(world.found(), ElementsAre("mail-burst uid 1000 pid 7 * port 25"));
}

TEST(MailBurst, by_one_process_per_mail_is_the_users) {
  World world;
  const auto after = found_after(world, 100, milliseconds(50),
                                 [&](uint32_t i) { world.connect(process(1000, 100 + i), alive(i), 25); });
  EXPECT_GT(after, 20U);
  EXPECT_LE(after, 25U);
  EXPECT_THAT(world.found(), ElementsAre("mail-burst uid 1000 * port 25"));
}

TEST(MailBurst, of_a_process_is_not_told_of_its_user_again) {
  World world;
  for (uint32_t i = 0; i < 1000; ++i) {
    world.connect(kMallory, alive(i), 25);
    if (i % 50 == 0) world.connect(process(1000, 8), alive(i), 25);
    world.wait(milliseconds(50));
  }
  EXPECT_THAT(world.found(), ElementsAre("mail-burst uid 1000 pid 7 * port 25"));
}

TEST(LoginBurst, at_one_service_is_found) {
  World world;
  const auto after =
      found_after(world, 100, milliseconds(200), [&](uint32_t) { world.connect(kMallory, alive(1), 22); });
  EXPECT_EQ(after, 16U);
  EXPECT_THAT(world.found(), ElementsAre("login-burst uid 1000 pid 7 203.0.0.1 port 22"));
}

TEST(LoginBurst, by_one_process_per_attempt_is_the_users) {
  World world;
  const auto after = found_after(world, 100, milliseconds(200),
                                 [&](uint32_t i) { world.connect(process(1000, 100 + i), alive(1), 22); });
  EXPECT_EQ(after, 16U);
  EXPECT_THAT(world.found(), ElementsAre("login-burst uid 1000 203.0.0.1 port 22"));
}

TEST(LoginBurst, at_several_services_by_turns_is_found_of_each) {
  World world;
  for (uint32_t i = 0; i < 600; ++i) {
    world.connect(kMallory, alive(i % 20), 22);
    world.wait(milliseconds(50));
  }
  EXPECT_EQ(world.findings.size(), 17U);  // after 16 it is said of no target
}

// --- Listed addresses ---

TEST(Listed, is_told_once_per_process_and_address) {
  World world({}, "203.0.0.0/30\n");
  for (int i = 0; i < 3; ++i) {
    world.connect(kMallory, alive(1), 80);
    world.connect(kMallory, alive(2), 80);
    world.connect(kMallory, alive(100), 80);
    world.wait(seconds(1));
  }
  world.connect(process(1000, 8), alive(1), 80);
  EXPECT_THAT(world.found(), ElementsAre("listed uid 1000 pid 7 203.0.0.1 *", "listed uid 1000 pid 7 203.0.0.2 *",
                                         "listed uid 1000 pid 8 203.0.0.1 *"));
  world.wait(seconds(61));
  world.connect(kMallory, alive(1), 80);
  EXPECT_EQ(world.findings.size(), 4U);
}

TEST(Listed, is_not_told_of_each_process_of_a_crowd) {
  World world({}, "203.0.0.0/16\n");
  for (uint32_t i = 0; i < 1000; ++i) world.connect(process(1000, 100 + i), alive(1), 80);
  EXPECT_EQ(world.findings.size(), 4U);
  for (uint32_t i = 0; i < 10'000; ++i) world.connect(process(1001, 100 + i), alive(i), 80);
  EXPECT_LE(world.findings.size(), 4U + 17U);
}

// --- All of them ---

TEST(Detectors, find_nothing_while_they_warm_up_and_have_counted_when_they_have) {
  World world({.warm_up = seconds(30)}, "198.18.0.0/15\n");
  uint32_t n = 0;
  for (; n < 2999; ++n) {
    world.connect(kMallory, dark(n), 25);
    world.wait(kHundredPerSecond);
  }
  EXPECT_THAT(world.found(), IsEmpty());
  world.wait(seconds(1));
  world.connect(kMallory, dark(n), 25);
  EXPECT_THAT(world.found(), ::testing::IsSupersetOf({"listed uid 1000 pid 7 198.18.11.183 *",
                                                      "horizontal-scan uid 1000 pid 7 * port 25"}));
}

TEST(Detectors, pass_over_what_others_began) {
  World world;
  for (uint32_t i = 0; i < 1000; ++i) {
    const packet::FlowKey key{.protocol = Protocol::kTcp, .source = {alive(1), 25}, .destination = {dark(i), 25}};
    world.detectors.observe(NewFlow{.time = world.now, .key = key, .direction = policy::Direction::kIn}, kMallory,
                            world.findings);
    world.wait(kHundredPerSecond);
  }
  EXPECT_THAT(world.found(), IsEmpty());
  EXPECT_EQ(world.detectors.accounts(), 0U);
}

TEST(Detectors, take_a_bounded_amount_of_memory_for_a_million_destinations) {
  World world({.quiet = milliseconds(1)});
  for (uint32_t i = 0; i < 1'000'000; ++i) {
    world.detectors.observe(NewFlow{.time = world.now,
                                    .key = {.protocol = i % 2 == 0 ? Protocol::kTcp : Protocol::kUdp,
                                            .source = {alive(1), static_cast<uint16_t>(i)},
                                            .destination = {dark(i), static_cast<uint16_t>(i)}}},
                            process(1000, 7), world.findings);
    world.findings.clear();
    world.now += std::chrono::microseconds(100);
  }
  EXPECT_LT(world.detectors.bytes(), 4U << 20);
}

TEST(Detectors, take_a_bounded_amount_of_memory_for_a_million_processes_and_users) {
  World world;
  for (uint32_t i = 0; i < 1'000'000; ++i) {
    world.detectors.observe(NewFlow{.time = world.now,
                                    .key = {.protocol = Protocol::kTcp,
                                            .source = {alive(1), static_cast<uint16_t>(i)},
                                            .destination = {dark(i), static_cast<uint16_t>(i)}}},
                            process(i, i), world.findings);
    world.now += std::chrono::microseconds(100);
  }
  EXPECT_LE(world.detectors.accounts(), Settings().max_accounts);
  EXPECT_LT(world.detectors.bytes(), 32U << 20);
}

TEST(Detectors, bear_settings_without_sense) {
  World world({.horizontal_scan = {.count = 0, .length = {}},
               .vertical_scan = {.count = UINT32_MAX, .length = milliseconds::max()},
               .syn_flood = {.count = 0, .length = {}},
               .udp_flood = {.count = 0, .length = {}},
               .mail_burst = {.burst = 0, .interval = {}, .ports = {25}},
               .login_burst = {.burst = 0, .interval = {}, .ports = {25}},
               .quiet = milliseconds::max(),
               .max_accounts = 0});
  for (uint32_t i = 0; i < 1000; ++i) {
    const auto key = world.connect(kMallory, dark(i), 25, i % 2 == 0 ? Protocol::kTcp : Protocol::kUdp);
    world.load(kMallory, key, UINT64_MAX, UINT64_MAX);
    world.wait(milliseconds(7));
  }
  EXPECT_LE(world.detectors.accounts(), 2U);
}

TEST(Detectors, bear_times_without_sense) {
  for (const milliseconds time : {milliseconds::max(), milliseconds::min()}) {
    World world({.grace = time, .warm_up = time, .quiet = time});
    for (uint32_t i = 0; i < 1000; ++i) {
      world.connect(kMallory, dark(i), 25);
      world.wait(milliseconds(7));
    }
  }
}

TEST(Detectors, bear_a_clock_that_goes_backwards) {
  World world;
  for (uint32_t i = 0; i < 100; ++i) {
    world.connect(kMallory, dark(i), 22);
    world.now -= milliseconds(10);
  }
  world.now += seconds(2);
  world.connect(kMallory, dark(100), 22);
  EXPECT_THAT(world.found(), ElementsAre("horizontal-scan uid 1000 pid 7 * port 22"));
}

TEST(Kind, has_a_name_that_is_read_back) {
  for (size_t i = 0; i < kKinds; ++i) EXPECT_EQ(kind_from(to_string(static_cast<Kind>(i))), static_cast<Kind>(i));
  EXPECT_EQ(to_string(Kind::kHorizontalScan), "horizontal-scan");
  EXPECT_EQ(to_string(Kind::kIds), "ids");
  EXPECT_EQ(kind_from("scan"), std::nullopt);
}

}  // namespace
}  // namespace hyperward::detect
