// What one account, or the guest as a whole, sends to single targets, for floods: a service (TCP) or an address (UDP).
//
// How many of a target's new flows were answered is known from a sample of them: asking for each would cost as much as
// the flood.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "detect/contacts.h"
#include "detect/finding.h"
#include "detect/meter.h"
#include "detect/window_sum.h"
#include "packet/packet.h"

namespace hyperward::detect {

// Flows begun (each with a first packet), and the packets that flows carried beyond it.
struct Traffic {
  double opened = 0, sent = 0, received = 0;
  std::chrono::nanoseconds over{};  // the time in which they came, up to now

  [[nodiscard]] double to_target() const { return opened + sent; }
  [[nodiscard]] Traffic scaled(double factor) const {
    return {opened * factor, sent * factor, received * factor, over};
  }
  [[nodiscard]] Traffic within(std::chrono::nanoseconds window) const;  // the part that came in the window
};

using Random = std::minstd_rand;

class Target {
 public:
  static constexpr size_t kSamples = 8;
  struct Asked {
    size_t sampled = 0;   // flows of the window
    size_t old = 0;       // of them: have had the time to answer, and so were asked
    size_t answered = 0;  // of those
  };

  Target(Protocol protocol, const Endpoint& remote, std::chrono::nanoseconds window)
      : protocol_(protocol), remote_(remote), window_(window), opened_(window), sent_(window), received_(window) {}

  void add(Time now, const packet::FlowKey& key, const Traffic& traffic, Random& random);
  [[nodiscard]] Traffic traffic(Time now) const {
    return {opened_.sum(now), sent_.sum(now), received_.sum(now), window_};
  }
  [[nodiscard]] Asked ask(Time now, std::chrono::nanoseconds grace, const Answered& answered) const;

  [[nodiscard]] bool is(Protocol protocol, const Endpoint& remote) const {
    return protocol_ == protocol && remote_ == remote;
  }
  [[nodiscard]] const packet::FlowKey& latest() const { return latest_; }
  [[nodiscard]] const Common& common() const { return common_; }

  Time next_ask{};
  Time flooded_until{};  // by all owners together: as far as was seen

 private:
  struct Sample {
    packet::FlowKey key;
    Time time{};
  };
  void sample(Time now, const packet::FlowKey& key, Random& random);

  Protocol protocol_;
  Endpoint remote_;
  std::chrono::nanoseconds window_;
  WindowSum opened_, sent_, received_;
  packet::FlowKey latest_;
  Common common_;
  std::array<Sample, kSamples> samples_{};
  size_t sampled_ = 0;
};

class Targets {
 public:
  static constexpr size_t kMaxTargets = 16;  // the one with the least traffic makes room

  // Of UDP the remote port counts for nothing. The reference holds until the next call.
  [[nodiscard]] Target& at(const packet::FlowKey& key, Time now, std::chrono::nanoseconds window);
  [[nodiscard]] Target* find(const packet::FlowKey& key);
  void forget(const packet::FlowKey& key);
  [[nodiscard]] std::vector<Target>& all() { return targets_; }
  [[nodiscard]] size_t bytes() const { return targets_.capacity() * sizeof(Target); }

 private:
  std::vector<Target> targets_;
};

}  // namespace hyperward::detect
