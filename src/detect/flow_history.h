// Whose recent flows were, after they have ended: an IDS takes its time.
//
// Bounded in number; the oldest makes room.
#pragma once

#include <chrono>
#include <cstddef>
#include <list>
#include <optional>
#include <unordered_map>

#include "detect/finding.h"
#include "guest/types.h"
#include "packet/packet.h"
#include "policy/rules.h"

namespace hyperward::detect {

struct FlowOwner {
  guest::Owner owner;
  policy::Direction direction = policy::Direction::kOut;  // that the flow was judged by
};

class FlowHistory {
 public:
  explicit FlowHistory(size_t max_flows, std::chrono::seconds max_age);
  FlowHistory(FlowHistory&&) = default;
  FlowHistory& operator=(FlowHistory&&) = default;

  // The key's source is the guest. A later flow of the same key replaces the earlier, and so does one that differs in
  // the VLAN alone: an IDS often does not say it. Of the owner, `others` is not kept.
  void remember(const packet::FlowKey& key, const FlowOwner& owned, Time now);
  // Nothing: no such flow, or it was remembered longer than `max_age` ago.
  [[nodiscard]] std::optional<FlowOwner> find(Protocol protocol, const Endpoint& local, const Endpoint& remote,
                                              Time now) const;
  [[nodiscard]] size_t size() const { return by_age_.size(); }

 private:
  struct Flow {
    packet::FlowKey key;
    FlowOwner owned;
    Time time;
  };

  void forget_oldest();

  size_t max_flows_;
  std::chrono::seconds max_age_;
  std::list<Flow> by_age_;  // the oldest first
  std::unordered_map<packet::FlowKey, std::list<Flow>::iterator, packet::FlowHash> by_key_;
};

}  // namespace hyperward::detect
