// From a finding to what is done about it: nothing, an alert, or a rule that cuts exactly the culprit.
//
// Pure: plan() decides, the daemon does it. What it promises:
//   - A named user or process is cut only when the attribution is beyond doubt (confirmed()). Else the rule is
//     narrower: of a user of whom only the socket tells, it cuts this one destination (address and port), or the one
//     peer that came to him; of an unknown owner, the flows' common target, from owners that are as unknown as this one
//     was.
//   - Whatever is protected is never cut, whoever is to blame: a rule names what it leaves out, and where it cannot,
//     there is none. See Protected.
//   - No guest gets more than `max_rules_per_hour` automatic rules; after that findings are alerts alone. An attack
//     that goes on is found again and again, and answered once: the same rule is not planned anew while it lasts. So
//     what a person has undone stays undone for as long.
// A rule is of the direction of the flows that were found.
// Every plan says in words why it is what it is.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "detect/finding.h"
#include "detect/networks.h"

namespace hyperward::detect {

enum class Action : uint8_t {
  kNothing,
  kAlert,
  kAuditRule,  // an audit rule, that shows what a cut would hit
  kDenyPort,   // deny the culprit the port (or, of a vertical scan or an UDP flood, the address) under attack
  kDenyOwner,  // deny the culprit everything
};

[[nodiscard]] std::string_view to_string(Action action);  // "nothing", "alert", "audit", "deny-port", "deny-owner"
[[nodiscard]] std::optional<Action> action_from(std::string_view name);

// Who is cut when both are known. A process is cut by its number and its user's.
enum class Scope : uint8_t { kUser, kProcess };

// What no response may cut.
//
// A rule cannot speak of a user's other processes. As long as any process is protected, a user is not cut as a whole:
// the one process is, when it is known, and else there is an alert. And a process names itself: who guesses a protected
// name is safe behind it. So protect users, ports and networks, and processes only where nothing else will do.
//
// A flow of a protected user or process is known as such by its owner. One whose owner is unknown is as any other
// unknown one.
struct Protected {
  std::vector<uint32_t> uids;
  std::vector<std::string> processes;  // by name: comm; what is longer than the kernel keeps is cut as it does
  std::vector<uint16_t> ports;         // of the remote end; of the guest's for flows that others began
  Networks networks;                   // of the remote end
  bool operator==(const Protected&) const = default;
};

struct ResponsePolicy {
  // By Kind. The user is cut, unless the scope says otherwise.
  std::array<Action, kKinds> actions{};
  std::array<std::chrono::seconds, kKinds> durations{};
  Scope scope = Scope::kUser;
  Protected never;
  uint32_t max_rules_per_hour = 20;
  bool learning = false;  // plans are made and told, and none is carried out
  bool operator==(const ResponsePolicy&) const = default;

  // deny-port for 30 minutes for each of ours, alert for an IDS's and for listed addresses.
  [[nodiscard]] static ResponsePolicy defaults();
};

struct Plan {
  Action action = Action::kAlert;   // what is to be done; kAlert when a rule was wanted and may not be
  std::string rule = {};            // in the rule language, without duration; empty: none
  std::chrono::seconds duration{};  // of the rule
  bool narrowed = false;            // the attribution was doubtful
  std::string why = {};             // in words, for people: also why it is less than the policy asked for
};

// The user, and the process if one is named, were shown to hold the flow's socket (guest::How). To listen on its port
// is not enough: a flow that the guest begins has a socket of its own, and one without may be forged, with any port
// as its source.
[[nodiscard]] bool confirmed(const Culprit& culprit);

class Responder {
 public:
  explicit Responder(ResponsePolicy policy) : policy_(std::move(policy)) {}

  // For one guest. A plan with a rule counts as made from now on, in learning too.
  [[nodiscard]] Plan plan(const Finding& finding);
  [[nodiscard]] const ResponsePolicy& policy() const { return policy_; }

 private:
  static constexpr size_t kMaxRemembered = 4096;  // of rules that were made; the oldest is forgotten

  struct Made {
    Time time;
    std::chrono::seconds duration;
    std::string rule;
  };

  // Why the rule may not be made now; empty: it may.
  [[nodiscard]] std::string refusal(const std::string& rule, Time now);

  ResponsePolicy policy_;
  std::deque<Made> made_;  // the oldest first
};

}  // namespace hyperward::detect
