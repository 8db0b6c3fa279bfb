#include "detect/response.h"

#include <algorithm>
#include <expected>

#include "detect/rule_target.h"
#include "guest/types.h"
#include "packet/packet.h"
#include "policy/rules.h"

namespace hyperward::detect {
namespace {

using std::chrono::seconds;

constexpr seconds kHour = std::chrono::hours(1);

constexpr std::array<std::string_view, 5> kActions{"nothing", "alert", "audit", "deny-port", "deny-owner"};

// Whole seconds: a duration from a config may be more than a Time can hold.
seconds age(Time then, Time now) {
  return std::chrono::floor<seconds>(now - then);
}

// Whom a rule hits.
struct Who {
  std::string from;  // "uid 1000 pid 4711"
  bool doubtful = false;
  std::string why;
};

std::string name_of(const guest::ProcessId& process) {
  return fmt::format("process {} (pid {})", guest::printable(process.comm), process.pid);
}

bool is_protected(const guest::ProcessId& process, const Protected& never) {
  return std::ranges::any_of(
      never.processes, [&](std::string_view name) { return name.substr(0, policy::kCommMaxBytes) == process.comm; });
}

// Or what protects them.
std::expected<Who, std::string> whom_to_cut(const Finding& finding, const ResponsePolicy& policy) {
  const Culprit& culprit = finding.culprit;
  const Protected& never = policy.never;
  if (culprit.uid && std::ranges::find(never.uids, *culprit.uid) != never.uids.end())
    return std::unexpected(fmt::format("uid {} is protected", *culprit.uid));
  if (culprit.process && is_protected(*culprit.process, never))
    return std::unexpected(fmt::format("{} is protected", name_of(*culprit.process)));

  const std::string reason = guest::to_string(culprit.reason);
  const std::string because = reason.empty() ? "" : fmt::format(" ({})", reason);
  if (!culprit.uid)
    return Who{
        .from = "unknown",
        .doubtful = true,
        .why = fmt::format("the owner is unknown{}: unknown owners alone are cut, from the target alone", because)};

  const bool is_sure = confirmed(culprit);
  const bool is_one_process = is_sure && culprit.process.has_value();
  if (is_one_process && (policy.scope == Scope::kProcess || !never.processes.empty()))
    return Who{
        .from = fmt::format("uid {} pid {}", *culprit.uid, culprit.process->pid),
        .why = fmt::format("{} of uid {} holds the socket (by {}){}", name_of(*culprit.process), *culprit.uid,
                           guest::to_string(culprit.how),
                           policy.scope == Scope::kUser ? "; the user may run protected processes as well" : "")};
  if (!never.processes.empty())
    return std::unexpected(
        fmt::format("no single process stands out, and uid {} may run one that is protected", *culprit.uid));
  if (is_sure)
    return Who{.from = fmt::format("uid {}", *culprit.uid),
               .why = fmt::format("a process of uid {} holds the socket (by {}){}", *culprit.uid,
                                  guest::to_string(culprit.how),
                                  policy.scope == Scope::kProcess ? "; no single process stands out" : "")};
  return Who{.from = fmt::format("uid {}", *culprit.uid),
             .doubtful = true,
             .why = fmt::format("that uid {} sent this is not beyond doubt{}: it is cut from this one {}", *culprit.uid,
                                because, finding.direction == policy::Direction::kIn ? "peer" : "destination")};
}

// The one destination of the flow that tipped the scales, or the one that began it.
RuleTarget exact_target(const Finding& finding) {
  const packet::FlowKey& key = finding.example;
  return {.direction = finding.direction,
          .protocol = key.protocol,
          .address = key.destination.address,
          .port = service_port(key, finding.direction)};
}

// What is under attack: what the flows have in common, and where the kind promises something that the finding does not
// say, the example's.
RuleTarget common_target(const Finding& finding) {
  RuleTarget target = exact_target(finding);
  if (finding.remote) target.address = finding.remote;
  if (finding.port && target.port) target.port = finding.port;
  switch (finding.kind) {
    case Kind::kHorizontalScan:
      target.address.reset();
      if (!finding.port) target.port.reset();  // over ports and addresses alike: the protocol is all they share
      break;
    case Kind::kMailBurst:
    case Kind::kLoginBurst: target.address.reset(); break;  // the next server would be asked next
    case Kind::kVerticalScan:
    case Kind::kUdpFlood: target.port.reset(); break;
    case Kind::kListed: target.protocol.reset(), target.port.reset(); break;
    case Kind::kSynFlood:
    case Kind::kIds: break;
  }
  return target;
}

RuleTarget target_of(const Finding& finding, Action wanted, bool doubtful) {
  if (doubtful && finding.culprit.uid) return exact_target(finding);
  if (!doubtful && wanted == Action::kDenyOwner) return {.direction = finding.direction};
  return common_target(finding);
}

}  // namespace

std::string_view to_string(Action action) {
  const auto index = static_cast<size_t>(action);
  return index < kActions.size() ? kActions[index] : "?";
}

std::optional<Action> action_from(std::string_view name) {
  const auto* const found = std::ranges::find(kActions, name);
  if (found == kActions.end()) return std::nullopt;
  return static_cast<Action>(found - kActions.begin());
}

ResponsePolicy ResponsePolicy::defaults() {
  ResponsePolicy policy;
  policy.actions.fill(Action::kDenyPort);
  policy.actions[static_cast<size_t>(Kind::kListed)] = Action::kAlert;
  policy.actions[static_cast<size_t>(Kind::kIds)] = Action::kAlert;
  policy.durations.fill(std::chrono::minutes(30));
  return policy;
}

bool confirmed(const Culprit& culprit) {
  if (!culprit.uid || culprit.reason != guest::Reason::kNone) return false;
  switch (culprit.how) {
    case guest::How::kCredentials:
    case guest::How::kWaitQueue:
    case guest::How::kIndex:
    case guest::How::kWalk: return true;
    case guest::How::kListener:
    case guest::How::kSocketOnly:
    case guest::How::kUnknown: break;
  }
  return false;
}

Plan Responder::plan(const Finding& finding) {
  const auto kind = static_cast<size_t>(finding.kind);
  HW_CHECK(kind < kKinds);
  const Action wanted = policy_.actions[kind];
  if (wanted == Action::kNothing || wanted == Action::kAlert)
    return {.action = wanted,
            .why = fmt::format("the policy for {} is {}", to_string(finding.kind), to_string(wanted))};

  const auto alert = [](std::string why) { return Plan{.action = Action::kAlert, .why = std::move(why)}; };
  auto who = whom_to_cut(finding, policy_);
  if (!who) return alert(std::move(who.error()));
  const auto target = target_part(target_of(finding, wanted, who->doubtful), finding.example.protocol, policy_.never);
  if (!target) return alert(target.error());

  const std::string_view verdict = wanted == Action::kAuditRule ? "audit deny" : "deny log";
  Plan plan{.action = wanted,
            .rule = fmt::format("{}{} from {}", verdict, target->text, who->from),
            .duration = policy_.durations[kind],
            .narrowed = who->doubtful,
            .why = std::move(who->why)};
  if (wanted == Action::kDenyOwner && who->doubtful) plan.action = Action::kDenyPort;
  if (std::string refused = refusal(plan.rule, finding.time); !refused.empty()) return alert(std::move(refused));

  if (target->left_out) plan.why += "; what is protected is left out";
  if (policy_.learning) plan.why += "; learning: it is not carried out";
  made_.push_back({finding.time, plan.duration, plan.rule});
  if (made_.size() > kMaxRemembered) made_.pop_front();
  return plan;
}

std::string Responder::refusal(const std::string& rule, Time now) {
  std::erase_if(made_, [&](const Made& made) { return age(made.time, now) >= std::max(kHour, made.duration); });
  const auto same = std::ranges::find_if(
      made_, [&](const Made& made) { return made.rule == rule && age(made.time, now) < made.duration; });
  if (same != made_.end())
    return fmt::format("answered {} s ago, for {} s: {}", age(same->time, now).count(), same->duration.count(), rule);

  const auto in_last_hour = std::ranges::count_if(made_, [&](const Made& made) { return age(made.time, now) < kHour; });
  if (static_cast<size_t>(in_last_hour) < std::min<size_t>(policy_.max_rules_per_hour, kMaxRemembered)) return {};
  return fmt::format("{} rules were made within the last hour, more are not allowed: {}", in_last_hour, rule);
}

}  // namespace hyperward::detect
