#include "detect/response.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "policy/rules.h"

namespace hyperward::detect {
namespace {

using guest::How;
using guest::Reason;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::EndsWith;
using testing::HasSubstr;

constexpr Time kNow{hours(1000)};
const IpAddress kTarget = IpAddress::v4(203, 0, 113, 9);

const Culprit kProcess{.uid = 1000,
                       .process = guest::ProcessId{.pid = 4711, .comm = "nc", .start_time_ns = 1},
                       .how = How::kCredentials,
                       .reason = Reason::kNone};
const Culprit kUser{.uid = 1000, .process = {}, .how = How::kWalk, .reason = Reason::kNone};
const Culprit kBySocket{.uid = 1000, .process = {}, .how = How::kSocketOnly, .reason = Reason::kNotConfirmed};
const Culprit kUnknown{.uid = {}, .process = {}, .how = How::kUnknown, .reason = Reason::kNoSocket};

Finding finding(Kind kind, const Culprit& culprit = kUser, uint16_t port = 25, Protocol protocol = Protocol::kTcp) {
  Finding finding{.kind = kind, .time = kNow, .culprit = culprit, .example = {}, .figures = {}, .text = {}};
  finding.example = {.vlan_id = 0,
                     .protocol = protocol,
                     .source = {IpAddress::v4(10, 9, 0, 2), 40000},
                     .destination = {kTarget, port}};
  return finding;
}

Finding horizontal_scan(const Culprit& culprit = kUser, uint16_t port = 25) {
  Finding scan = finding(Kind::kHorizontalScan, culprit, port);
  scan.port = port;
  return scan;
}

ResponsePolicy policy_of(Action action) {
  ResponsePolicy policy = ResponsePolicy::defaults();
  policy.actions.fill(action);
  return policy;
}

Protected never(std::vector<uint16_t> ports, std::string_view networks = "") {
  auto parsed = Networks::parse(networks);
  HW_CHECK(parsed.has_value());
  return {.uids = {}, .processes = {}, .ports = std::move(ports), .networks = *std::move(parsed)};
}

Plan plan(const Finding& finding, const ResponsePolicy& policy = policy_of(Action::kDenyPort)) {
  Plan plan = Responder(policy).plan(finding);
  EXPECT_NE(plan.why, "");
  EXPECT_EQ(plan.rule.empty(), plan.action == Action::kAlert || plan.action == Action::kNothing);
  EXPECT_TRUE(policy::compile(plan.rule, {})) << plan.rule;
  return plan;
}
std::string rule(const Finding& finding, const ResponsePolicy& policy = policy_of(Action::kDenyPort)) {
  return plan(finding, policy).rule;
}

std::string why_no_rule(const Finding& finding, const ResponsePolicy& policy) {
  const Plan made = plan(finding, policy);
  EXPECT_EQ(made.action, Action::kAlert);
  EXPECT_EQ(made.rule, "");
  return made.why;
}

TEST(Response, names_of_actions_lead_back_to_them) {
  for (const Action action :
       {Action::kNothing, Action::kAlert, Action::kAuditRule, Action::kDenyPort, Action::kDenyOwner})
    EXPECT_EQ(action_from(to_string(action)), action);
  EXPECT_EQ(to_string(Action::kAuditRule), "audit");
  EXPECT_EQ(action_from("deny"), std::nullopt);
}

TEST(Response, by_default_cuts_what_it_found_itself_for_half_an_hour) {
  Responder responder(ResponsePolicy::defaults());
  const Plan scan = responder.plan(horizontal_scan());
  EXPECT_EQ(scan.action, Action::kDenyPort);
  EXPECT_EQ(scan.duration, minutes(30));
  EXPECT_FALSE(scan.narrowed);
  for (const Kind kind : {Kind::kIds, Kind::kListed}) {
    const Plan alert = responder.plan(finding(kind));
    EXPECT_EQ(alert.action, Action::kAlert);
    EXPECT_EQ(alert.rule, "");
  }
}

TEST(Response, does_nothing_when_told_so) {
  EXPECT_EQ(plan(horizontal_scan(), policy_of(Action::kNothing)).action, Action::kNothing);
  EXPECT_EQ(plan(horizontal_scan(), policy_of(Action::kAlert)).why, "the policy for horizontal-scan is alert");
}

// --- What is cut ---

TEST(Response, cuts_the_port_of_a_horizontal_scan) {
  EXPECT_EQ(rule(horizontal_scan()), "deny log to tcp port 25 from uid 1000");
}

TEST(Response, cuts_the_protocol_of_a_scan_over_ports_and_addresses) {
  EXPECT_EQ(rule(finding(Kind::kHorizontalScan)), "deny log to tcp from uid 1000");
  EXPECT_EQ(rule(finding(Kind::kHorizontalScan, kUnknown, 77, Protocol::kIcmp)), "deny log to icmp from unknown");
}

TEST(Response, cuts_the_port_of_a_burst_on_every_server) {
  EXPECT_EQ(rule(finding(Kind::kMailBurst, kUser, 587)), "deny log to tcp port 587 from uid 1000");
  Finding logins = finding(Kind::kLoginBurst, kUser, 22);
  logins.remote = kTarget;
  logins.port = 22;
  EXPECT_EQ(rule(logins), "deny log to tcp port 22 from uid 1000");
}

TEST(Response, cuts_the_address_of_a_vertical_scan_and_of_a_udp_flood) {
  Finding scan = finding(Kind::kVerticalScan);
  scan.remote = kTarget;
  EXPECT_EQ(rule(scan), "deny log to tcp 203.0.113.9 from uid 1000");
  EXPECT_EQ(rule(finding(Kind::kUdpFlood, kUser, 9, Protocol::kUdp)), "deny log to udp 203.0.113.9 from uid 1000");
}

TEST(Response, cuts_the_service_under_a_syn_flood) {
  EXPECT_EQ(rule(finding(Kind::kSynFlood, kUser, 80)), "deny log to tcp 203.0.113.9 port 80 from uid 1000");
  EXPECT_EQ(rule(finding(Kind::kIds, kUser, 80)), "deny log to tcp 203.0.113.9 port 80 from uid 1000");
}

TEST(Response, cuts_a_listed_address_for_every_protocol) {
  EXPECT_EQ(rule(finding(Kind::kListed)), "deny log to 203.0.113.9 from uid 1000");
}

TEST(Response, cuts_the_owner_altogether_when_told_so) {
  ResponsePolicy policy = policy_of(Action::kDenyOwner);
  EXPECT_EQ(rule(horizontal_scan(), policy), "deny log from uid 1000");
  policy.scope = Scope::kProcess;
  EXPECT_EQ(rule(horizontal_scan(kProcess), policy), "deny log from uid 1000 pid 4711");
  EXPECT_EQ(plan(horizontal_scan(kProcess), policy).action, Action::kDenyOwner);
}

TEST(Response, an_audit_rule_shows_what_a_cut_would_hit) {
  const Plan audit = plan(horizontal_scan(), policy_of(Action::kAuditRule));
  EXPECT_EQ(audit.rule, "audit deny to tcp port 25 from uid 1000");
  EXPECT_EQ(audit.action, Action::kAuditRule);
}

// Of a web server that is told of by an IDS: the flow came from outside.
Finding visit(const Culprit& culprit = kUser) {
  Finding visit = finding(Kind::kIds, culprit);
  visit.direction = policy::Direction::kIn;
  visit.example.source.port = 80;
  visit.example.destination.port = 50000;
  visit.remote = kTarget;
  visit.port = 80;
  return visit;
}

TEST(Response, to_a_flow_that_others_began_cuts_their_address_from_the_service) {
  EXPECT_EQ(rule(visit()), "deny log in to tcp port 80 peer 203.0.113.9 from uid 1000");
  EXPECT_EQ(rule(visit(kUnknown)), "deny log in to tcp port 80 peer 203.0.113.9 from unknown");
  EXPECT_EQ(rule(visit(kBySocket)), "deny log in to tcp port 80 peer 203.0.113.9 from uid 1000");
  EXPECT_THAT(plan(visit(kBySocket)).why, EndsWith(": it is cut from this one peer"));
  EXPECT_EQ(rule(visit(), policy_of(Action::kDenyOwner)), "deny log in from uid 1000");
  EXPECT_EQ(rule(visit(), policy_of(Action::kAuditRule)),
            "audit deny in to tcp port 80 peer 203.0.113.9 from uid 1000");
}

TEST(Response, to_a_flow_that_others_began_leaves_the_guests_protected_port_alone) {
  ResponsePolicy policy = policy_of(Action::kDenyPort);
  policy.never = never({80});
  EXPECT_EQ(why_no_rule(visit(), policy), "port 80 is protected");
  policy.never = never({50000});
  EXPECT_EQ(plan(visit(), policy).action, Action::kDenyPort);
}

// --- Who is cut ---

TEST(Response, cuts_the_user_or_the_process_as_the_scope_says) {
  ResponsePolicy policy = policy_of(Action::kDenyPort);
  EXPECT_EQ(rule(horizontal_scan(kProcess), policy), "deny log to tcp port 25 from uid 1000");
  policy.scope = Scope::kProcess;
  EXPECT_EQ(rule(horizontal_scan(kProcess), policy), "deny log to tcp port 25 from uid 1000 pid 4711");
  EXPECT_EQ(plan(horizontal_scan(kProcess), policy).why,
            "process nc (pid 4711) of uid 1000 holds the socket (by credentials)");
}

TEST(Response, cuts_the_user_when_no_single_process_stands_out) {
  ResponsePolicy policy = policy_of(Action::kDenyPort);
  policy.scope = Scope::kProcess;
  EXPECT_EQ(rule(horizontal_scan(kUser), policy), "deny log to tcp port 25 from uid 1000");
  EXPECT_THAT(plan(horizontal_scan(kUser), policy).why, HasSubstr("no single process stands out"));
}

TEST(Response, an_owner_is_beyond_doubt_when_he_was_shown_to_hold_the_socket) {
  for (const How how : {How::kCredentials, How::kWaitQueue, How::kIndex, How::kWalk})
    EXPECT_TRUE(confirmed({.uid = 0, .process = {}, .how = how, .reason = Reason::kNone}));
  for (const How how : {How::kListener, How::kSocketOnly, How::kUnknown})
    EXPECT_FALSE(confirmed({.uid = 0, .process = {}, .how = how, .reason = Reason::kNone}));
  EXPECT_FALSE(confirmed({.uid = 0, .process = {}, .how = How::kWalk, .reason = Reason::kAmbiguous}));
  EXPECT_FALSE(confirmed({.uid = {}, .process = {}, .how = How::kWalk, .reason = Reason::kNone}));
}

TEST(Response, cuts_unknown_owners_from_the_common_target_alone) {
  for (const Action action : {Action::kDenyPort, Action::kDenyOwner}) {
    const Plan made = plan(horizontal_scan(kUnknown), policy_of(action));
    EXPECT_EQ(made.rule, "deny log to tcp port 25 from unknown");
    EXPECT_EQ(made.action, Action::kDenyPort);
    EXPECT_TRUE(made.narrowed);
    EXPECT_EQ(made.why,
              "the owner is unknown (no socket of the guest has these endpoints): unknown owners alone are cut, from "
              "the target alone");
  }
}

TEST(Response, cuts_a_user_of_whom_only_the_socket_tells_from_one_destination_alone) {
  for (const Action action : {Action::kDenyPort, Action::kDenyOwner}) {
    const Plan made = plan(horizontal_scan(kBySocket), policy_of(action));
    EXPECT_EQ(made.rule, "deny log to tcp 203.0.113.9 port 25 from uid 1000");
    EXPECT_EQ(made.action, Action::kDenyPort);
    EXPECT_TRUE(made.narrowed);
    EXPECT_EQ(made.why,
              "that uid 1000 sent this is not beyond doubt (no process was found that holds the socket): it is cut "
              "from this one destination");
  }
  EXPECT_EQ(rule(horizontal_scan(kBySocket), policy_of(Action::kAuditRule)),
            "audit deny to tcp 203.0.113.9 port 25 from uid 1000");
}

TEST(Response, a_doubtful_process_is_not_named) {
  ResponsePolicy policy = policy_of(Action::kDenyOwner);
  policy.scope = Scope::kProcess;
  Culprit doubtful = kProcess;
  doubtful.how = How::kListener;
  EXPECT_EQ(rule(horizontal_scan(doubtful), policy), "deny log to tcp 203.0.113.9 port 25 from uid 1000");
}

// --- What is protected ---

TEST(Response, never_cuts_a_protected_user) {
  ResponsePolicy policy = policy_of(Action::kDenyPort);
  policy.never.uids = {0, 1000};
  for (const Culprit& culprit : {kProcess, kUser, kBySocket})
    EXPECT_EQ(why_no_rule(horizontal_scan(culprit), policy), "uid 1000 is protected");
  EXPECT_EQ(rule(horizontal_scan(kUnknown), policy), "deny log to tcp port 25 from unknown");
}

TEST(Response, never_cuts_a_protected_process) {
  ResponsePolicy policy = policy_of(Action::kDenyPort);
  policy.never.processes = {"exim4", "a-name-longer-than-the-kernel-keeps"};
  Culprit mailer = kProcess;
  mailer.process->comm = "exim4";
  EXPECT_EQ(why_no_rule(horizontal_scan(mailer), policy), "process exim4 (pid 4711) is protected");
  mailer.process->comm = "a-name-longer-t";
  EXPECT_EQ(why_no_rule(horizontal_scan(mailer), policy), "process a-name-longer-t (pid 4711) is protected");
}

TEST(Response, cuts_one_process_alone_where_another_of_its_user_may_be_protected) {
  ResponsePolicy policy = policy_of(Action::kDenyPort);
  policy.never.processes = {"exim4"};
  EXPECT_EQ(rule(horizontal_scan(kProcess), policy), "deny log to tcp port 25 from uid 1000 pid 4711");
  EXPECT_THAT(plan(horizontal_scan(kProcess), policy).why, EndsWith("; the user may run protected processes as well"));
  for (const Culprit& culprit : {kUser, kBySocket})
    EXPECT_EQ(why_no_rule(horizontal_scan(culprit), policy),
              "no single process stands out, and uid 1000 may run one that is protected");
}

TEST(Response, never_cuts_a_protected_port_or_network) {
  ResponsePolicy policy = policy_of(Action::kDenyPort);
  policy.never = never({22}, "203.0.113.0/24");
  EXPECT_EQ(why_no_rule(finding(Kind::kLoginBurst, kUser, 22), policy), "port 22 is protected");
  EXPECT_EQ(why_no_rule(finding(Kind::kSynFlood), policy), "203.0.113.9 lies in a protected network");
  EXPECT_EQ(why_no_rule(horizontal_scan(kBySocket), policy), "203.0.113.9 lies in a protected network");
}

TEST(Response, leaves_out_of_a_rule_what_is_protected) {
  ResponsePolicy policy = policy_of(Action::kDenyPort);
  policy.never = never({22}, "10.0.0.0/8");
  EXPECT_EQ(rule(horizontal_scan(), policy), "deny log to tcp not { 10.0.0.0/8 } port 25 from uid 1000");
  EXPECT_EQ(rule(finding(Kind::kVerticalScan), policy),
            "deny log to tcp 203.0.113.9 port { 0-21, 23-65535 } from uid 1000");
  policy.actions.fill(Action::kDenyOwner);
  const Plan made = plan(horizontal_scan(), policy);
  EXPECT_EQ(made.rule, "deny log to { tcp, udp, sctp } not { 10.0.0.0/8 } port { 0-21, 23-65535 } from uid 1000");
  EXPECT_THAT(made.why, EndsWith("; what is protected is left out"));
}

// --- How often ---

TEST(Response, answers_an_attack_that_goes_on_once_while_the_rule_lasts) {
  Responder responder(policy_of(Action::kDenyPort));
  Finding scan = horizontal_scan();
  EXPECT_EQ(responder.plan(scan).action, Action::kDenyPort);
  scan.time += minutes(1);
  const Plan again = responder.plan(scan);
  EXPECT_EQ(again.action, Action::kAlert);
  EXPECT_EQ(again.rule, "");
  EXPECT_EQ(again.why, "answered 60 s ago, for 1800 s: deny log to tcp port 25 from uid 1000");
  scan.time += minutes(29);
  EXPECT_EQ(responder.plan(scan).action, Action::kDenyPort);
}

TEST(Response, remembers_an_answer_that_lasts_longer_than_the_hour_it_counts) {
  ResponsePolicy policy = policy_of(Action::kDenyPort);
  policy.durations.fill(seconds::max());
  Responder responder(policy);
  Finding scan = horizontal_scan();
  EXPECT_EQ(responder.plan(scan).action, Action::kDenyPort);
  scan.time += hours(10'000);
  EXPECT_EQ(responder.plan(scan).action, Action::kAlert);
}

TEST(Response, makes_no_more_rules_in_an_hour_than_allowed) {
  ResponsePolicy policy = policy_of(Action::kDenyPort);
  policy.max_rules_per_hour = 3;
  Responder responder(policy);
  Finding scan = horizontal_scan();
  for (uint16_t port = 1; port <= 3; ++port) {
    scan.port = port;
    scan.time = kNow + minutes(port);
    EXPECT_EQ(responder.plan(scan).action, Action::kDenyPort);
  }
  scan.port = 4;
  const Plan refused = responder.plan(scan);
  EXPECT_EQ(refused.action, Action::kAlert);
  EXPECT_EQ(refused.why,
            "3 rules were made within the last hour, more are not allowed: deny log to tcp port 4 from uid 1000");
  scan.time = kNow + minutes(61);
  EXPECT_EQ(responder.plan(scan).action, Action::kDenyPort);
  scan.port = 5;
  EXPECT_EQ(responder.plan(scan).action, Action::kAlert);
}

TEST(Response, makes_no_rule_when_none_are_allowed) {
  ResponsePolicy policy = policy_of(Action::kDenyPort);
  policy.max_rules_per_hour = 0;
  EXPECT_EQ(plan(horizontal_scan(), policy).action, Action::kAlert);
}

TEST(Response, while_learning_says_all_of_what_it_would_do) {
  ResponsePolicy policy = policy_of(Action::kDenyPort);
  policy.learning = true;
  const Plan made = plan(horizontal_scan(), policy);
  EXPECT_EQ(made.action, Action::kDenyPort);
  EXPECT_EQ(made.rule, "deny log to tcp port 25 from uid 1000");
  EXPECT_EQ(made.duration, minutes(30));
  EXPECT_THAT(made.why, EndsWith("; learning: it is not carried out"));
}

// --- All together: whatever comes, each rule compiles, hits its finding's flow, and nobody else's ---

TEST(Response, every_rule_hits_the_flow_that_was_found_and_no_other_users_or_directions) {
  for (size_t kind = 0; kind < kKinds; ++kind) {
    for (const Culprit& culprit : {kProcess, kUser, kBySocket, kUnknown}) {
      for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp, Protocol::kIcmp, Protocol{47}}) {
        for (const Action action : {Action::kDenyPort, Action::kDenyOwner}) {
          for (const Scope scope : {Scope::kUser, Scope::kProcess}) {
            for (const bool protects : {false, true}) {
              for (const auto direction : {policy::Direction::kOut, policy::Direction::kIn}) {
                ResponsePolicy policy = policy_of(action);
                policy.scope = scope;
                if (protects) policy.never = never({22}, "10.0.0.0/8");
                Finding found = finding(static_cast<Kind>(kind), culprit, 25, protocol);
                found.direction = direction;
                const Plan made = plan(found, policy);
                const auto rules = policy::compile(made.rule, {});
                ASSERT_TRUE(rules);
                policy::Flow flow{direction, protocol, found.example.source, found.example.destination};
                policy::Subject subject{.uid = culprit.uid, .gid = {}, .pid = {}, .comm = {}};
                if (culprit.process) subject.pid = culprit.process->pid;
                EXPECT_EQ(rules->decide(flow, subject).verdict, policy::Verdict::kDeny) << made.rule;
                EXPECT_TRUE(rules->decide(flow, subject).log) << made.rule;
                flow.direction = direction == policy::Direction::kIn ? policy::Direction::kOut : policy::Direction::kIn;
                EXPECT_EQ(rules->decide(flow, subject).verdict, policy::Verdict::kAllow) << made.rule;
                flow.direction = direction;
                subject.uid = 1001;
                EXPECT_EQ(rules->decide(flow, subject).verdict, policy::Verdict::kAllow) << made.rule;
              }
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace hyperward::detect
