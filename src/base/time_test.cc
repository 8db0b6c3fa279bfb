#include "base/time.h"

#include <gtest/gtest.h>

#include <random>

namespace hyperward {
namespace {

using namespace std::chrono_literals;

WallTime time_of(std::string_view text) {
  const auto time = from_rfc3339(text);
  EXPECT_TRUE(time) << time.error().message;
  return time.value_or(WallTime::min());
}

std::chrono::seconds duration_of(std::string_view text) {
  const auto duration = parse_duration(text);
  EXPECT_TRUE(duration) << duration.error().message;
  return duration.value_or(std::chrono::seconds::min());
}

std::string message_of(std::string_view duration) {
  const auto parsed = parse_duration(duration);
  return parsed ? "no error" : parsed.error().message;
}

TEST(WallTime, prints_utc_with_milliseconds) {
  EXPECT_EQ(to_rfc3339(WallTime(0ms)), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(to_rfc3339(WallTime(951'782'400'250ms)), "2000-02-29T00:00:00.250Z");
  EXPECT_EQ(to_rfc3339(WallTime(-1ms)), "1969-12-31T23:59:59.999Z");
}

TEST(WallTime, is_shown_within_the_years_that_rfc3339_knows) {
  EXPECT_EQ(to_rfc3339(WallTime::min()), "0000-01-01T00:00:00.000Z");
  EXPECT_EQ(to_rfc3339(WallTime::max()), "9999-12-31T23:59:59.999Z");
}

TEST(WallTime, comes_back_from_its_text) {
  std::mt19937_64 engine(1);
  std::uniform_int_distribution<int64_t> any_ms(-62'167'219'200'000, 253'402'300'799'999);
  for (int i = 0; i < 1000; ++i) {
    const WallTime time{std::chrono::milliseconds(any_ms(engine))};
    ASSERT_EQ(time_of(to_rfc3339(time)), time);
  }
}

TEST(WallTime, is_read_with_any_offset_and_fraction) {
  const WallTime noon(951'825'600'000ms);
  EXPECT_EQ(time_of("2000-02-29T12:00:00Z"), noon);
  EXPECT_EQ(time_of("2000-02-29t12:00:00z"), noon);
  EXPECT_EQ(time_of("2000-02-29T12:00:00-00:00"), noon);
  EXPECT_EQ(time_of("2000-02-29T17:30:00+05:30"), noon);
  EXPECT_EQ(time_of("2000-02-28T23:00:00-13:00"), noon);
  EXPECT_EQ(time_of("2000-02-29T12:00:00.5Z"), noon + 500ms);
  EXPECT_EQ(time_of("2000-02-29T12:00:00.001999999Z"), noon + 1ms);
}

TEST(WallTime, counts_a_leap_second_as_the_one_after_it) {
  EXPECT_EQ(time_of("2016-12-31T23:59:60Z"), time_of("2017-01-01T00:00:00Z"));
}

TEST(WallTime, refuses_what_is_none) {
  for (const char* text : {"",
                           "2000-02-29",
                           "2000-02-29T12:00:00",
                           "2000-02-29 12:00:00Z",
                           "2000-02-30T12:00:00Z",
                           "2001-02-29T12:00:00Z",
                           "2000-13-01T12:00:00Z",
                           "2000-00-01T12:00:00Z",
                           "2000-01-00T12:00:00Z",
                           "2000-01-01T24:00:00Z",
                           "2000-01-01T12:60:00Z",
                           "2000-01-01T12:00:61Z",
                           "2000-01-01T12:00:00.Z",
                           "2000-01-01T12:00:00.1234567890Z",
                           "2000-01-01T12:00:00+0100",
                           "2000-01-01T12:00:00+24:00",
                           "2000-01-01T12:00:00Z ",
                           "-200-01-01T12:00:00Z",
                           "+200-01-01T12:00:00Z",
                           "0000-01-01T00:00:00+00:01",
                           "9999-12-31T23:59:59-00:01"})
    EXPECT_FALSE(from_rfc3339(text)) << text;
  EXPECT_EQ(from_rfc3339("now").error().message, "'now' is no time: write it as 2025-03-01T12:00:00Z");
}

TEST(Duration, is_read_in_every_unit_and_in_several) {
  EXPECT_EQ(duration_of("30s"), 30s);
  EXPECT_EQ(duration_of("5m"), 5min);
  EXPECT_EQ(duration_of("2h"), 2h);
  EXPECT_EQ(duration_of("7d"), 168h);
  EXPECT_EQ(duration_of("1h30m"), 90min);
  EXPECT_EQ(duration_of("1d1s"), 24h + 1s);
  EXPECT_EQ(duration_of("90m"), 90min);
  EXPECT_EQ(duration_of("0s"), 0s);
}

TEST(Duration, refuses_what_is_none) {
  for (const char* text :
       {"", "30", "s", "h30m", "-5m", "+5m", "5 m", "5m ", " 5m", "1.5h", "5M", "5w", "30m1h", "1h1h", "5m5", "0x5s"})
    EXPECT_FALSE(parse_duration(text)) << text;
  EXPECT_EQ(message_of("soon"), "'soon' is no duration: write it as 30s, 5m, 2h, 7d or 1h30m");
}

TEST(Duration, is_ten_years_at_most) {
  EXPECT_EQ(duration_of("3650d"), kMaxDuration);
  EXPECT_EQ(duration_of("315360000s"), kMaxDuration);
  EXPECT_EQ(message_of("3651d"), "'3651d' is longer than 3650 days");
  EXPECT_EQ(message_of("3650d1s"), "'3650d1s' is longer than 3650 days");
  EXPECT_EQ(message_of("9223372036854775807d"), "'9223372036854775807d' is longer than 3650 days");
  EXPECT_EQ(message_of("18446744073709551617s"), "'18446744073709551617s' is longer than 3650 days");
}

TEST(Duration, quotes_only_the_beginning_of_a_text_without_end) {
  EXPECT_LT(message_of(std::string(1UL << 20, '1')).size(), 200U);
  EXPECT_LT(from_rfc3339(std::string(1UL << 20, '1')).error().message.size(), 200U);
}

TEST(Duration, comes_back_from_its_text) {
  for (const auto duration : {0s, 1s, 60s, 3600s, 86'400s, 90'061s, 5400s, std::chrono::seconds(kMaxDuration)})
    EXPECT_EQ(duration_of(to_text(duration)), duration) << to_text(duration);
  EXPECT_EQ(to_text(90min), "1h30m");
}

TEST(Duration, shows_what_is_overdue_with_a_sign) {
  EXPECT_EQ(to_text(-90s), "-1m30s");
  EXPECT_EQ(to_text(std::chrono::seconds::min()), "-106751991167300d15h30m8s");
}

}  // namespace
}  // namespace hyperward
