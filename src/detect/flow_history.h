// Whose recent flows were, after they have ended: an IDS takes its time.
//
// Bounded in number; the oldest makes room.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>
#include <unordered_map>

#include "detect/finding.h"
#include "guest/types.h"
#include "packet/packet.h"

namespace hyperward::detect {

class FlowHistory {
 public:
  explicit FlowHistory(size_t max_flows, std::chrono::seconds max_age);

  // The key's source is the guest. A later flow of the same key replaces the earlier.
  void remember(const packet::FlowKey& key, const guest::Owner& owner, Time now);
  // Of the VLAN only the first match is told: an IDS often does not say it.
  [[nodiscard]] std::optional<guest::Owner> find(Protocol protocol, const Endpoint& local, const Endpoint& remote,
                                                 Time now) const;
  [[nodiscard]] size_t size() const;
};

}  // namespace hyperward::detect
