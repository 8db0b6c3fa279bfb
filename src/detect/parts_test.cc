// The small parts: sums over a window, buckets, reports, loads of flows, accounts.
#include <gtest/gtest.h>

#include "detect/accounts.h"
#include "detect/flow_loads.h"
#include "detect/meter.h"
#include "detect/reports.h"
#include "detect/window_sum.h"

namespace hyperward::detect {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Time kStart = Time{} + std::chrono::hours(1);
const packet::FlowKey kFlow{.protocol = Protocol::kUdp, .source = {}, .destination = {IpAddress::v4(192, 0, 2, 1), 9}};

TEST(WindowSum, is_of_what_came_in_the_window) {
  WindowSum sum(seconds(8));
  EXPECT_EQ(sum.sum(kStart), 0);
  for (int i = 0; i < 100; ++i) {
    sum.add(kStart + seconds(i), 10);
    EXPECT_EQ(sum.sum(kStart + seconds(i)), std::min(i + 1, 8) * 10);
  }
  EXPECT_EQ(sum.sum(kStart + seconds(99 + 7)), 10);
  EXPECT_EQ(sum.sum(kStart + seconds(99 + 8)), 0);
  EXPECT_EQ(sum.sum(kStart + seconds(99 + 10'000)), 0);
}

TEST(WindowSum, has_nothing_left_after_a_long_pause) {
  for (const int pause : {8, 9, 15, 16, 17, 1000}) {
    WindowSum sum(seconds(8));
    for (int i = 0; i < 8; ++i) sum.add(kStart + seconds(i), 10);
    sum.add(kStart + seconds(7 + pause), 1);
    EXPECT_EQ(sum.sum(kStart + seconds(7 + pause)), 1) << pause;
  }
}

TEST(WindowSum, spreads_what_came_over_a_time) {
  WindowSum sum(seconds(8));
  sum.add(kStart, 100, seconds(10));
  EXPECT_NEAR(sum.sum(kStart), 70, 0.01);  // the slice that begins now, and seven before
  EXPECT_NEAR(sum.sum(kStart + seconds(4)), 30, 0.01);
}

TEST(Tokens, are_taken_until_the_bucket_is_empty_and_come_back_with_time) {
  Tokens tokens;
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(tokens.take(kStart, 5, seconds(1)));
  EXPECT_FALSE(tokens.take(kStart, 5, seconds(1)));
  EXPECT_FALSE(tokens.take(kStart + milliseconds(999), 5, seconds(1)));
  EXPECT_TRUE(tokens.take(kStart + milliseconds(1000), 5, seconds(1)));
  EXPECT_EQ(tokens.level(kStart + seconds(1000), 5, seconds(1)), 5);
}

TEST(Common, is_what_all_remote_ends_share) {
  Common common;
  EXPECT_EQ(common.port(), std::nullopt);
  common.add({IpAddress::v4(192, 0, 2, 1), 25});
  common.add({IpAddress::v4(192, 0, 2, 2), 25});
  EXPECT_EQ(common.port(), 25);
  EXPECT_EQ(common.address(), std::nullopt);
}

TEST(Reports, cover_what_was_said_until_it_has_been_quiet) {
  Reports reports;
  EXPECT_TRUE(reports.enter(Kind::kSynFlood, 5, kStart, kStart + seconds(60)));
  EXPECT_TRUE(reports.covers(Kind::kSynFlood, 5, kStart + seconds(59)));
  EXPECT_FALSE(reports.covers(Kind::kSynFlood, 5, kStart + seconds(60)));
  EXPECT_FALSE(reports.covers(Kind::kSynFlood, 6, kStart));
  EXPECT_FALSE(reports.covers(Kind::kUdpFlood, 5, kStart));
}

TEST(Reports, of_too_many_targets_become_one_of_the_whole_kind) {
  Reports reports;
  for (uint64_t target = 1; target <= Reports::kMaxTargets; ++target)
    EXPECT_TRUE(reports.enter(Kind::kSynFlood, target, kStart, kStart + seconds(60)));
  EXPECT_FALSE(reports.enter(Kind::kSynFlood, 100, kStart, kStart + seconds(60)));
  EXPECT_TRUE(reports.covers(Kind::kSynFlood, 12345, kStart));
  EXPECT_FALSE(reports.covers(Kind::kUdpFlood, 12345, kStart));
  for (uint64_t target = 1000; target < 2000; ++target)
    EXPECT_FALSE(reports.enter(Kind::kSynFlood, target, kStart, kStart + seconds(60)));
  EXPECT_LE(reports.bytes(), 4096U);
}

TEST(FlowLoads, tell_what_a_flow_carried_since_the_last_look) {
  FlowLoads loads({});
  loads.begin(kFlow, true, kStart);
  const auto first = loads.grow(kFlow, {11, 2}, kStart + seconds(1));
  ASSERT_TRUE(first);
  EXPECT_EQ(first->sent, 10);  // the first packet counts as the flow's beginning
  EXPECT_EQ(first->received, 2);
  EXPECT_EQ(first->over, seconds(1));
  const auto second = loads.grow(kFlow, {11, 3}, kStart + seconds(3));
  ASSERT_TRUE(second);
  EXPECT_EQ(second->sent, 0);
  EXPECT_EQ(second->received, 1);
}

TEST(FlowLoads, take_smaller_counters_for_those_of_another_flow) {
  FlowLoads loads({});
  loads.begin(kFlow, true, kStart);
  ASSERT_TRUE(loads.grow(kFlow, {1000, 1000}, kStart));
  EXPECT_EQ(loads.grow(kFlow, {5, 0}, kStart)->sent, 5);
}

TEST(FlowLoads, tell_nothing_of_a_past_they_do_not_know_nor_of_flows_that_others_began) {
  FlowLoads loads({});
  EXPECT_FALSE(loads.grow(kFlow, {1'000'000, 0}, kStart));
  EXPECT_TRUE(loads.grow(kFlow, {1'000'001, 0}, kStart));
  loads.begin(kFlow, false, kStart);
  EXPECT_FALSE(loads.grow(kFlow, {5, 0}, kStart));
}

TEST(FlowLoads, are_bounded) {
  FlowLoads loads({});
  for (uint32_t i = 0; i < 3 * FlowLoads::kMaxFlows; ++i) {
    packet::FlowKey key = kFlow;
    key.source = {IpAddress::v4(10, 0, static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)), 1};
    loads.begin(key, true, kStart);
  }
  EXPECT_LT(loads.bytes(), 3U << 20);
}

TEST(Accounts, make_room_by_the_one_idle_longest) {
  Accounts accounts(3, {});
  const auto key = [](uint32_t uid) { return AccountKey{AccountKey::Who::kUser, uid, 0}; };
  for (uint32_t uid = 1; uid <= 3; ++uid) accounts.touch(key(uid));
  accounts.touch(key(1));
  accounts.touch(key(4));
  EXPECT_EQ(accounts.size(), 3U);
  EXPECT_NE(accounts.find(key(1)), nullptr);
  EXPECT_EQ(accounts.find(key(2)), nullptr);
}

TEST(Logins, make_room_by_the_service_least_used) {
  Logins logins;
  const auto at = [](uint32_t host) { return Endpoint{IpAddress::v4(10, 0, 0, static_cast<uint8_t>(host)), 22}; };
  const auto meter = [&](uint32_t host) -> Meter& { return logins.at(at(host), kStart, 15, seconds(10)); };
  for (uint32_t host = 0; host < Logins::kMaxServices; ++host)
    for (uint32_t i = 0; i < (host == 3 ? 1U : 2U); ++i) meter(host).own.take(kStart, 15, seconds(10));
  meter(100);
  EXPECT_EQ(meter(4).own.level(kStart, 15, seconds(10)), 13);
  EXPECT_EQ(meter(3).own.level(kStart, 15, seconds(10)), 15);
}

}  // namespace
}  // namespace hyperward::detect
