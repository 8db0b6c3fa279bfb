#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "policy/rules.h"

namespace hyperward::policy {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

const Names kNames{.users = {{"alice", 1000}, {"bob", 1001}}, .groups = {{"staff", 50}}};

RuleSet file(std::string_view text) {
  auto rules = compile(text, kNames);
  if (rules) return *std::move(rules);
  ADD_FAILURE() << render(rules.error().front(), text);
  return {};
}

RunTimeRule compiled(std::string_view text, const RuleSet& below = {}) {
  auto rule = compile_rule(text, kNames, below);
  if (rule) return *std::move(rule);
  ADD_FAILURE() << render(rule.error().front(), text);
  return {};
}

std::string first_mistake(std::string_view text, const RuleSet& below = {}) {
  const auto rule = compile_rule(text, kNames, below);
  return rule ? "no mistake" : to_string(rule.error().front(), "rule");
}

Flow to(std::string_view address, uint16_t port) {
  return {Direction::kOut, Protocol::kTcp, {*IpAddress::parse("10.9.0.2"), 40000}, {*IpAddress::parse(address), port}};
}

const Subject kAlice{.uid = 1000, .gid = 50, .pid = 4711, .comm = "curl"};

TEST(compile_rule, gives_the_rule_and_how_long_it_stays) {
  const RunTimeRule added = compiled("audit deny in to tcp port 25 from user alice for 30m");
  EXPECT_EQ(added.duration, minutes(30));
  EXPECT_EQ(added.rule.text, "audit deny in to tcp port 25 from user alice");
  EXPECT_EQ(added.rule.direction, Direction::kIn);
  EXPECT_EQ(added.rule.verdict, Verdict::kDeny);
  EXPECT_TRUE(added.rule.audit);
  EXPECT_FALSE(compiled("deny to tcp port 25").duration.has_value());
}

TEST(compile_rule, takes_durations_from_a_second_to_a_year) {
  const auto duration = [](std::string_view words) {
    return compiled(fmt::format("deny to any for {}", words)).duration;
  };
  EXPECT_EQ(duration("1s"), seconds(1));
  EXPECT_EQ(duration("90m"), minutes(90));
  EXPECT_EQ(duration("1h30m"), minutes(90));
  EXPECT_EQ(duration("1d2h3m4s"), days(1) + hours(2) + minutes(3) + seconds(4));
  EXPECT_EQ(duration("0h5s"), seconds(5));
  EXPECT_EQ(duration("365d"), days(365));
  EXPECT_EQ(duration("31536000s"), days(365));
  for (const std::string_view words : {"365d1s", "31536001s", "366d", "4294967295d", "4294967296s", "0s", "0d0h",
                                       "1s1s", "1m1h", "1", "s", "1w", "1.5h", "-5s", "+5s", "1h30"})
    EXPECT_FALSE(compile_rule(fmt::format("deny to any for {}", words), kNames)) << words;
}

TEST(compile_rule, gives_a_text_to_keep_that_means_the_same_and_stays_as_it_is) {
  for (const std::string_view text :
       {"  deny log\tto tcp port {25,  465} from process \"a  # b\"  for 1h # why\r\n", "deny from user alice",
        "deny from process \"for 30m\" for 30m", "deny to any for 1s"}) {
    const RunTimeRule added = compiled(text);
    const RunTimeRule again = compiled(added.rule.text);
    EXPECT_EQ(again.rule.text, added.rule.text);
    EXPECT_FALSE(again.duration.has_value());
  }
  EXPECT_EQ(compiled("  deny log\tto tcp port {25,  465} from process \"a  # b\"  for 1h # why\r\n").rule.text,
            "deny log to tcp port {25, 465} from process \"a  # b\"");
}

TEST(compile_rule, uses_the_sets_of_the_file) {
  RuleSet below = file(std::string("set mail = { 25 }\nset secure = { @mail, 465 }\nset lan = { 10.0.0.0/8 }\n"));
  EXPECT_EQ(compiled("deny to tcp not @lan port @secure for 1h", below).rule.text, "deny to tcp not @lan port @secure");
  EXPECT_EQ(first_mistake("deny to tcp port @mail"), "rule:1:18: no set 'mail' is defined in the file of rules");

  // The file's text has gone by now, and the value may move.
  const RuleSet moved = std::move(below);
  EXPECT_EQ(first_mistake("deny to tcp port @secure", moved), "no mistake");
}

TEST(compile_rule, refuses_a_text_beyond_its_limit) {
  const std::string text = "deny to tcp port 25 from process \"" + std::string(kRuleMaxBytes, 'x');
  EXPECT_EQ(first_mistake(text), "rule:1:1: the text has 4130 bytes, 4096 are the most");
}

TEST(compile_run_time_rules, asks_them_in_the_order_given) {
  const std::vector<std::string_view> texts{"allow to tcp port 25 from user alice", "deny to tcp port 25"};
  const RunTimeRules result = compile_run_time_rules(texts, kNames);
  EXPECT_TRUE(result.skipped.empty());
  EXPECT_EQ(result.rules.decide(to("192.0.2.1", 25), kAlice).rule, 1U);
  EXPECT_EQ(result.rules.decide(to("192.0.2.1", 25), {}).rule, 2U);
  EXPECT_EQ(result.rules.decide(to("192.0.2.1", 80), {}).rule, 0U);
  EXPECT_EQ(result.rules.text_of(2, Direction::kOut), "deny to tcp port 25");
}

TEST(compile_run_time_rules, leaves_out_what_is_wrong_and_nothing_else) {
  const RuleSet below = file("set mail = { 25 }\nset mixed = { 25, alice }\n");
  const std::vector<std::string_view> texts{
      // Of these some values are laid out before the mistake is met, of the third what the second has laid out.
      "deny from process curl user carol", "deny to tcp port @mixed", "deny to tcp port @mixed",
      // The rule is right, what stands behind it is not.
      "deny to tcp port @mail for ever", "deny in to any peer 10.0.0.0/8 x",
      // Right.
      "deny to tcp port @mail"};
  const RunTimeRules result = compile_run_time_rules(texts, kNames, below);
  ASSERT_EQ(result.skipped.size(), 5U);
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(result.skipped[i].index, i);
  EXPECT_EQ(result.skipped[0].mistake.message, "'carol' is no user of the guest");
  ASSERT_EQ(result.rules.rules().size(), 1U);
  EXPECT_EQ(result.rules.rules()[0].line, 6U);
  EXPECT_EQ(result.rules.decide(to("192.0.2.1", 25), kAlice).rule, 6U);
  EXPECT_EQ(result.rules.decide(to("192.0.2.1", 80), kAlice).rule, 0U);
  EXPECT_FALSE(result.rules.needs_owner());
  EXPECT_FALSE(result.rules.mentions_inbound());
}

TEST(compile_run_time_rules, leaves_out_those_beyond_the_limits) {
  std::vector<std::string_view> texts(kRulesMax + 2, "deny to any");
  const RunTimeRules many = compile_run_time_rules(texts, kNames);
  EXPECT_EQ(many.rules.rules().size(), kRulesMax);
  ASSERT_EQ(many.skipped.size(), 2U);
  EXPECT_EQ(many.skipped[0].mistake.message, "more than 10000 rules");

  std::string large = "set large = { 1";
  for (size_t i = 1; i < kElementsMax * 2 / 5; ++i) large += ",1";
  const RuleSet below = file(large + " }");
  texts = {"deny to tcp port { @large, 2 }", "deny to tcp port { @large, 3 }", "deny to tcp port { @large, 4 }",
           "deny to tcp port 5"};
  const RunTimeRules wide = compile_run_time_rules(texts, kNames, below);
  ASSERT_EQ(wide.skipped.size(), 1U);
  EXPECT_EQ(wide.skipped[0].index, 2U);
  EXPECT_EQ(wide.rules.decide(to("192.0.2.1", 5), kAlice).rule, 4U);
}

}  // namespace
}  // namespace hyperward::policy
