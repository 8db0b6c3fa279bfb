#include "policy/rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hyperward::policy {
namespace {

const Names kNames{.users = {{"root", 0}, {"alice", 1000}, {"bob", 1001}}, .groups = {{"staff", 50}, {"mail", 8}}};

RuleSet compiled(std::string_view text) {
  auto rules = compile(text, kNames);
  if (rules) return *std::move(rules);
  for (const Diagnostic& diagnostic : rules.error()) ADD_FAILURE() << render(diagnostic, text);
  return {};
}

std::string first_mistake(std::string_view text, const Names& names = kNames) {
  const auto rules = compile(text, names);
  return rules ? "no mistake" : to_string(rules.error().front());
}

Endpoint at(std::string_view address, uint16_t port) {
  return {*IpAddress::parse(address), port};
}

const Endpoint kGuest = at("10.9.0.2", 40000);

Flow to(std::string_view address, uint16_t port, Protocol protocol = Protocol::kTcp) {
  return {Direction::kOut, protocol, kGuest, at(address, port)};
}
Flow from(std::string_view address, uint16_t guest_port, Protocol protocol = Protocol::kTcp) {
  return {Direction::kIn, protocol, at("10.9.0.2", guest_port), at(address, 50000)};
}

const Subject kUnknown;
const Subject kAlice{.uid = 1000, .gid = 50, .pid = 4711, .comm = "curl"};
const Subject kAliceBySocket{.uid = 1000, .gid = {}, .pid = {}, .comm = {}};  // the process was not found
const Subject kBob{.uid = 1001, .gid = 8, .pid = 80, .comm = "exim4"};

bool denies(std::string_view text, const Flow& flow, const Subject& subject) {
  return compiled(text).decide(flow, subject).verdict == Verdict::kDeny;
}

// --- Which rule decides ---

TEST(rules, without_rules_everything_is_allowed) {
  for (const std::string_view text : {"", "\n\n", "# nothing\n", "set lan = { 10.0.0.0/8 }"}) {
    const RuleSet rules = compiled(text);
    EXPECT_EQ(rules.decide(to("192.0.2.1", 25), kUnknown).verdict, Verdict::kAllow) << text;
    EXPECT_EQ(rules.decide(from("192.0.2.1", 22), kUnknown).verdict, Verdict::kAllow) << text;
    EXPECT_FALSE(rules.needs_owner()) << text;
  }
}

TEST(rules, the_first_rule_that_matches_decides) {
  const RuleSet rules = compiled(
      "allow to tcp port 25 from user bob\n"
      "deny log to tcp port 25\n"
      "allow to any\n");
  EXPECT_EQ(rules.decide(to("192.0.2.1", 25), kBob).verdict, Verdict::kAllow);
  const Decision decision = rules.decide(to("192.0.2.1", 25), kAlice);
  EXPECT_EQ(decision.verdict, Verdict::kDeny);
  EXPECT_EQ(decision.rule, 2U);
  EXPECT_TRUE(decision.log);
  EXPECT_EQ(rules.decide(to("192.0.2.1", 80), kAlice).rule, 3U);
}

TEST(rules, the_default_decides_when_no_rule_matches_wherever_it_stands) {
  const RuleSet rules = compiled("allow to tcp port 443\ndefault deny log\n");
  const Decision decision = rules.decide(to("192.0.2.1", 80), kAlice);
  EXPECT_EQ(decision.verdict, Verdict::kDeny);
  EXPECT_TRUE(decision.log);
  EXPECT_EQ(decision.rule, 0U);
  EXPECT_EQ(rules.decide(to("192.0.2.1", 443), kAlice).verdict, Verdict::kAllow);
}

TEST(rules, an_audit_rule_is_remembered_and_decides_nothing) {
  const RuleSet rules = compiled("audit deny from unknown\naudit allow to tcp port 25\ndeny to tcp port 25\n");
  const Decision decision = rules.decide(to("192.0.2.1", 25), kUnknown);
  EXPECT_EQ(decision.verdict, Verdict::kDeny);
  EXPECT_EQ(decision.rule, 3U);
  ASSERT_EQ(decision.audited().size(), 2U);
  EXPECT_EQ(decision.audited()[0].line, 1U);
  EXPECT_EQ(decision.audited()[0].verdict, Verdict::kDeny);
  EXPECT_EQ(decision.audited()[1].line, 2U);
  EXPECT_EQ(decision.audited()[1].verdict, Verdict::kAllow);
}

TEST(rules, audit_rules_behind_the_deciding_one_are_not_remembered) {
  EXPECT_TRUE(compiled("deny to any\naudit deny to any\n").decide(to("192.0.2.1", 25), kAlice).audited().empty());
}

TEST(rules, audit_rules_beyond_the_limit_are_counted) {
  std::string text;
  for (size_t i = 0; i < kAuditedMax + 3; ++i) text += "audit deny to any\n";
  const Decision decision = compiled(text).decide(to("192.0.2.1", 25), kAlice);
  EXPECT_EQ(decision.audited().size(), kAuditedMax);
  EXPECT_EQ(decision.audited_left_out, 3U);
}

// --- The owner ---

TEST(rules, a_user_is_matched_by_name_number_range_and_list) {
  for (const std::string_view owner : {"user alice", "user { bob, alice }", "user 1000", "uid 1000", "uid 999-1000",
                                       "uid { 5, 1000 }", "user \"alice\"", "user { 1000-1000 }"}) {
    const std::string rule = fmt::format("deny from {}", owner);
    EXPECT_TRUE(denies(rule, to("192.0.2.1", 25), kAlice)) << rule;
  }
  EXPECT_FALSE(denies("deny from user bob", to("192.0.2.1", 25), kAlice));
  EXPECT_FALSE(denies("deny from uid 1001-1999", to("192.0.2.1", 25), kAlice));
}

TEST(rules, root_is_no_unknown_owner) {
  const Subject root{.uid = 0, .gid = 0, .pid = 1, .comm = "init"};
  EXPECT_TRUE(denies("deny from user root", to("192.0.2.1", 25), root));
  EXPECT_FALSE(denies("deny from unknown", to("192.0.2.1", 25), root));
  EXPECT_FALSE(denies("deny from user root", to("192.0.2.1", 25), kUnknown));
}

TEST(rules, groups_processes_and_pids_are_matched) {
  const Flow flow = to("192.0.2.1", 25);
  EXPECT_TRUE(denies("deny from group staff", flow, kAlice));
  EXPECT_FALSE(denies("deny from group staff", flow, kBob));
  EXPECT_TRUE(denies("deny from gid 40-60", flow, kAlice));
  EXPECT_TRUE(denies("deny from process curl", flow, kAlice));
  EXPECT_TRUE(denies("deny from process { \"exim4\", \"curl\" }", flow, kAlice));
  EXPECT_FALSE(denies("deny from process cur", flow, kAlice));
  EXPECT_TRUE(denies("deny from pid 4711", flow, kAlice));
  EXPECT_FALSE(denies("deny from pid 4712", flow, kAlice));
}

TEST(rules, a_process_name_of_15_bytes_is_compared_whole) {
  const Subject subject{.uid = 1, .gid = {}, .pid = {}, .comm = "systemd-resolve"};
  EXPECT_TRUE(denies("deny from process systemd-resolve", to("192.0.2.1", 53), subject));
  EXPECT_FALSE(denies("deny from process systemd-resolv", to("192.0.2.1", 53), subject));
}

TEST(rules, all_conditions_on_the_owner_must_hold) {
  const std::string_view rule = "deny from user alice process curl";
  EXPECT_TRUE(denies(rule, to("192.0.2.1", 25), kAlice));
  EXPECT_FALSE(denies(rule, to("192.0.2.1", 25), {.uid = 1000, .gid = {}, .pid = {}, .comm = "wget"}));
  EXPECT_FALSE(denies(rule, to("192.0.2.1", 25), {.uid = 1001, .gid = {}, .pid = {}, .comm = "curl"}));
}

TEST(rules, what_is_not_known_of_the_owner_matches_no_rule_that_asks_for_it) {
  const Flow flow = to("192.0.2.1", 25);
  for (const std::string_view owner : {"group staff", "gid 0-4294967295", "process curl", "pid 0-4294967295"}) {
    const std::string rule = fmt::format("deny from {}", owner);
    EXPECT_FALSE(denies(rule, flow, kAliceBySocket)) << rule;
    EXPECT_FALSE(denies(rule, flow, kUnknown)) << rule;
  }
  EXPECT_TRUE(denies("deny from user alice", flow, kAliceBySocket));
  EXPECT_FALSE(denies("deny from uid 0-4294967295", flow, kUnknown));
}

TEST(rules, unknown_is_an_owner_without_a_uid) {
  EXPECT_TRUE(denies("deny from unknown", to("192.0.2.1", 25), kUnknown));
  EXPECT_FALSE(denies("deny from unknown", to("192.0.2.1", 25), kAliceBySocket));
}

TEST(rules, any_owner_is_everyone_the_unknown_included) {
  EXPECT_TRUE(denies("deny from any", to("192.0.2.1", 25), kUnknown));
  EXPECT_TRUE(denies("deny from any", to("192.0.2.1", 25), kAlice));
}

// --- The destination ---

TEST(rules, ports_are_numbers_ranges_lists_sets_and_names) {
  const std::string_view sets = "set mail = { smtp, 465-466 }\nset all = { @mail, 587 }\n";
  const auto denied = [&](std::string_view ports, uint16_t port) {
    return denies(fmt::format("{}deny to tcp port {}", sets, ports), to("192.0.2.1", port), kAlice);
  };
  EXPECT_TRUE(denied("25", 25));
  EXPECT_FALSE(denied("25", 24));
  EXPECT_TRUE(denied("5000-6000", 5000) && denied("5000-6000", 6000));
  EXPECT_FALSE(denied("5000-6000", 4999) || denied("5000-6000", 6001));
  EXPECT_TRUE(denied("{ 53, 5000-6000 }", 5500));
  EXPECT_TRUE(denied("@mail", 466));
  EXPECT_TRUE(denied("{ @all, https }", 25) && denied("{ @all, https }", 443) && denied("@all", 587));
  EXPECT_TRUE(denied("0", 0) && denied("65535", 65535) && denied("0-65535", 1234));
  EXPECT_FALSE(denied("@all", 80));
}

TEST(rules, large_sets_of_overlapping_values_find_each_of_them) {
  std::string text = "deny to tcp port { 10-30, 20-25, 28-40";
  for (int port = 1000; port < 3000; port += 10) text += fmt::format(", {}-{}", port, port + 3);
  const RuleSet rules = compiled(text + " }");
  for (uint16_t port = 0; port < 4000; ++port) {
    const bool wanted = (port >= 10 && port <= 40) || (port >= 1000 && port < 3000 && port % 10 <= 3);
    ASSERT_EQ(rules.decide(to("192.0.2.1", port), kAlice).verdict == Verdict::kDeny, wanted) << port;
  }
}

TEST(rules, protocols_are_names_numbers_lists_and_any) {
  EXPECT_TRUE(denies("deny to udp", to("192.0.2.1", 53, Protocol::kUdp), kAlice));
  EXPECT_FALSE(denies("deny to udp", to("192.0.2.1", 53, Protocol::kTcp), kAlice));
  EXPECT_TRUE(denies("deny to icmp", to("192.0.2.1", 7, Protocol::kIcmp), kAlice));
  EXPECT_TRUE(denies("deny to icmp6", to("2001:db8::1", 7, Protocol::kIcmpV6), kAlice));
  EXPECT_TRUE(denies("deny to 47", to("192.0.2.1", 0, Protocol{47}), kAlice));
  EXPECT_TRUE(denies("deny to { tcp, udp } port 53", to("192.0.2.1", 53, Protocol::kUdp), kAlice));
  EXPECT_TRUE(denies("deny to sctp port 80", to("192.0.2.1", 80, Protocol::kSctp), kAlice));
  EXPECT_TRUE(denies("deny to any", to("192.0.2.1", 0, Protocol{255}), kAlice));
}

TEST(rules, addresses_are_single_ones_prefixes_lists_and_sets) {
  const std::string_view sets = "set lan = { 10.0.0.0/8, fd00::/8 }\nset ours = { @lan, 192.0.2.7 }\n";
  const auto denied = [&](std::string_view addresses, std::string_view destination) {
    return denies(fmt::format("{}deny to {}", sets, addresses), to(destination, 80), kAlice);
  };
  EXPECT_TRUE(denied("192.0.2.1", "192.0.2.1"));
  EXPECT_FALSE(denied("192.0.2.1", "192.0.2.2"));
  EXPECT_TRUE(denied("tcp 10.0.0.0/8", "10.255.255.255"));
  EXPECT_FALSE(denied("tcp 10.0.0.0/8", "11.0.0.0") || denied("tcp 10.0.0.0/8", "9.255.255.255"));
  EXPECT_TRUE(denied("@lan", "fdff::1") && denied("@ours", "192.0.2.7") && denied("@ours", "10.1.1.1"));
  EXPECT_TRUE(denied("tcp { @lan, 2001:db8::/33 } port 80", "2001:db8:7fff::1"));
  EXPECT_FALSE(denied("tcp { @lan, 2001:db8::/33 } port 80", "2001:db8:8000::1"));
  EXPECT_TRUE(denied("2001:db8::1/128", "2001:db8::1") && denied("0.0.0.0/0", "255.255.255.255"));
}

TEST(rules, not_means_every_other_address_of_either_family) {
  const std::string_view rule = "deny to tcp not { 10.0.0.0/8, fd00::/8 } port 25";
  EXPECT_TRUE(denies(rule, to("192.0.2.1", 25), kAlice));
  EXPECT_TRUE(denies(rule, to("2001:db8::1", 25), kAlice));
  EXPECT_FALSE(denies(rule, to("10.1.2.3", 25), kAlice));
  EXPECT_FALSE(denies(rule, to("fd00::1", 25), kAlice));
  EXPECT_FALSE(denies(rule, to("192.0.2.1", 26), kAlice));
}

TEST(rules, an_ipv6_prefix_matches_no_ipv4_address) {
  for (const std::string_view prefix : {"::/0", "::/64", "::/80"}) {
    EXPECT_FALSE(denies(fmt::format("deny to {}", prefix), to("192.0.2.1", 25), kAlice)) << prefix;
    EXPECT_TRUE(denies(fmt::format("deny to {}", prefix), to("::1", 25), kAlice)) << prefix;
  }
  EXPECT_TRUE(denies("deny to ::/64", to("::1:0:0:1", 25), kAlice));
  EXPECT_TRUE(denies("deny to ::/0", to("ffff::1", 25), kAlice));
  EXPECT_FALSE(denies("deny to 0.0.0.0/0", to("2001:db8::1", 25), kAlice));
}

TEST(rules, from_and_to_stand_in_any_order) {
  for (const std::string_view rule :
       {"deny to tcp 192.0.2.0/24 port 25 from user alice", "deny from user alice to tcp 192.0.2.0/24 port 25"}) {
    EXPECT_TRUE(denies(rule, to("192.0.2.1", 25), kAlice)) << rule;
    EXPECT_FALSE(denies(rule, to("192.0.2.1", 25), kBob)) << rule;
    EXPECT_FALSE(denies(rule, to("192.0.3.1", 25), kAlice)) << rule;
  }
}

// --- Inbound flows ---

TEST(rules, a_rule_is_about_flows_that_the_guest_begins_unless_it_says_in) {
  EXPECT_FALSE(denies("deny to any", from("192.0.2.1", 22), kBob));
  EXPECT_TRUE(denies("deny in to any", from("192.0.2.1", 22), kBob));
  EXPECT_FALSE(denies("deny in to any", to("192.0.2.1", 22), kBob));
  EXPECT_TRUE(denies("deny out to any", to("192.0.2.1", 22), kBob));
}

TEST(rules, each_direction_has_its_default) {
  const RuleSet out = compiled("default deny");
  EXPECT_EQ(out.decide(to("192.0.2.1", 80), kBob).verdict, Verdict::kDeny);
  EXPECT_EQ(out.decide(from("192.0.2.1", 80), kBob).verdict, Verdict::kAllow);
  EXPECT_FALSE(out.mentions_inbound());
  const RuleSet in = compiled("default deny in\ndefault allow out");
  EXPECT_EQ(in.decide(to("192.0.2.1", 80), kBob).verdict, Verdict::kAllow);
  EXPECT_EQ(in.decide(from("192.0.2.1", 80), kBob).verdict, Verdict::kDeny);
  EXPECT_TRUE(in.mentions_inbound());
}

TEST(rules, of_an_inbound_flow_to_is_the_guest_and_peer_the_world) {
  EXPECT_TRUE(denies("deny in to tcp port 22 from user bob", from("192.0.2.1", 22), kBob));
  EXPECT_FALSE(denies("deny in to tcp port 22 from user bob", from("192.0.2.1", 23), kBob));
  EXPECT_FALSE(denies("deny in to tcp port 50000", from("192.0.2.1", 22), kBob));
  EXPECT_TRUE(denies("deny in to tcp 10.9.0.2 port 22", from("192.0.2.1", 22), kBob));
  EXPECT_TRUE(denies("deny in to tcp port 22 peer not 10.0.0.0/8", from("192.0.2.1", 22), kBob));
  EXPECT_FALSE(denies("deny in to tcp port 22 peer not 10.0.0.0/8", from("10.0.0.1", 22), kBob));
  EXPECT_TRUE(denies("deny in peer { 192.0.2.1, 192.0.2.3 }", from("192.0.2.1", 22), kBob));
}

// --- What a set of rules tells of itself ---

TEST(rules, say_what_they_need_to_know_of_an_owner) {
  const auto needs = [](std::string_view text) {
    const RuleSet rules = compiled(text);
    EXPECT_EQ(rules.needs_known_owner(), rules.needs_owner() && !text.ends_with("unknown")) << text;
    return std::pair(rules.needs_owner(), rules.needs_process());
  };
  EXPECT_EQ(needs("deny to tcp port 25"), std::pair(false, false));
  EXPECT_EQ(needs("deny from user alice"), std::pair(true, false));
  EXPECT_EQ(needs("audit deny from unknown"), std::pair(true, false));
  EXPECT_EQ(needs("deny from process curl"), std::pair(true, true));
  EXPECT_EQ(needs("deny from group staff"), std::pair(true, true));
  EXPECT_EQ(needs("deny from pid 1"), std::pair(true, true));
}

TEST(rules, give_back_their_text_by_line) {
  const RuleSet rules = compiled(
      "set mail = { 25 }\n\n"
      "  deny log\tto tcp port @mail from process \"a  # b\"   # why\r\n"
      "audit deny to tcp port {\n  25,  # smtp\n  465\n} from any\n"
      "default deny log in\n");
  EXPECT_EQ(rules.text_of(3, Direction::kOut), "deny log to tcp port @mail from process \"a  # b\"");
  EXPECT_EQ(rules.text_of(4, Direction::kOut), "audit deny to tcp port { 25, 465 } from any");
  EXPECT_EQ(rules.text_of(0, Direction::kOut), "default allow");
  EXPECT_EQ(rules.text_of(0, Direction::kIn), "default deny log in");
  EXPECT_EQ(rules.rule_at_line(1), nullptr);
  EXPECT_EQ(rules.rule_at_line(99), nullptr);
  ASSERT_NE(rules.rule_at_line(4), nullptr);
  EXPECT_TRUE(rules.rule_at_line(4)->audit);
}

// --- The language ---

TEST(rules, lists_go_over_lines_and_may_end_with_a_comma) {
  EXPECT_TRUE(denies("set mail = {  # what spam uses\n  25,\n  # encrypted\n  465,\n}\ndeny to tcp port @mail\n",
                     to("192.0.2.1", 465), kAlice));
}

TEST(rules, lines_may_end_as_on_other_systems) {
  EXPECT_TRUE(denies("set mail = { 25 }\r\n\r\ndeny to tcp port @mail\r\n", to("192.0.2.1", 25), kAlice));
}

TEST(rules, a_quoted_word_is_never_a_keyword_or_a_number) {
  const Names names{.users = {{"any", 7}, {"port", 8}}, .groups = {}};
  const auto rules = compile("deny from user { \"any\", \"port\" }", names);
  ASSERT_TRUE(rules);
  const Subject any{.uid = 7, .gid = {}, .pid = {}, .comm = {}};
  EXPECT_EQ(rules->decide(to("192.0.2.1", 25), any).verdict, Verdict::kDeny);
  EXPECT_EQ(first_mistake("deny from user \"1000\""), "rules:1:16: '1000' is no user of the guest");
}

TEST(rules, a_set_may_hold_users_or_processes_as_well) {
  const std::string_view set = "set staff = { alice, bob }\n";
  EXPECT_TRUE(denies(fmt::format("{}deny from user @staff", set), to("192.0.2.1", 25), kBob));
  EXPECT_FALSE(denies(fmt::format("{}deny from process @staff", set), to("192.0.2.1", 25), kBob));
}

// --- Limits ---

TEST(limits, texts_beyond_them_are_rejected) {
  EXPECT_EQ(first_mistake(std::string(kTextMaxBytes + 1, '#')),
            "rules:1:1: the text has 4194305 bytes, 4194304 are the most");
  std::string rules, sets;
  for (size_t i = 0; i <= kRulesMax; ++i) rules += "deny to any\n";
  EXPECT_EQ(first_mistake(rules), "rules:10001:1: more than 10000 rules");
  for (size_t i = 0; i <= kSetsMax; ++i) sets += fmt::format("set s{} = {{ 1 }}\n", i);
  EXPECT_EQ(first_mistake(sets), "rules:1001:1: more than 1000 sets");
}

TEST(limits, sets_that_double_sets_are_stopped) {
  std::string text = "set s0 = { 1, 2 }\n";
  for (int i = 1; i < 40; ++i) text += fmt::format("set s{} = {{ @s{}, @s{} }}\n", i, i - 1, i - 1);
  EXPECT_THAT(first_mistake(text), testing::HasSubstr("more than 1000000 values"));
}

TEST(limits, mistakes_are_reported_up_to_a_number) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "deny to tcp prot\ndeny from user nobody\n";
  const auto rules = compile(text, kNames);
  ASSERT_FALSE(rules);
  EXPECT_EQ(rules.error().size(), kDiagnosticsMax);
  std::string list = "deny to tcp port { 1";
  for (int i = 0; i < 100'000; ++i) list += ", x";
  const auto one_rule = compile(list + " }", kNames);
  ASSERT_FALSE(one_rule);
  EXPECT_EQ(one_rule.error().size(), kDiagnosticsMax);
}

TEST(limits, a_mistake_at_the_end_of_a_line_of_megabytes_costs_one_walk_over_it) {
  std::string text = "deny to tcp port { 1";
  for (int i = 0; i < 1'000'000; ++i) text += ",1";
  EXPECT_EQ(first_mistake(text + " x }"), "rules:1:2000022: expected ',' or '}' after '1', found 'x'");
}

TEST(limits, values_are_counted_over_all_rules) {
  std::string list = "deny to tcp port { 1";
  for (size_t i = 1; i < kElementsMax / 4 - 1; ++i) list += ",1";  // and tcp is a value too
  list += " }\n";
  const std::string full = list + list + list + list;
  EXPECT_EQ(first_mistake(full), "no mistake");
  EXPECT_EQ(first_mistake(full + "deny to tcp port 1\n"), "rules:5:9: more than 1000000 values, with sets written out");
}

TEST(limits, a_set_used_by_every_rule_is_kept_once) {
  std::string text = "set large = { 10.0.0.0/8";
  for (int i = 0; i < 50'000; ++i) text += fmt::format(", 192.{}.{}.1", i / 256, i % 256);
  text += " }\n";
  for (size_t i = 0; i < kRulesMax; ++i) text += "deny to tcp @large port 25\n";
  EXPECT_EQ(compiled(text).rules().size(), kRulesMax);
}

// --- Names ---

TEST(Names, are_read_from_passwd_and_group) {
  const Names names = Names::from_files(
      "root:x:0:0:root:/root:/bin/bash\n"
      "# a comment\n"
      "alice:x:1000:1000::/home/alice:/bin/sh\n"
      "alice:x:6:6::/:/bin/sh\n"
      "broken:x:12a:1::/:\n"
      ":x:5:5::/:\n"
      "+::::::\n"
      "bob:x:1001:1001::/:/bin/sh",
      "root:x:0:\nstaff:x:50:alice,bob\n");
  EXPECT_THAT(names.users,
              testing::ElementsAre(testing::Pair("alice", 1000), testing::Pair("bob", 1001), testing::Pair("root", 0)));
  EXPECT_THAT(names.groups, testing::ElementsAre(testing::Pair("root", 0), testing::Pair("staff", 50)));
}

}  // namespace
}  // namespace hyperward::policy
