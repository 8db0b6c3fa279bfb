#include "policy/layout.h"

#include <algorithm>
#include <utility>

#include "packet/packet.h"

namespace hyperward::policy {

// --- Values ---

// Behind what is in the pool, with those that overlap made one.
template <typename T>
Layout::Slice Layout::lay_out(std::vector<Interval<T>> intervals, std::vector<Interval<T>>& pool) {
  std::sort(intervals.begin(), intervals.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  const auto begin = static_cast<uint32_t>(pool.size());
  for (const Interval<T>& interval : intervals) {
    if (pool.size() > begin && interval.first <= pool.back().last) {
      pool.back().last = std::max(pool.back().last, interval.last);
    } else {
      pool.push_back(interval);
    }
  }
  return {begin, static_cast<uint32_t>(pool.size()) - begin};
}

Layout::Slice Layout::numbers(std::span<const Range> values) {
  std::vector<Interval<uint16_t>> intervals;
  for (const Range& range : values)
    intervals.push_back({static_cast<uint16_t>(range.first), static_cast<uint16_t>(range.last)});
  return lay_out(std::move(intervals), rules_.numbers_);
}

Layout::Slice Layout::ids(std::span<const Range> values) {
  std::vector<Interval<uint32_t>> intervals;
  for (const Range& range : values) intervals.push_back({range.first, range.last});
  return lay_out(std::move(intervals), rules_.ids_);
}

Layout::Slice Layout::addresses(std::span<const Prefix> values) {
  std::vector<Interval<Wide>> intervals;
  for (const Prefix& prefix : values) {
    const uint32_t bits = prefix.host_bits;
    const Wide mask{bits > 64 ? UINT64_MAX >> (128 - bits) : 0, bits >= 64 ? UINT64_MAX : (uint64_t{1} << bits) - 1};
    const Wide first = RuleSet::wide(prefix.address);
    const Wide last{first.high | mask.high, first.low | mask.low};

    // An IPv6 prefix around ::ffff:0:0/96, where IPv4 is kept, means no IPv4 address.
    constexpr Wide kMappedFirst{0, 0xffff'0000'0000}, kMappedLast{0, 0xffff'ffff'ffff};
    if (!prefix.address.is_v4() && first < kMappedFirst && kMappedLast <= last) {
      intervals.push_back({first, {0, kMappedFirst.low - 1}});
      if (kMappedLast < last) intervals.push_back({{0, kMappedLast.low + 1}, last});
    } else {
      intervals.push_back({first, last});
    }
  }
  return lay_out(std::move(intervals), rules_.wides_);
}

Layout::Slice Layout::comms(std::span<const Comm> values) {
  std::vector<Interval<Wide>> intervals;
  for (const Comm& comm : values) {
    const Wide name = RuleSet::wide(comm.name);
    intervals.push_back({name, name});
  }
  return lay_out(std::move(intervals), rules_.wides_);
}

bool Layout::only_with_ports(Slice slice) const {
  const auto protocols = std::span(rules_.numbers_).subspan(slice.begin, slice.count);
  return std::all_of(protocols.begin(), protocols.end(), [](const Interval<uint16_t>& interval) {
    return interval.first == interval.last && packet::has_ports(Protocol{static_cast<uint8_t>(interval.first)});
  });
}

// --- Rules ---

void Layout::set_default(Direction direction, Verdict verdict, bool log) {
  rules_.defaults_[static_cast<size_t>(direction)] = {verdict, log};
  rules_.mentions_inbound_ |= direction == Direction::kIn;
}

void Layout::add(Rule rule, unsigned asks, const Matcher& matcher) {
  constexpr unsigned kAboutProcess = RuleSet::kAsksGid | RuleSet::kAsksPid | RuleSet::kAsksComm;
  constexpr unsigned kAboutKnownOwner = kAboutProcess | RuleSet::kAsksUid;
  constexpr unsigned kAboutOwner = kAboutKnownOwner | RuleSet::kAsksUnknown;
  rules_.needs_process_ |= (asks & kAboutProcess) != 0;
  rules_.needs_owner_ |= (asks & kAboutOwner) != 0;
  rules_.needs_known_owner_ |= (asks & kAboutKnownOwner) != 0;
  rules_.mentions_inbound_ |= rule.direction == Direction::kIn;

  asks |= rule.direction == Direction::kOut ? RuleSet::kAsksOut : RuleSet::kAsksIn;
  rules_.screens_.push_back(screen_of(asks, matcher));
  rules_.matchers_.push_back(matcher);
  rules_.rules_.push_back(std::move(rule));
}

// The hulls of what the conditions take. A slice is sorted: its ends are the hull's.
RuleSet::Screen Layout::screen_of(unsigned asks, const Matcher& matcher) const {
  RuleSet::Screen screen;
  screen.asks = static_cast<uint16_t>(asks);
  const auto tighten = [](const auto& pool, Slice slice, auto& hull) {
    if (slice.count == 0) return;
    using T = decltype(hull.first);
    hull.first = static_cast<T>(pool[slice.begin].first);
    hull.length = static_cast<T>(pool[slice.begin + slice.count - 1].last - hull.first);
  };
  tighten(rules_.numbers_, matcher.protocols, screen.protocol);
  tighten(rules_.numbers_, matcher.ports, screen.port);
  tighten(rules_.ids_, matcher.uids, screen.uid);
  if (matcher.comms.count > 0) {
    const auto comms = std::span(rules_.wides_).subspan(matcher.comms.begin, matcher.comms.count);
    screen.comm_high = {comms.front().first.high, comms.back().last.high - comms.front().first.high};
  }

  if ((asks & RuleSet::kAsksDestination) == 0 || (asks & RuleSet::kDestinationNegated) != 0) return screen;
  uint64_t least = UINT64_MAX, greatest = 0;
  const Slice slice = matcher.destinations;
  for (const auto& interval : std::span(rules_.wides_).subspan(slice.begin, slice.count)) {
    if (interval.first.high != interval.last.high) return screen;  // takes any lower half
    least = std::min(least, interval.first.low);
    greatest = std::max(greatest, interval.last.low);
  }
  if (least <= greatest) screen.destination_low = {least, greatest - least};
  return screen;
}

RuleSet Layout::take(std::shared_ptr<const Sets> sets) {
  rules_.sets_ = std::move(sets);
  return std::exchange(rules_, {});
}

}  // namespace hyperward::policy
