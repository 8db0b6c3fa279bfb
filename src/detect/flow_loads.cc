#include "detect/flow_loads.h"

#include <algorithm>

namespace hyperward::detect {

FlowLoads::Flow& FlowLoads::touch(const packet::FlowKey& key, bool& met_before) {
  const auto known = known_.find(key);
  met_before = known != known_.end();
  if (met_before) {
    flows_.splice(flows_.begin(), flows_, known->second);
    return flows_.front();
  }
  if (flows_.size() >= kMaxFlows) {
    known_.erase(flows_.back().key);
    flows_.pop_back();
  }
  flows_.push_front({.key = key});
  known_.emplace(key, flows_.begin());
  return flows_.front();
}

void FlowLoads::begin(const packet::FlowKey& key, bool from_guest, Time now) {
  bool met_before = false;
  Flow& flow = touch(key, met_before);
  flow.packets = {1, 0};
  flow.time = now;
  flow.from_guest = from_guest;
}

std::optional<Traffic> FlowLoads::grow(const packet::FlowKey& key, const std::array<uint64_t, 2>& packets, Time now) {
  bool met_before = false;
  Flow& flow = touch(key, met_before);
  // Fewer than before: another flow of the same key, whose beginning was not told.
  std::array<uint64_t, 2> grown{};
  for (size_t i = 0; i < grown.size(); ++i)
    grown[i] = packets[i] >= flow.packets[i] ? packets[i] - flow.packets[i] : packets[i];
  const Traffic traffic{
      .sent = static_cast<double>(grown[0]), .received = static_cast<double>(grown[1]), .over = now - flow.time};
  flow.packets = {std::max<uint64_t>(packets[0], 1), packets[1]};  // the first was counted when it began, gone or not
  flow.time = now;
  if (!met_before || !flow.from_guest) return std::nullopt;
  return traffic;
}

size_t FlowLoads::bytes() const {
  constexpr size_t kNodes = 8 * sizeof(void*);  // of list and map, with what the heap wants
  return flows_.size() * (sizeof(Flow) + sizeof(packet::FlowKey) + kNodes) + known_.bucket_count() * sizeof(void*);
}

}  // namespace hyperward::detect
