// A list of networks, as threat feeds publish them, and whether an address is in one.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "base/net.h"
#include "base/result.h"

namespace hyperward::detect {

class Networks {
 public:
  static constexpr size_t kMaxNetworks = 1'000'000;
  struct Range {
    IpAddress first, last;  // both belong to it
    bool operator==(const Range&) const = default;
  };

  Networks() = default;  // empty: contains nothing
  bool operator==(const Networks&) const = default;

  // One address or prefix a line, IPv4 or IPv6; blank lines and what follows '#' or ';' count for nothing.
  // kInvalid names the line: "line 3: '10.0.0.0/33' is no network".
  [[nodiscard]] static Result<Networks> parse(std::string_view text);

  [[nodiscard]] bool contains(const IpAddress& address) const;  // O(log n)
  [[nodiscard]] bool empty() const { return ranges_.empty(); }
  [[nodiscard]] size_t size() const { return ranges_.size(); }  // of disjoint ranges, fewer than lines perhaps
  [[nodiscard]] const std::vector<Range>& ranges() const { return ranges_; }  // sorted, disjoint

 private:
  std::vector<Range> ranges_;
};

}  // namespace hyperward::detect
