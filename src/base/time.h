// Points on the wall clock and lengths of time, as people and other programs write them.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hyperward {

using WallTime = std::chrono::sys_time<std::chrono::milliseconds>;
[[nodiscard]] WallTime wall_now();

// RFC 3339 in UTC, always with milliseconds: "2025-03-01T12:00:00.250Z". It knows the years 0000 to 9999: a time beyond
// them is shown as the first or the last of theirs.
[[nodiscard]] std::string to_rfc3339(WallTime time);
// Any offset from UTC, any fraction of a second up to nanoseconds (cut to milliseconds). A leap second counts as the
// second after it, since system clocks have none.
[[nodiscard]] Result<WallTime> from_rfc3339(std::string_view text);

constexpr std::chrono::days kMaxDuration{3650};  // ten years

// "30s", "5m", "2h", "7d", or several of them from the greatest unit to the smallest: "1h30m". From 0 to kMaxDuration.
[[nodiscard]] Result<std::chrono::seconds> parse_duration(std::string_view text);
// Its inverse: "1h30m" for 90 minutes, "0s" for nothing. What is negative, as only a remaining time can be, gets a '-'.
[[nodiscard]] std::string to_text(std::chrono::seconds duration);

}  // namespace hyperward
