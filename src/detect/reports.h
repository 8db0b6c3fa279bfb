// What was said of one account of late, so that it is not said over and over.
//
// Bounded: of each kind so many targets are told apart; after that the kind is said once more, of no target, and then
// no more of it until it has been quiet. An attacker cannot have one alert per packet by changing his target.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "detect/finding.h"

namespace hyperward::detect {

class Reports {
 public:
  static constexpr size_t kMaxTargets = 16;  // of one kind
  static constexpr uint64_t kWhole = 0;      // every target of the kind

  // The target itself was said.
  [[nodiscard]] bool said(Kind kind, uint64_t target, Time now) const { return times(kind, target, now) > 0; }
  // It, or the whole kind.
  [[nodiscard]] bool covers(Kind kind, uint64_t target, Time now) const {
    return said(kind, target, now) || (target != kWhole && said(kind, kWhole, now));
  }
  [[nodiscard]] uint32_t times(Kind kind, uint64_t target, Time now) const;

  // False: there were too many targets, so the whole kind was entered.
  bool enter(Kind kind, uint64_t target, Time now, Time until);

  [[nodiscard]] size_t bytes() const { return entries_.capacity() * sizeof(Entry); }

 private:
  struct Entry {
    Time until{};
    uint64_t target = 0;
    uint32_t times = 0;
    Kind kind{};
  };
  std::vector<Entry> entries_;
};

}  // namespace hyperward::detect
