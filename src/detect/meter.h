// Token buckets, and what the connections that drew from one have in common.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

#include "detect/finding.h"

namespace hyperward::detect {

class Tokens {
 public:
  [[nodiscard]] double level(Time now, double burst, std::chrono::nanoseconds interval) const {
    if (!used_) return burst;
    return std::min(burst, level_ + static_cast<double>((now - last_).count()) / static_cast<double>(interval.count()));
  }

  // Whether there was one.
  bool take(Time now, double burst, std::chrono::nanoseconds interval) {
    level_ = level(now, burst, interval);
    last_ = now;
    used_ = true;
    if (level_ < 1) return false;
    level_ -= 1;
    return true;
  }

 private:
  double level_ = 0;
  Time last_{};
  bool used_ = false;  // never yet: full
};

// The remote ends seen: what they share.
class Common {
 public:
  void add(const Endpoint& remote) {
    if (!any_) first_ = remote;
    any_ = true;
    addresses_differ_ |= remote.address != first_.address;
    ports_differ_ |= remote.port != first_.port;
  }
  [[nodiscard]] std::optional<IpAddress> address() const {
    return any_ && !addresses_differ_ ? std::optional(first_.address) : std::nullopt;
  }
  [[nodiscard]] std::optional<uint16_t> port() const {
    return any_ && !ports_differ_ ? std::optional(first_.port) : std::nullopt;
  }

 private:
  Endpoint first_;
  bool any_ = false, addresses_differ_ = false, ports_differ_ = false;
};

// A burst of connections: since the bucket was full.
struct Meter {
  Tokens own;
  Tokens share;  // of a process: what of its connections counts for its user too
  Common common;
  uint32_t connections = 0;
  Time since{};
};

}  // namespace hyperward::detect
