// The `to` part of a rule that a response makes, with whatever is protected left out of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>

#include "base/net.h"
#include "detect/response.h"

namespace hyperward::detect {

// What a rule shall hit at the remote end. What is not set is not asked for; with nothing set it is everything.
struct RuleTarget {
  std::optional<Protocol> protocol = std::nullopt;
  std::optional<IpAddress> address = std::nullopt;
  std::optional<uint16_t> port = std::nullopt;  // only of a protocol that has ports
};

// A rule names every port and network that it leaves out. With more protected ones than this there is none.
constexpr size_t kMaxLeftOut = 64;

struct ToPart {
  std::string text = {};  // " to tcp not { 10.0.0.0/8 } port 25"; empty: everything
  bool left_out = false;  // something protected was, so that it hits less than the target
};

// Nothing protected is hit by the result. Where ports must be left out and the target has no protocol, it is narrowed
// to the protocols that have ports, or to `seen` when that has none.
// Else the sentence that says what protects the target: "port 22 is protected".
[[nodiscard]] std::expected<ToPart, std::string> to_part(const RuleTarget& target, Protocol seen,
                                                         const Protected& never);

}  // namespace hyperward::detect
