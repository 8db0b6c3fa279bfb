// The sum of what was added in the last while, in constant memory: the window is cut into slices, and a slice that has
// left it counts no more. The sum is never of more than the window, and of no less than all slices but one.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>

#include "detect/finding.h"

namespace hyperward::detect {

class WindowSum {
 public:
  static constexpr int64_t kSlices = 8;

  explicit WindowSum(std::chrono::nanoseconds length) : slice_ns_(std::max<int64_t>(length.count() / kSlices, 1)) {}

  // What has come evenly over the time `over` up to now. Time does not go backwards.
  void add(Time now, double amount, std::chrono::nanoseconds over = {}) {
    const int64_t end = now.time_since_epoch().count();
    const int64_t newest = end / slice_ns_;
    forget_before(newest - kSlices + 1);
    newest_ = std::max(newest_, newest);
    if (over.count() <= 0) {
      at(newest) += static_cast<float>(amount);
      return;
    }
    const int64_t begin = end - over.count();
    for (int64_t slice = newest; slice > newest - kSlices; --slice) {
      const int64_t shared = std::min(end, (slice + 1) * slice_ns_) - std::max(begin, slice * slice_ns_);
      if (shared <= 0) continue;
      at(slice) += static_cast<float>(amount * static_cast<double>(shared) / static_cast<double>(over.count()));
    }
  }

  [[nodiscard]] double sum(Time now) const {
    double sum = 0;
    for (int64_t slice = now.time_since_epoch().count() / slice_ns_ - kSlices + 1; slice <= newest_; ++slice)
      if (slice > newest_ - kSlices) sum += slices_[index(slice)];
    return sum;
  }

 private:
  static size_t index(int64_t slice) { return static_cast<uint64_t>(slice) % kSlices; }
  float& at(int64_t slice) { return slices_[index(slice)]; }

  void forget_before(int64_t oldest) {
    // Those that the window has left are the places of those that it comes to.
    for (int64_t slice = newest_ - kSlices + 1; slice < oldest && slice <= newest_; ++slice) at(slice) = 0;
  }

  int64_t slice_ns_;
  int64_t newest_ = INT64_MIN / 2;  // slice that was added to last
  std::array<float, kSlices> slices_{};
};

}  // namespace hyperward::detect
