#include "filter/filter.h"

#include <gtest/gtest.h>

namespace hyperward::filter {
namespace {

RuleChain rules(std::string_view text) {
  policy::Names names;
  names.users["alice"] = 1000;
  auto compiled = policy::compile(text, names);
  if (!compiled) ADD_FAILURE() << compiled.error().front().message;
  return RuleChain(compiled.value_or(policy::RuleSet()));
}

const Endpoint kLocal{IpAddress::v4(10, 9, 0, 2), 43210};
const Endpoint kMail{IpAddress::v4(203, 0, 113, 9), 25};

TEST(Judge, knows_nobody_when_the_guest_cannot_be_read) {
  const auto set = rules("deny to tcp port 25 from user alice\ndeny to any from unknown\ndefault allow\n");
  const Judgement judgement = judge(set, nullptr, Protocol::kTcp, kLocal, kMail, Began::kGuest);
  EXPECT_EQ(judgement.owner.how, guest::How::kUnknown);
  EXPECT_EQ(judgement.decision.verdict, policy::Verdict::kDeny);
  EXPECT_EQ(judgement.decision.rule, 2U);
}

TEST(Judge, takes_the_worlds_flows_for_inbound) {
  const auto set = rules("deny in to tcp port 43210\ndefault allow\n");
  EXPECT_EQ(judge(set, nullptr, Protocol::kTcp, kLocal, kMail, Began::kWorld).decision.verdict, policy::Verdict::kDeny);
  EXPECT_EQ(judge(set, nullptr, Protocol::kTcp, kLocal, kMail, Began::kGuest).decision.verdict,
            policy::Verdict::kAllow);
}

TEST(SubjectOf, tells_the_rules_no_more_than_was_found) {
  guest::Owner owner;
  EXPECT_TRUE(subject_of(owner).is_unknown());

  owner.uid = 1000;
  EXPECT_EQ(subject_of(owner).uid, 1000U);
  EXPECT_FALSE(subject_of(owner).pid.has_value());

  owner.process = guest::ProcessId{.pid = 412, .comm = "nc", .start_time_ns = 1};
  EXPECT_EQ(subject_of(owner).pid, 412U);
  EXPECT_EQ(subject_of(owner).comm, "nc");
}

}  // namespace
}  // namespace hyperward::filter
