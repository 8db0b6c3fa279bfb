// The part of a rule that a response makes which says what flows it hits, with whatever is protected left out of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>

#include "base/net.h"
#include "detect/response.h"
#include "policy/rules.h"

namespace hyperward::detect {

// What a rule shall hit. What is not set is not asked for; with nothing set it is everything of the direction.
struct RuleTarget {
  policy::Direction direction = policy::Direction::kOut;
  std::optional<Protocol> protocol = std::nullopt;
  std::optional<IpAddress> address = std::nullopt;  // of the remote end
  std::optional<uint16_t> port = std::nullopt;  // of the service (service_port()); only of a protocol that has ports
};

// A rule names every port and network that it leaves out. With more protected ones than this there is none.
constexpr size_t kMaxLeftOut = 64;

struct TargetPart {
  std::string text = {};  // " to tcp not { 10.0.0.0/8 } port 25", " in to tcp port 80 peer 203.0.113.9"; may be empty
  bool left_out = false;  // something protected was, so that it hits less than the target
};

// Nothing protected is hit by the result. Where ports must be left out and the target has no protocol, it is narrowed
// to the protocols that have ports, or to `seen` when that has none.
// Else the sentence that says what protects the target: "port 22 is protected".
[[nodiscard]] std::expected<TargetPart, std::string> target_part(const RuleTarget& target, Protocol seen,
                                                                 const Protected& never);

}  // namespace hyperward::detect
