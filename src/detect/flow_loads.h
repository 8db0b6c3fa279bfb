// What flows had carried when they were last seen, to tell what they carried since. Bounded; the one that was not seen
// for the longest makes room, and is met again as one whose past is not known.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>

#include "detect/finding.h"
#include "detect/targets.h"
#include "packet/packet.h"

namespace hyperward::detect {

class FlowLoads {
 public:
  static constexpr size_t kMaxFlows = 8192;

  explicit FlowLoads(packet::FlowHash hash) : known_(0, hash) {}

  // A flow begins. Its first packet is counted elsewhere.
  void begin(const packet::FlowKey& key, bool from_guest, Time now);
  // Nothing of a flow that others began, or that is met for the first time.
  [[nodiscard]] std::optional<Traffic> grow(const packet::FlowKey& key, const std::array<uint64_t, 2>& packets,
                                            Time now);
  [[nodiscard]] size_t bytes() const;

 private:
  struct Flow {
    packet::FlowKey key;
    std::array<uint64_t, 2> packets{};
    Time time{};
    bool from_guest = true;
  };
  using Place = std::list<Flow>::iterator;

  Flow& touch(const packet::FlowKey& key, bool& met_before);

  std::list<Flow> flows_;  // seen last: in front
  std::unordered_map<packet::FlowKey, Place, packet::FlowHash> known_;
};

}  // namespace hyperward::detect
