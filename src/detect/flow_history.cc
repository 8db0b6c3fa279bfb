#include "detect/flow_history.h"

#include <random>

namespace hyperward::detect {
namespace {

packet::FlowHash seeded() {
  std::random_device random;
  const auto word = [&] { return uint64_t{random()} << 32 | random(); };
  return {word(), word()};
}

}  // namespace

FlowHistory::FlowHistory(size_t max_flows, std::chrono::seconds max_age)
    : max_flows_(max_flows), max_age_(max_age), by_key_(0, seeded()) {}

void FlowHistory::remember(const packet::FlowKey& key, const FlowOwner& owned, Time now) {
  while (!by_age_.empty() && now - by_age_.front().time > max_age_) forget_oldest();
  if (max_flows_ == 0) return;

  packet::FlowKey without_vlan = key;
  without_vlan.vlan_id = 0;
  auto known = by_key_.find(without_vlan);
  if (known == by_key_.end()) {
    if (by_age_.size() >= max_flows_) forget_oldest();
    by_age_.push_back({without_vlan, {}, {}});
    known = by_key_.emplace(without_vlan, std::prev(by_age_.end())).first;
  }
  Flow& flow = *known->second;
  flow.owned = owned;
  flow.owned.owner.others = {};
  flow.time = now;
  by_age_.splice(by_age_.end(), by_age_, known->second);
}

std::optional<FlowOwner> FlowHistory::find(Protocol protocol, const Endpoint& local, const Endpoint& remote,
                                           Time now) const {
  const auto known = by_key_.find({.vlan_id = 0, .protocol = protocol, .source = local, .destination = remote});
  if (known == by_key_.end() || now - known->second->time > max_age_) return std::nullopt;
  return known->second->owned;
}

void FlowHistory::forget_oldest() {
  by_key_.erase(by_age_.front().key);
  by_age_.pop_front();
}

}  // namespace hyperward::detect
