#include "daemon/config.h"

#include <gtest/gtest.h>

namespace hyperward::daemon {
namespace {

constexpr std::string_view kWhole = R"([guest]
name = "web"
[guard]
tap = "tap0"
rules = "web.rules"
default = "allow"
[users]
alice = 1000
)";

std::string message_of(std::string_view text) {
  const auto config = parse_config(text, "dir/web.toml");
  return config ? "no error" : config.error().message;
}

TEST(Config, reads_a_whole_file) {
  const auto config = parse_config(kWhole, "dir/web.toml");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->guest.name, "web");
  EXPECT_EQ(config->tap, "tap0");
  EXPECT_EQ(config->rules, "dir/web.rules");
  EXPECT_TRUE(config->default_allow);
  EXPECT_EQ(config->users.at("alice"), 1000U);
}

TEST(Config, fails_closed_unless_told_otherwise) {
  const auto config = parse_config("guest.pid = 1\nguard = { tap = 't', rules = 'r' }", "x");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_FALSE(config->default_allow);
}

TEST(Config, names_file_line_and_column_of_a_mistake) {
  EXPECT_EQ(message_of("[guest]\nnam = 1"),
            "dir/web.toml:2:1: unknown key 'nam' in [guest]; known are: name, pid, qmp, access");
  EXPECT_EQ(message_of("[guest]\nname = 1"), "dir/web.toml:2:8: guest.name must be a string");
  EXPECT_EQ(message_of("guest = 3"), "dir/web.toml:1:9: [guest] must be a table");
  EXPECT_EQ(
      message_of("[guset]"),
      "dir/web.toml:1:2: unknown section 'guset'; known are: guest, guard, users, groups, detect, respond, module");
  EXPECT_TRUE(message_of("[guest\n").starts_with("dir/web.toml:1:7: "));
}

TEST(Config, says_what_is_missing) {
  EXPECT_EQ(message_of(""), "dir/web.toml: [guest] needs a name, a pid or a qmp");
  EXPECT_EQ(message_of("guest.name = 'web'"), "dir/web.toml: [guard] needs a tap");
}

TEST(Config, of_guests_that_are_found_names_neither_guest_nor_tap) {
  const auto config = parse_config("guard = {rules = 'r'}", "dir/found.toml", ConfigFor::kFoundGuests);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->rules, "dir/r");
  const auto wrong = parse_config("guard = {rules = 'r', tap = 't'}", "found.toml", ConfigFor::kFoundGuests);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().message,
            "found.toml:1:23: unknown key 'tap' in [guard]; known are: rules, default, max_flows");
}

TEST(Config, refuses_values_out_of_range) {
  EXPECT_EQ(message_of("guest.pid=1\nguard = {tap='t', rules='r', max_flows = 0}"),
            "dir/web.toml:2:42: guard.max_flows must be from 1 to 16000000");
  EXPECT_EQ(message_of("guest.pid=1\nguard = {tap='t', rules='r'}\nusers.x = -1"),
            "dir/web.toml:3:11: the id of 'x' must be a number from 0 to 4294967294");
}

TEST(ReadFile, bounds_what_it_reads) {
  const auto text = read_file("/dev/zero", 1000);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, Code::kLimit);
}

}  // namespace
}  // namespace hyperward::daemon
