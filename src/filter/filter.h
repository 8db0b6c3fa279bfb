// A flow and a guest, to an owner; chain.h has what follows.
#pragma once

#include <cstdint>
#include <string>

#include "guest/guest.h"
#include "policy/rules.h"

namespace hyperward::filter {

struct Judgement {
  guest::Owner owner;
  policy::Flow flow;  // with the direction that was judged by
  policy::Decision decision;
  std::string reason = {};  // the words of a module that denied
};

// Who began the flow, as far as its packets tell.
enum class Began : uint8_t { kGuest, kWorld, kNotSeen };

// All of a judgement but its decision. `guest` is nullptr when it cannot be read: then the owner is unknown. A flow
// whose beginning was not seen (hyperward came later) is inbound when the guest listens on its local end.
[[nodiscard]] Judgement identify(guest::Guest* guest, Protocol protocol, const Endpoint& local, const Endpoint& remote,
                                 Began began);

}  // namespace hyperward::filter
