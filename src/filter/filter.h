// A flow and a guest, to an owner and a verdict.
#pragma once

#include <cstdint>
#include <optional>

#include "filter/rule_chain.h"
#include "guest/guest.h"
#include "policy/rules.h"

namespace hyperward::filter {

struct Judgement {
  guest::Owner owner;
  policy::Flow flow;  // with the direction that was judged by
  policy::Decision decision;
};

// Who began the flow, as far as its packets tell.
enum class Began : uint8_t { kGuest, kWorld, kNotSeen };

// What the rules may know of an owner. The result points into `owner`.
[[nodiscard]] policy::Subject subject_of(const guest::Owner& owner);

// Judges one flow of a guest by `rules`. `guest` is nullptr when it cannot be read: then the owner is unknown.
// A flow whose beginning was not seen (hyperward came later) is inbound when the guest listens on its local end.
[[nodiscard]] Judgement judge(const RuleChain& rules, guest::Guest* guest, Protocol protocol, const Endpoint& local,
                              const Endpoint& remote, Began began);

}  // namespace hyperward::filter
