#include "base/net.h"

#include <gtest/gtest.h>

namespace hyperward {
namespace {

TEST(IpAddress, parses_and_prints_both_families) {
  for (const char* text : {"10.9.0.2", "255.255.255.255", "::", "2001:db8::1", "fe80::1"}) {
    const auto address = IpAddress::parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(to_string(*address), text);
  }
}

TEST(IpAddress, keeps_v4_mapped_as_v4) {
  const auto mapped = IpAddress::parse("::ffff:10.0.0.1");
  ASSERT_TRUE(mapped);
  EXPECT_EQ(*mapped, IpAddress::v4(10, 0, 0, 1));
  EXPECT_TRUE(mapped->is_v4());
  EXPECT_EQ(IpAddress::v4_network_order(mapped->v4_be()), *mapped);
}

TEST(IpAddress, knows_the_unspecified_address_of_both_families) {
  EXPECT_TRUE(IpAddress().is_unspecified());
  EXPECT_TRUE(IpAddress::v4(0, 0, 0, 0).is_unspecified());
  EXPECT_FALSE(IpAddress::v4(0, 0, 0, 1).is_unspecified());
}

TEST(IpAddress, rejects_what_is_none) {
  for (const char* text : {"", "10.0.0", "10.0.0.256", "10.0.0.1/8", "localhost", ":::"})
    EXPECT_FALSE(IpAddress::parse(text)) << text;
}

TEST(Endpoint, parses_and_prints_both_families) {
  for (const char* text : {"10.9.0.2:43210", "[2001:db8::1]:25", "0.0.0.0:0"}) {
    const auto endpoint = Endpoint::parse(text);
    ASSERT_TRUE(endpoint) << text;
    EXPECT_EQ(to_string(*endpoint), text);
  }
}

TEST(Endpoint, rejects_what_is_none) {
  for (const char* text :
       {"", ":", ":80", "10.0.0.1", "10.0.0.1:", "10.0.0.1:65536", "10.0.0.1:8o", "::1:80", "[::1:80"})
    EXPECT_FALSE(Endpoint::parse(text)) << text;
}

}  // namespace
}  // namespace hyperward
