// From a finding to what is done about it: nothing, an alert, or a rule that cuts exactly the culprit.
//
// Pure: plan() decides, the daemon does it. What it promises:
//   - A named user or process is cut only when the attribution is beyond doubt (confirmed()). Else the rule is
//   narrower:
//     it hits the flows' common target, from owners that are as unknown as this one was.
//   - Whatever is protected is never cut, whoever is to blame.
//   - No guest gets more than `max_rules_per_hour` automatic rules; after that findings are alerts alone.
// Every plan says in words why it is what it is.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
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

// Who is cut when both are known.
enum class Scope : uint8_t { kUser, kProcess };

struct Protected {
  std::vector<uint32_t> uids;
  std::vector<std::string> processes;  // by name: comm
  std::vector<uint16_t> ports;         // of the remote end
  Networks networks;                   // of the remote end
};

struct ResponsePolicy {
  // By Kind. The user is cut, unless the scope says otherwise.
  std::array<Action, kKinds> actions{};
  std::array<std::chrono::seconds, kKinds> durations{};
  Scope scope = Scope::kUser;
  Protected never;
  uint32_t max_rules_per_hour = 20;
  bool learning = false;  // plans are made and told, and none is carried out

  // deny-port for 30 minutes for each of ours, alert for an IDS's and for listed addresses.
  [[nodiscard]] static ResponsePolicy defaults();
};

struct Plan {
  Action action = Action::kAlert;   // what is to be done; kAlert when a rule was wanted and may not be
  std::string rule;                 // in the rule language, without duration; empty: none
  std::chrono::seconds duration{};  // of the rule
  bool narrowed = false;            // the attribution was doubtful
  std::string why;                  // in words, for people: also why it is less than the policy asked for
};

// The process and user were shown to hold the socket (guest::How), or to listen on it.
[[nodiscard]] bool confirmed(const Culprit& culprit);

class Responder {
 public:
  explicit Responder(ResponsePolicy policy) : policy_(std::move(policy)) {}

  [[nodiscard]] Plan plan(const Finding& finding);
  [[nodiscard]] const ResponsePolicy& policy() const { return policy_; }

 private:
  ResponsePolicy policy_;
  std::deque<Time> rules_made_;  // within the last hour
};

}  // namespace hyperward::detect
