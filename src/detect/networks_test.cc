#include "detect/networks.h"

#include <gtest/gtest.h>

namespace hyperward::detect {
namespace {

Networks parsed(std::string_view text) {
  auto networks = Networks::parse(text);
  if (networks) return *std::move(networks);
  ADD_FAILURE() << networks.error().message;
  return {};
}

bool in(const Networks& networks, std::string_view address) {
  return networks.contains(*IpAddress::parse(address));
}

std::string mistake_in(std::string_view text) {
  const auto networks = Networks::parse(text);
  return networks ? "no mistake" : networks.error().message;
}

TEST(Networks, contain_what_lies_in_a_prefix_and_nothing_beside_it) {
  const Networks networks = parsed("192.0.2.0/24\n2001:db8::/32\n203.0.113.9\n");
  for (const std::string_view inside : {"192.0.2.0", "192.0.2.255", "2001:db8::", "2001:db8:ffff::1", "203.0.113.9"})
    EXPECT_TRUE(in(networks, inside)) << inside;
  for (const std::string_view outside :
       {"192.0.1.255", "192.0.3.0", "2001:db7:ffff::", "2001:db9::", "203.0.113.8", "203.0.113.10", "::", "0.0.0.0"})
    EXPECT_FALSE(in(networks, outside)) << outside;
}

TEST(Networks, pass_over_comments_blank_lines_and_margins) {
  const Networks networks = parsed("# a feed\r\n\r\n  192.0.2.0/24 ; SBL1\r\n\t198.51.100.1\t# one\n;\n");
  EXPECT_EQ(networks.size(), 2U);
  EXPECT_TRUE(in(networks, "192.0.2.7"));
  EXPECT_TRUE(in(networks, "198.51.100.1"));
}

TEST(Networks, name_the_line_that_is_wrong) {
  EXPECT_EQ(mistake_in("192.0.2.0/24\n\n10.0.0.0/33"), "line 3: '10.0.0.0/33' is no network");
  for (const std::string_view line : {"10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0/8", "2001:db8::/129", "host",
                                      "/8", "1.2.3.4 5.6.7.8", "::ffff:10.0.0.0/104", "10.0.0.0/99999999999"})
    EXPECT_EQ(mistake_in(line), fmt::format("line 1: '{}' is no network", line));
}

TEST(Networks, show_no_more_of_a_bad_line_than_a_reader_wants_and_nothing_a_terminal_obeys) {
  EXPECT_LT(mistake_in(std::string(100'000, 'x')).size(), 200U);
  EXPECT_EQ(mistake_in("\x1b[2J"), "line 1: '\\x1b[2J' is no network");
  EXPECT_NE(mistake_in(std::string_view("10.0.0.1\0/8", 11)), "no mistake");
}

TEST(Networks, that_overlap_or_touch_are_one_range) {
  const Networks networks = parsed("10.0.0.0/9\n10.128.0.0/9\n10.1.0.0/16\n10.0.0.1\n255.255.255.255\n");
  EXPECT_EQ(networks.size(), 2U);
  EXPECT_TRUE(in(networks, "10.200.0.1"));
  EXPECT_FALSE(in(networks, "11.0.0.0"));
}

TEST(Networks, take_the_network_of_an_address_with_bits_behind_the_prefix) {
  EXPECT_TRUE(in(parsed("192.0.2.77/24"), "192.0.2.1"));
}

TEST(Networks, of_all_ipv6_contain_no_ipv4_address) {
  const Networks networks = parsed("::/0");
  EXPECT_TRUE(in(networks, "::"));
  EXPECT_TRUE(in(networks, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
  EXPECT_FALSE(in(networks, "0.0.0.0"));
  EXPECT_FALSE(in(networks, "255.255.255.255"));
  EXPECT_EQ(parsed("::/0\n0.0.0.0/0").size(), 1U);
}

TEST(Networks, of_an_empty_text_contain_nothing) {
  for (const std::string_view text : {"", "\n", "# nothing"}) {
    EXPECT_TRUE(parsed(text).empty());
    EXPECT_FALSE(in(parsed(text), "0.0.0.0"));
  }
  EXPECT_FALSE(in(Networks(), "::"));
}

TEST(Networks, are_limited_in_number) {
  std::string text;
  for (size_t i = 0; i <= Networks::kMaxNetworks; ++i) text += "1.1.1.1\n";
  const auto networks = Networks::parse(text);
  ASSERT_FALSE(networks);
  EXPECT_EQ(networks.error().code, Code::kLimit);
  EXPECT_EQ(networks.error().message, "line 1000001: more than 1000000 networks");
}

}  // namespace
}  // namespace hyperward::detect
