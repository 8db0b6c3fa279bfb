#include "detect/flow_history.h"

#include <gtest/gtest.h>

#include <chrono>

namespace hyperward::detect {
namespace {

using std::chrono::seconds;

const Endpoint kMail{IpAddress::v4(203, 0, 113, 9), 25};

Time at(int second) {
  return Time(seconds(1'000'000 + second));
}

Endpoint local(uint16_t port) {
  return {IpAddress::v4(10, 9, 0, 2), port};
}

packet::FlowKey flow(uint16_t port, uint16_t vlan_id = 0) {
  return {vlan_id, Protocol::kTcp, local(port), kMail};
}

guest::Owner user(uint32_t uid) {
  guest::Owner owner;
  owner.how = guest::How::kCredentials;
  owner.reason = guest::Reason::kNone;
  owner.uid = uid;
  owner.process = guest::ProcessId{.pid = 4711, .comm = "nc", .start_time_ns = 1};
  return owner;
}

std::optional<uint32_t> uid_of(const FlowHistory& history, uint16_t port, int second) {
  const auto owned = history.find(Protocol::kTcp, local(port), kMail, at(second));
  return owned ? owned->owner.uid : std::nullopt;
}

TEST(FlowHistory, tells_whose_a_flow_was) {
  FlowHistory history(10, seconds(60));
  history.remember(flow(40000), {user(1000)}, at(0));
  history.remember(flow(40001), {user(1001)}, at(0));
  const auto owned = history.find(Protocol::kTcp, local(40000), kMail, at(1));
  ASSERT_TRUE(owned);
  EXPECT_EQ(owned->owner.uid, 1000U);
  EXPECT_EQ(owned->owner.how, guest::How::kCredentials);
  EXPECT_EQ(owned->owner.process, user(1000).process);
}

TEST(FlowHistory, tells_who_began_a_flow) {
  FlowHistory history(10, seconds(60));
  for (const auto direction : {policy::Direction::kIn, policy::Direction::kOut}) {
    history.remember(flow(80), {user(33), direction}, at(0));
    EXPECT_EQ(history.find(Protocol::kTcp, local(80), kMail, at(1))->direction, direction);
  }
}

TEST(FlowHistory, knows_nothing_of_other_flows) {
  FlowHistory history(10, seconds(60));
  history.remember(flow(40000), {user(1000)}, at(0));
  EXPECT_FALSE(history.find(Protocol::kUdp, local(40000), kMail, at(0)));
  EXPECT_FALSE(history.find(Protocol::kTcp, local(40001), kMail, at(0)));
  EXPECT_FALSE(history.find(Protocol::kTcp, kMail, local(40000), at(0)));
}

TEST(FlowHistory, a_later_flow_replaces_an_earlier_one) {
  FlowHistory history(10, seconds(60));
  history.remember(flow(40000), {user(1000)}, at(0));
  history.remember(flow(40000), {user(1001)}, at(1));
  EXPECT_EQ(uid_of(history, 40000, 1), 1001U);
  EXPECT_EQ(history.size(), 1U);
}

TEST(FlowHistory, does_not_ask_for_the_vlan) {
  FlowHistory history(10, seconds(60));
  history.remember(flow(40000, 7), {user(1000)}, at(0));
  EXPECT_EQ(uid_of(history, 40000, 0), 1000U);
  history.remember(flow(40000, 8), {user(1001)}, at(0));
  EXPECT_EQ(uid_of(history, 40000, 0), 1001U);
}

TEST(FlowHistory, forgets_what_is_too_old) {
  FlowHistory history(10, seconds(60));
  history.remember(flow(40000), {user(1000)}, at(0));
  EXPECT_EQ(uid_of(history, 40000, 60), 1000U);
  EXPECT_EQ(uid_of(history, 40000, 61), std::nullopt);
  history.remember(flow(40001), {user(1001)}, at(61));
  EXPECT_EQ(history.size(), 1U);
}

TEST(FlowHistory, the_oldest_makes_room) {
  FlowHistory history(3, seconds(60));
  for (uint16_t port = 1; port <= 3; ++port) history.remember(flow(port), {user(port)}, at(port));
  history.remember(flow(1), {user(1)}, at(4));  // no longer the oldest
  history.remember(flow(4), {user(4)}, at(5));
  EXPECT_EQ(uid_of(history, 1, 5), 1U);
  EXPECT_EQ(uid_of(history, 2, 5), std::nullopt);
  EXPECT_EQ(uid_of(history, 3, 5), 3U);
  EXPECT_EQ(uid_of(history, 4, 5), 4U);
  EXPECT_EQ(history.size(), 3U);
}

TEST(FlowHistory, stays_bounded_under_many_flows) {
  FlowHistory history(100, seconds(60));
  for (int i = 0; i < 50'000; ++i) history.remember(flow(static_cast<uint16_t>(i)), {user(1)}, at(0));
  EXPECT_EQ(history.size(), 100U);
  EXPECT_EQ(uid_of(history, 49'999, 0), 1U);
}

TEST(FlowHistory, may_remember_nothing_at_all) {
  FlowHistory history(0, seconds(60));
  history.remember(flow(40000), {user(1000)}, at(0));
  EXPECT_EQ(history.size(), 0U);
  EXPECT_EQ(uid_of(history, 40000, 0), std::nullopt);
}

TEST(FlowHistory, can_be_moved) {
  FlowHistory history(2, seconds(60));
  history.remember(flow(40000), {user(1000)}, at(0));
  FlowHistory moved = std::move(history);
  for (uint16_t port = 1; port <= 2; ++port) moved.remember(flow(port), {user(port)}, at(1));
  EXPECT_EQ(uid_of(moved, 40000, 1), std::nullopt);
  EXPECT_EQ(uid_of(moved, 2, 1), 2U);
}

}  // namespace
}  // namespace hyperward::detect
