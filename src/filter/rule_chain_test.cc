#include "filter/rule_chain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hyperward::filter {
namespace {

using policy::Direction;
using policy::Verdict;
using testing::ElementsAre;
using testing::SizeIs;

const policy::Names kNames{.users = {{"alice", 1000}, {"bob", 1001}}, .groups = {}};
const policy::Names kWithoutBob{.users = {{"alice", 1000}}, .groups = {}};

policy::RuleSet file(std::string_view text) {
  auto rules = policy::compile(text, kNames);
  if (rules) return *std::move(rules);
  ADD_FAILURE() << policy::render(rules.error().front(), text);
  return {};
}

RuleChain chain(std::string_view file_text, const std::vector<StoredText>& stored) {
  return {file(file_text), stored, kNames};
}

policy::Flow to_port(uint16_t port, Direction direction = Direction::kOut) {
  const Endpoint guest{IpAddress::v4(10, 9, 0, 2), port}, world{IpAddress::v4(203, 0, 113, 9), port};
  return {direction, Protocol::kTcp, guest, world};
}

const policy::Subject kAlice{.uid = 1000, .gid = {}, .pid = {}, .comm = {}};
const policy::Subject kBob{.uid = 1001, .gid = {}, .pid = {}, .comm = {}};

std::vector<std::string> audited_by(const policy::Decision& decision) {
  std::vector<std::string> names;
  for (const auto& audited : decision.audited()) names.push_back(name_of(audited.line));
  return names;
}

std::vector<int64_t> skipped_ids(const RuleChain& rules) {
  std::vector<int64_t> ids;
  for (const auto& skipped : rules.skipped()) ids.push_back(skipped.id);
  return ids;
}

TEST(RuleChain, without_rules_of_run_time_is_the_file) {
  const RuleChain rules(file("default deny\nallow log to tcp port 25\n"));
  const policy::Decision decision = rules.decide(to_port(25), {});
  EXPECT_EQ(decision.rule, 2U);
  EXPECT_TRUE(decision.log);
  EXPECT_EQ(rules.decide(to_port(80), {}).verdict, Verdict::kDeny);
  EXPECT_EQ(rules.default_verdict(Direction::kOut), Verdict::kDeny);
  EXPECT_EQ(RuleChain().decide(to_port(25), {}).verdict, Verdict::kAllow);
}

TEST(RuleChain, a_rule_of_run_time_decides_before_the_file) {
  const RuleChain rules =
      chain("allow to tcp port 25\ndefault deny log\n", {{7, "deny log to tcp port 25 from user alice"}});
  const policy::Decision alice = rules.decide(to_port(25), kAlice);
  EXPECT_EQ(alice.verdict, Verdict::kDeny);
  EXPECT_TRUE(alice.log);
  EXPECT_TRUE(is_run_time(alice.rule));
  EXPECT_EQ(id_of(alice.rule), 7U);

  const policy::Decision bob = rules.decide(to_port(25), kBob);
  EXPECT_EQ(bob.verdict, Verdict::kAllow);
  EXPECT_FALSE(bob.log);
  EXPECT_FALSE(is_run_time(bob.rule));
  EXPECT_EQ(bob.rule, 1U);

  const policy::Decision by_default = rules.decide(to_port(80), kAlice);
  EXPECT_EQ(by_default.verdict, Verdict::kDeny);
  EXPECT_TRUE(by_default.log);
  EXPECT_EQ(by_default.rule, 0U);
}

TEST(RuleChain, of_two_rules_of_run_time_the_newer_decides) {
  const RuleChain rules = chain("", {{9, "allow to tcp port 25 from user alice"}, {7, "deny to tcp port 25"}});
  EXPECT_EQ(rules.decide(to_port(25), kAlice).rule, kRunTime | 9);
  EXPECT_EQ(rules.decide(to_port(25), kBob).rule, kRunTime | 7);
}

TEST(RuleChain, remembers_audits_of_both_parts_in_the_order_of_asking) {
  const RuleChain rules = chain("audit allow to any\ndeny to tcp port 25\naudit deny to any\n",
                                {{9, "audit deny to tcp"}, {8, "deny to tcp port 80"}, {7, "audit deny to any"}});
  EXPECT_THAT(audited_by(rules.decide(to_port(25), {})), ElementsAre("run-time rule 9", "run-time rule 7", "line 1"));
  EXPECT_THAT(audited_by(rules.decide(to_port(80), {})), ElementsAre("run-time rule 9"));
}

TEST(RuleChain, counts_the_audits_beyond_the_limit_over_both_parts) {
  std::vector<StoredText> stored;
  for (int64_t id = 6; id >= 1; --id) stored.push_back({id, "audit deny to any"});
  std::string text;
  for (size_t i = 0; i < policy::kAuditedMax + 1; ++i) text += "audit allow to any\n";
  const RuleChain rules = chain(text, stored);
  const policy::Decision decision = rules.decide(to_port(25), {});
  EXPECT_THAT(decision.audited(), SizeIs(policy::kAuditedMax));
  EXPECT_EQ(decision.audited_left_out, 6 + 1U);
  EXPECT_EQ(decision.audited().back().line, 2U);
}

TEST(RuleChain, decides_as_one_text_with_the_rules_of_run_time_on_top) {
  const std::vector<StoredText> stored{{40, "allow to tcp port 20-24 from user bob"},
                                       {31, "audit deny from unknown"},
                                       {30, "deny in to tcp port 22"},
                                       {2, "deny to tcp port 25-30"}};
  const std::string text =
      "deny to tcp port 21\nallow log to tcp port 27\naudit allow in to any\ndeny from unknown\ndefault deny log in\n";
  const RuleChain rules = chain(text, stored);
  std::string joined;
  for (const auto& [id, rule] : stored) joined += rule + "\n";
  const policy::RuleSet as_one = file(joined + text);

  for (uint16_t port = 19; port < 32; ++port) {
    for (const Direction direction : {Direction::kOut, Direction::kIn}) {
      for (const policy::Subject& subject : {kAlice, kBob, policy::Subject()}) {
        const policy::Flow flow = to_port(port, direction);
        const policy::Decision decision = rules.decide(flow, subject), expected = as_one.decide(flow, subject);
        EXPECT_EQ(decision.verdict, expected.verdict) << port;
        EXPECT_EQ(decision.log, expected.log) << port;
        EXPECT_EQ(decision.audited().size(), expected.audited().size()) << port;
        EXPECT_EQ(rules.text_of(decision.rule, direction), as_one.text_of(expected.rule, direction)) << port;
      }
    }
  }
}

TEST(RuleChain, can_judge_an_unreadable_guest_when_nobody_must_be_known) {
  EXPECT_FALSE(chain("deny to any\n", {{1, "deny from unknown"}}).needs_readable_guest());
  EXPECT_TRUE(chain("deny to any\n", {{1, "deny from user alice"}}).needs_readable_guest());
  EXPECT_TRUE(chain("deny from unknown\n", {{1, "deny to any"}}).needs_readable_guest());
}

TEST(RuleChain, says_what_its_rules_need_whichever_part_they_stand_in) {
  EXPECT_FALSE(chain("", {{1, "deny to any"}}).needs_owner());
  EXPECT_TRUE(chain("", {{1, "deny from user alice"}}).needs_owner());
  EXPECT_TRUE(chain("", {{1, "deny from unknown"}}).needs_owner());
  EXPECT_TRUE(chain("deny from user alice\n", {{1, "deny to any"}}).needs_owner());
  EXPECT_FALSE(chain("deny from user alice\n", {{1, "deny to any"}}).needs_process());
  EXPECT_TRUE(chain("", {{1, "deny from process curl"}}).needs_process());
  EXPECT_TRUE(chain("deny from process curl\n", {{1, "deny to any"}}).needs_process());
  EXPECT_FALSE(chain("deny to any\n", {{1, "deny to any"}}).mentions_inbound());
  EXPECT_TRUE(chain("", {{1, "deny in to any"}}).mentions_inbound());
  EXPECT_TRUE(chain("default deny in\n", {{1, "deny to any"}}).mentions_inbound());
}

TEST(RuleChain, an_inbound_flow_meets_the_inbound_rules_of_both_parts) {
  const RuleChain rules =
      chain("deny in to tcp port 22\n", {{3, "deny in to tcp port 80"}, {2, "deny to tcp port 22"}});
  EXPECT_EQ(rules.decide(to_port(80, Direction::kIn), {}).rule, kRunTime | 3);
  EXPECT_EQ(rules.decide(to_port(22, Direction::kIn), {}).rule, 1U);
  EXPECT_EQ(rules.decide(to_port(81, Direction::kIn), {}).verdict, Verdict::kAllow);
}

TEST(RuleChain, skips_and_reports_a_stored_rule_that_does_not_compile_any_more) {
  const std::vector<StoredText> stored{{5, "deny to tcp port 25"},
                                       {4, "deny from user bob"},
                                       {3, "deny to tcp port @mail"},
                                       {2, "deny to tcp port 80 from user alice"}};
  const RuleChain before(file("set mail = { 465 }\n"), stored, kNames);
  EXPECT_THAT(before.skipped(), SizeIs(0));
  EXPECT_EQ(before.size(), 4U);

  const RuleChain after(file("allow to any\n"), stored, kWithoutBob);
  EXPECT_THAT(skipped_ids(after), ElementsAre(4, 3));
  EXPECT_EQ(after.skipped()[0].mistake.message, "'bob' is no user of the guest");
  EXPECT_EQ(after.size(), 3U);
  EXPECT_EQ(after.decide(to_port(25), kBob).rule, kRunTime | 5);
  EXPECT_EQ(after.decide(to_port(80), kAlice).rule, kRunTime | 2);
  EXPECT_EQ(after.decide(to_port(80), kBob).rule, 1U);
  EXPECT_EQ(after.text_of(kRunTime | 4, Direction::kOut), "");
}

TEST(RuleChain, skips_an_id_that_no_decision_could_carry) {
  const RuleChain rules = chain(
      "", {{int64_t{kRunTime}, "deny to any"}, {0, "deny to any"}, {-1, "deny to any"}, {kRunTime - 1, "deny to tcp"}});
  EXPECT_THAT(skipped_ids(rules), ElementsAre(int64_t{kRunTime}, 0, -1));
  EXPECT_EQ(rules.decide(to_port(25), {}).rule, UINT32_MAX);
  EXPECT_EQ(rules.text_of(UINT32_MAX, Direction::kOut), "deny to tcp");
}

TEST(RuleChain, with_other_rules_of_run_time_keeps_the_file_and_changes_nothing_else) {
  const RuleChain before = chain("set mail = { 25 }\ndeny to tcp port 21\n", {{1, "deny to tcp port @mail"}});
  const std::vector<StoredText> stored{{2, "deny to tcp port { 80, @mail }"}};
  const RuleChain after = before.with(stored, kNames);
  EXPECT_EQ(&after.file(), &before.file());
  EXPECT_EQ(after.decide(to_port(25), {}).rule, kRunTime | 2);
  EXPECT_EQ(after.decide(to_port(21), {}).rule, 2U);
  EXPECT_EQ(before.decide(to_port(25), {}).rule, kRunTime | 1);
  EXPECT_EQ(before.decide(to_port(80), {}).rule, 0U);
}

TEST(RuleChain, names_rules_for_people) {
  EXPECT_EQ(name_of(0), "default");
  EXPECT_EQ(name_of(7), "line 7");
  EXPECT_EQ(name_of(kRunTime | 12), "run-time rule 12");
  const RuleChain rules = chain("default deny\n", {{12, "deny  to any # all"}});
  EXPECT_EQ(rules.text_of(kRunTime | 12, Direction::kOut), "deny to any");
  EXPECT_EQ(rules.text_of(0, Direction::kOut), "default deny");
}

}  // namespace
}  // namespace hyperward::filter
