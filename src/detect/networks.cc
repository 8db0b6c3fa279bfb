#include "detect/networks.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "guest/types.h"

namespace hyperward::detect {
namespace {

constexpr size_t kNetworkMaxBytes = 64;  // the longest way to write one has 49
constexpr size_t kShownMaxBytes = 64;    // of a bad line
constexpr std::string_view kSpace = " \t\r\v\f";

using Bytes = std::array<uint8_t, 16>;

// IPv4 addresses lie in the midst of IPv6's, v4-mapped: ::ffff:0:0/96.
constexpr IpAddress kFirstV4 = IpAddress::v4(0, 0, 0, 0), kLastV4 = IpAddress::v4(255, 255, 255, 255);

// The address behind, or before; nothing when there is none.
std::optional<IpAddress> after(const IpAddress& address) {
  Bytes bytes = address.bytes();
  for (auto byte = bytes.rbegin(); byte != bytes.rend(); ++byte)
    if (++*byte != 0) return IpAddress::v6(bytes);
  return std::nullopt;
}
std::optional<IpAddress> before(const IpAddress& address) {
  Bytes bytes = address.bytes();
  for (auto byte = bytes.rbegin(); byte != bytes.rend(); ++byte)
    if ((*byte)-- != 0) return IpAddress::v6(bytes);
  return std::nullopt;
}

std::string_view without_comment(std::string_view line) {
  line = line.substr(0, line.find_first_of("#;"));
  const size_t first = line.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return line.substr(first, line.find_last_not_of(kSpace) + 1 - first);
}

struct Prefix {
  IpAddress first, last;
};

std::optional<Prefix> read_prefix(std::string_view text) {
  if (text.size() > kNetworkMaxBytes || text.find('\0') != std::string_view::npos) return std::nullopt;
  const size_t slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  if (slash == std::string_view::npos) return Prefix{*address, *address};

  // Of a v4-mapped address a reader would not know which family's bits are meant.
  if (address->is_v4() && text.find(':') != std::string_view::npos) return std::nullopt;
  const std::string_view length = text.substr(slash + 1);
  const uint32_t family_bits = address->is_v4() ? 32 : 128;
  uint32_t prefix = 0;
  const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), prefix);
  if (error != std::errc() || end != length.data() + length.size() || prefix > family_bits) return std::nullopt;

  // Feeds write bits behind the prefix too ("192.0.2.1/24"): the network is meant.
  Bytes first = address->bytes(), last = first;
  for (uint32_t bit = 128 - (family_bits - prefix); bit < 128; ++bit) {
    const auto mask = static_cast<uint8_t>(0x80U >> (bit % 8));
    first[bit / 8] = static_cast<uint8_t>(first[bit / 8] & ~mask);
    last[bit / 8] = static_cast<uint8_t>(last[bit / 8] | mask);
  }
  return Prefix{IpAddress::v6(first), IpAddress::v6(last)};
}

}  // namespace

Result<Networks> Networks::parse(std::string_view text) {
  Networks networks;
  auto& ranges = networks.ranges_;
  size_t number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = without_comment(text.substr(at, end - at));
    at = end + 1;
    ++number;
    if (line.empty()) continue;
    const auto prefix = read_prefix(line);
    if (!prefix)
      return fail(Code::kInvalid, "line {}: '{}' is no network", number,
                  guest::printable(line.substr(0, kShownMaxBytes)));
    if (ranges.size() >= kMaxNetworks)
      return fail(Code::kLimit, "line {}: more than {} networks", number, kMaxNetworks);
    // An IPv6 prefix as short as ::/0 means no IPv4 address.
    if (prefix->first < kFirstV4 && prefix->last > kLastV4) {
      ranges.push_back({prefix->first, *before(kFirstV4)});
      ranges.push_back({*after(kLastV4), prefix->last});
    } else {
      ranges.push_back({prefix->first, prefix->last});
    }
  }

  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
  size_t kept = 0;
  for (const Range& range : ranges) {
    if (kept > 0) {
      Range& previous = ranges[kept - 1];
      const auto next = after(previous.last);
      if (!next || range.first <= *next) {
        previous.last = std::max(previous.last, range.last);
        continue;
      }
    }
    ranges[kept++] = range;
  }
  ranges.resize(kept);
  ranges.shrink_to_fit();
  return networks;
}

bool Networks::contains(const IpAddress& address) const {
  const auto behind = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                                       [](const IpAddress& a, const Range& range) { return a < range.first; });
  return behind != ranges_.begin() && address <= std::prev(behind)->last;
}

}  // namespace hyperward::detect
