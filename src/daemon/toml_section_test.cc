#include "daemon/toml_section.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hyperward::daemon {
namespace {

using namespace std::chrono_literals;

// The section [a] of a text, and what it refers to.
struct Parsed {
  explicit Parsed(std::string_view text) : root(parse_toml(text, file).value()) {}
  Section a() { return Section(root, file).take_section("a").value(); }

  std::filesystem::path file = "x.toml";
  toml::table root;
};

template <typename T>
std::string message_of(const Result<T>& result) {
  return result ? "no error" : result.error().message;
}

TEST(Section, gives_nothing_for_a_key_that_is_not_there) {
  Parsed parsed("a = {}");
  EXPECT_EQ(parsed.a().take_number("n", 1, 2).value(), std::nullopt);
  EXPECT_EQ(parsed.a().take_duration("d", 1ms, 2ms).value(), std::nullopt);
  EXPECT_EQ(parsed.a().take_strings("s").value(), std::nullopt);
  EXPECT_TRUE(parsed.a().take_sections("t").value().empty());
  EXPECT_EQ(Parsed("").a().take_ports("p").value(), std::nullopt);
}

TEST(ParseToml, has_characters_beyond_ascii_in_strings_and_comments_alone) {
  EXPECT_EQ(message_of(parse_toml("# f\u00fcr\na = \"\u0447\\\"\u0447\" # \u0447\nb = '\u0447'", "x.toml")),
            "no error");
  EXPECT_EQ(message_of(parse_toml("a = 1\nb = 7\u0447", "x.toml")),
            "x.toml:2:6: only quoted strings and comments may have characters beyond ASCII");
  EXPECT_NE(message_of(parse_toml("a = \"x\ny\u0447", "x.toml")), "no error");
}

TEST(Section, reads_durations_down_to_milliseconds) {
  const auto duration = [](const std::string& text) {
    Parsed parsed("a.d = '" + text + "'");
    return parsed.a().take_duration("d", 50ms, 2h);
  };
  EXPECT_EQ(duration("100ms").value(), 100ms);
  EXPECT_EQ(duration("10s").value(), 10s);
  EXPECT_EQ(duration("1h30m").value(), 90min);
  EXPECT_EQ(message_of(duration("10ms")), "x.toml:1:7: a.d must be from 50ms to 2h");
  EXPECT_EQ(message_of(duration("3h")), "x.toml:1:7: a.d must be from 50ms to 2h");
  EXPECT_THAT(message_of(duration("ms")), testing::StartsWith("x.toml:1:7: a.d is wrong: 'ms' is no duration"));
  EXPECT_THAT(message_of(duration("-5ms")), testing::HasSubstr("is no duration"));
  EXPECT_THAT(message_of(duration("99999999999ms")), testing::HasSubstr("is no duration"));
  EXPECT_THAT(message_of(duration("soon")), testing::StartsWith("x.toml:1:7: a.d is wrong: 'soon' is no duration"));
}

TEST(Section, points_at_the_value_of_a_list_that_is_wrong) {
  EXPECT_EQ(message_of(Parsed("a.p = [25, 0]").a().take_ports("p")),
            "x.toml:1:12: a.p must be a list of ports, from 1 to 65535");
  EXPECT_EQ(message_of(Parsed("a.s = ['x', 1]").a().take_strings("s")), "x.toml:1:13: a.s must be a list of strings");
  EXPECT_EQ(message_of(Parsed("a.s = 'x'").a().take_strings("s")), "x.toml:1:7: a.s must be a list");
  EXPECT_EQ(message_of(Parsed("[[a.t]]\n[[a.t]]").a().take_sections("t")), "no error");
  EXPECT_EQ(message_of(Parsed("a.t = [1]").a().take_sections("t")), "x.toml:1:8: [[a.t]] must be tables");
}

TEST(Section, bounds_its_lists) {
  std::string text = "a.p = [";
  for (size_t i = 0; i <= Section::kMaxListed; ++i) text += "1,";
  EXPECT_EQ(message_of(Parsed(text + "]").a().take_ports("p")), "x.toml:1:7: a.p may have 1024 values, and has 1025");
}

TEST(Section, refuses_what_nobody_asked_for_in_a_nested_table) {
  Parsed parsed("[a.b]\nknown = 1\nother = 2");
  Section a = parsed.a();
  Section b = a.take_section("b").value();
  EXPECT_EQ(message_of(b.take_number("known", 1, 1)), "no error");
  EXPECT_EQ(message_of(b.refuse_others()), "x.toml:3:1: unknown key 'other' in [a.b]; known are: known");
  EXPECT_EQ(message_of(a.refuse_others()), "no error");
}

}  // namespace
}  // namespace hyperward::daemon
