#include "base/time.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>

namespace hyperward {
namespace {

using namespace std::chrono_literals;
using std::chrono::days;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::sys_days;

constexpr WallTime kFirst = sys_days(std::chrono::year(0) / 1 / 1);
constexpr WallTime kLast = sys_days(std::chrono::year(10'000) / 1 / 1) - milliseconds(1);

constexpr size_t kMaxFractionDigits = 9;
constexpr int kMaxQuotedChars = 40;  // of a wrong text, in the message about it

// A text that is consumed from its front.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}

  [[nodiscard]] bool at_end() const { return text_.empty(); }
  // One character out of `wanted`.
  [[nodiscard]] std::optional<char> take(std::string_view wanted) {
    if (text_.empty() || wanted.find(text_.front()) == std::string_view::npos) return std::nullopt;
    const char taken = text_.front();
    text_.remove_prefix(1);
    return taken;
  }
  [[nodiscard]] std::string_view take_digits() {
    const std::string_view digits = text_.substr(0, text_.find_first_not_of("0123456789"));
    text_.remove_prefix(digits.size());
    return digits;
  }
  // Exactly `count` digits, as a number.
  [[nodiscard]] std::optional<int> take_number(size_t count) {
    const std::string_view digits = text_.substr(0, count);
    if (digits.size() != count || digits.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
    text_.remove_prefix(count);
    int value = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return value;
  }

 private:
  std::string_view text_;
};

// full-date of RFC 3339 section 5.6.
std::optional<sys_days> take_date(Cursor& text) {
  const auto year = text.take_number(4);
  if (!year || !text.take("-")) return std::nullopt;
  const auto month = text.take_number(2);
  if (!month || !text.take("-")) return std::nullopt;
  const auto day = text.take_number(2);
  if (!day) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  return sys_days(date);
}

// partial-time.
std::optional<milliseconds> take_time_of_day(Cursor& text) {
  const auto hour = text.take_number(2);
  if (!hour || *hour > 23 || !text.take(":")) return std::nullopt;
  const auto minute = text.take_number(2);
  if (!minute || *minute > 59 || !text.take(":")) return std::nullopt;
  const auto second = text.take_number(2);
  if (!second || *second > 60) return std::nullopt;
  milliseconds time = std::chrono::hours(*hour) + std::chrono::minutes(*minute) + seconds(*second);
  if (!text.take(".")) return time;

  const std::string_view fraction = text.take_digits();
  if (fraction.empty() || fraction.size() > kMaxFractionDigits) return std::nullopt;
  milliseconds unit = 100ms;
  for (const char digit : fraction.substr(0, 3)) {
    time += (digit - '0') * unit;
    unit /= 10;
  }
  return time;
}

// time-offset: what is to be taken away to get UTC.
std::optional<milliseconds> take_offset(Cursor& text) {
  if (text.take("Zz")) return 0ms;
  const auto sign = text.take("+-");
  const auto hour = text.take_number(2);
  if (!sign || !hour || *hour > 23 || !text.take(":")) return std::nullopt;
  const auto minute = text.take_number(2);
  if (!minute || *minute > 59) return std::nullopt;
  const milliseconds offset = std::chrono::hours(*hour) + std::chrono::minutes(*minute);
  return *sign == '-' ? -offset : offset;
}

std::optional<WallTime> read_rfc3339(std::string_view text) {
  Cursor cursor(text);
  const auto date = take_date(cursor);
  if (!date || !cursor.take("Tt")) return std::nullopt;
  const auto time_of_day = take_time_of_day(cursor);
  if (!time_of_day) return std::nullopt;
  const auto offset = take_offset(cursor);
  if (!offset || !cursor.at_end()) return std::nullopt;
  const WallTime time = *date + *time_of_day - *offset;
  if (time < kFirst || time > kLast) return std::nullopt;
  return time;
}

struct Unit {
  char letter;
  seconds length;
};
constexpr std::array<Unit, 4> kUnits{Unit{'d', 24h}, Unit{'h', 1h}, Unit{'m', 1min}, Unit{'s', 1s}};

std::unexpected<Error> too_long(std::string_view text) {
  return fail(Code::kInvalid, "'{:.{}}' is longer than {} days", text, kMaxQuotedChars, kMaxDuration.count());
}

}  // namespace

WallTime wall_now() {
  return std::chrono::floor<milliseconds>(std::chrono::system_clock::now());
}

std::string to_rfc3339(WallTime time) {
  const WallTime shown = std::clamp(time, kFirst, kLast);
  const sys_days day = std::chrono::floor<days>(shown);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(shown - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), clock.hours().count(),
                     clock.minutes().count(), clock.seconds().count(), clock.subseconds().count());
}

Result<WallTime> from_rfc3339(std::string_view text) {
  const auto time = read_rfc3339(text);
  if (!time)
    return fail(Code::kInvalid, "'{:.{}}' is no time: write it as 2025-03-01T12:00:00Z", text, kMaxQuotedChars);
  return *time;
}

Result<seconds> parse_duration(std::string_view text) {
  Cursor cursor(text);
  seconds total{0};
  size_t next_unit = 0;  // each unit once, the greater before the smaller
  do {
    const std::string_view digits = cursor.take_digits();
    int64_t count = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
    size_t unit = next_unit;
    while (unit < kUnits.size() && !cursor.take({&kUnits[unit].letter, 1})) ++unit;
    if (digits.empty() || unit == kUnits.size())
      return fail(Code::kInvalid, "'{:.{}}' is no duration: write it as 30s, 5m, 2h, 7d or 1h30m", text,
                  kMaxQuotedChars);
    if (error != std::errc() || count > kMaxDuration / kUnits[unit].length) return too_long(text);
    total += count * kUnits[unit].length;
    next_unit = unit + 1;
  } while (!cursor.at_end());
  if (total > kMaxDuration) return too_long(text);
  return total;
}

std::string to_text(seconds duration) {
  if (duration == 0s) return "0s";
  const bool negative = duration < 0s;
  // Unsigned: the smallest number has no positive counterpart.
  uint64_t rest = static_cast<uint64_t>(duration.count());
  if (negative) rest = 0 - rest;
  std::string text = negative ? "-" : "";
  for (const Unit& unit : kUnits) {
    const auto length = static_cast<uint64_t>(unit.length.count());
    if (rest >= length) text += fmt::format("{}{}", rest / length, unit.letter);
    rest %= length;
  }
  return text;
}

}  // namespace hyperward
