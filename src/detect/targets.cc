#include "detect/targets.h"

#include <algorithm>

namespace hyperward::detect {

Traffic Traffic::within(std::chrono::nanoseconds window) const {
  if (over <= window) return *this;
  Traffic part = scaled(static_cast<double>(window.count()) / static_cast<double>(over.count()));
  part.over = window;
  return part;
}

void Target::add(Time now, const packet::FlowKey& key, const Traffic& traffic, Random& random) {
  if (this->traffic(now).to_target() == 0) common_ = {};
  common_.add(key.destination);
  latest_ = key;
  opened_.add(now, traffic.opened, traffic.over);
  sent_.add(now, traffic.sent, traffic.over);
  received_.add(now, traffic.received, traffic.over);
  if (traffic.opened > 0) sample(now, key, random);
}

// Reservoir sampling (Vitter 1985), where those that the window has left make room first. At random, so that nobody
// can tell which of his flows will be asked for.
void Target::sample(Time now, const packet::FlowKey& key, Random& random) {
  if (sampled_ < kSamples) {
    samples_[sampled_++] = {key, now};
    return;
  }
  auto* const oldest = std::min_element(samples_.begin(), samples_.end(),
                                        [](const Sample& a, const Sample& b) { return a.time < b.time; });
  if (now - oldest->time > window_) {
    *oldest = {key, now};
    return;
  }
  const auto flows = static_cast<size_t>(std::max(opened_.sum(now), 1.0));
  if (const size_t place = random() % flows; place < kSamples) samples_[place] = {key, now};
}

Target::Asked Target::ask(Time now, std::chrono::nanoseconds grace, const Answered& answered) const {
  Asked asked;
  for (size_t i = 0; i < sampled_; ++i) {
    const auto age = now - samples_[i].time;
    if (age > window_) continue;
    ++asked.sampled;
    if (age < grace) continue;
    ++asked.old;
    if (answered(samples_[i].key)) ++asked.answered;
  }
  return asked;
}

namespace {

Endpoint target_of(const packet::FlowKey& key) {
  return {key.destination.address, key.protocol == Protocol::kTcp ? key.destination.port : uint16_t{0}};
}

}  // namespace

Target* Targets::find(const packet::FlowKey& key) {
  const auto known =
      std::ranges::find_if(targets_, [&](const Target& target) { return target.is(key.protocol, target_of(key)); });
  return known == targets_.end() ? nullptr : &*known;
}

void Targets::forget(const packet::FlowKey& key) {
  std::erase_if(targets_, [&](const Target& target) { return target.is(key.protocol, target_of(key)); });
}

Target& Targets::at(const packet::FlowKey& key, Time now, std::chrono::nanoseconds window) {
  if (Target* const known = find(key)) return *known;
  const Endpoint remote = target_of(key);
  if (targets_.size() < kMaxTargets) return targets_.emplace_back(key.protocol, remote, window);

  size_t least = 0;
  double least_traffic = targets_[0].traffic(now).to_target();
  for (size_t i = 1; i < targets_.size(); ++i) {
    const double traffic = targets_[i].traffic(now).to_target();
    if (traffic < least_traffic) least = i, least_traffic = traffic;
  }
  return targets_[least] = Target(key.protocol, remote, window);
}

}  // namespace hyperward::detect
