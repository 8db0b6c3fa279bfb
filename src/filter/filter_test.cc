#include "filter/filter.h"

#include <gtest/gtest.h>

#include "filter/question.h"

namespace hyperward::filter {
namespace {

const Endpoint kLocal{IpAddress::v4(10, 9, 0, 2), 43210};
const Endpoint kMail{IpAddress::v4(203, 0, 113, 9), 25};

TEST(Identify, knows_nobody_when_the_guest_cannot_be_read) {
  const Judgement judgement = identify(nullptr, Protocol::kTcp, kLocal, kMail, Began::kGuest);
  EXPECT_EQ(judgement.owner.how, guest::How::kUnknown);
  EXPECT_FALSE(judgement.owner.uid.has_value());
}

TEST(Identify, takes_the_worlds_flows_for_inbound) {
  EXPECT_EQ(identify(nullptr, Protocol::kTcp, kLocal, kMail, Began::kWorld).flow.direction, policy::Direction::kIn);
  EXPECT_EQ(identify(nullptr, Protocol::kTcp, kLocal, kMail, Began::kGuest).flow.direction, policy::Direction::kOut);
}

TEST(SubjectOf, tells_the_rules_no_more_than_was_found) {
  guest::Owner owner;
  EXPECT_TRUE(subject_of(to_abi(owner)).is_unknown());

  owner.uid = 1000;
  EXPECT_EQ(subject_of(to_abi(owner)).uid, 1000U);
  EXPECT_FALSE(subject_of(to_abi(owner)).pid.has_value());

  owner.process = guest::ProcessId{.pid = 412, .comm = "nc", .start_time_ns = 1};
  const hyperward_owner abi = to_abi(owner);
  EXPECT_EQ(subject_of(abi).pid, 412U);
  EXPECT_EQ(subject_of(abi).comm, "nc");
}

}  // namespace
}  // namespace hyperward::filter
