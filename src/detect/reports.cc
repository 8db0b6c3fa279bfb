#include "detect/reports.h"

#include <algorithm>

namespace hyperward::detect {

uint32_t Reports::times(Kind kind, uint64_t target, Time now) const {
  for (const Entry& entry : entries_)
    if (entry.kind == kind && entry.target == target && now < entry.until) return entry.times;
  return 0;
}

bool Reports::enter(Kind kind, uint64_t target, Time now, Time until) {
  std::erase_if(entries_, [&](const Entry& entry) { return now >= entry.until; });
  for (Entry& entry : entries_) {
    if (entry.kind != kind || entry.target != target) continue;
    ++entry.times;
    return true;
  }
  const auto targets =
      std::count_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.kind == kind; });
  const bool room = target == kWhole || static_cast<size_t>(targets) < kMaxTargets;
  if (!room && said(kind, kWhole, now)) return false;
  entries_.push_back({.until = until, .target = room ? target : kWhole, .times = 1, .kind = kind});
  return room;
}

}  // namespace hyperward::detect
