#include "detect/rule_target.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "policy/rules.h"

namespace hyperward::detect {
namespace {

Networks networks(std::string_view text) {
  auto parsed = Networks::parse(text);
  HW_CHECK(parsed.has_value());
  return *std::move(parsed);
}

Protected never(std::vector<uint16_t> ports, std::string_view nets = "") {
  return {.uids = {}, .processes = {}, .ports = std::move(ports), .networks = networks(nets)};
}

constexpr policy::Direction kIn = policy::Direction::kIn;
const RuleTarget kEverything;
const RuleTarget kSmtp{.protocol = Protocol::kTcp, .address = {}, .port = 25};
const RuleTarget kHost{.protocol = Protocol::kTcp, .address = IpAddress::v4(203, 0, 113, 9), .port = {}};
const RuleTarget kHostAlone{.protocol = {}, .address = IpAddress::v4(203, 0, 113, 9), .port = {}};

std::string text(const RuleTarget& target, const Protected& never, Protocol seen = Protocol::kTcp) {
  const auto part = target_part(target, seen, never);
  if (!part) return part.error();
  const std::string rule = fmt::format("deny{} from any", part->text);
  EXPECT_TRUE(policy::compile(rule, {})) << rule;
  return part->text;
}

// Its service's port is this one.
policy::Flow flow_with(const IpAddress& address, uint16_t port, Protocol protocol, policy::Direction direction) {
  const IpAddress guest = IpAddress::v4(10, 9, 0, 2);
  if (direction == kIn) return {direction, protocol, {guest, port}, {address, 40000}};
  return {direction, protocol, {guest, 40000}, {address, port}};
}

TEST(RuleTarget, says_what_is_hit) {
  EXPECT_EQ(text(kEverything, {}), "");
  EXPECT_EQ(text(kSmtp, {}), " to tcp port 25");
  EXPECT_EQ(text(kHost, {}), " to tcp 203.0.113.9");
  EXPECT_EQ(text(kHostAlone, {}), " to 203.0.113.9");
  EXPECT_EQ(text({.protocol = Protocol::kUdp, .address = *IpAddress::parse("2001:db8::9"), .port = 53}, {}),
            " to udp 2001:db8::9 port 53");
  EXPECT_EQ(text({.protocol = Protocol{47}, .address = *IpAddress::parse("::1"), .port = {}}, {}), " to 47 ::1");
  EXPECT_EQ(text({.protocol = Protocol::kIcmpV6, .address = {}, .port = {}}, {}), " to icmp6");
}

TEST(RuleTarget, of_flows_that_others_began_is_the_guests_service_and_their_peer) {
  RuleTarget web{.direction = kIn, .protocol = Protocol::kTcp, .address = IpAddress::v4(203, 0, 113, 9), .port = 80};
  EXPECT_EQ(text(web, {}), " in to tcp port 80 peer 203.0.113.9");
  EXPECT_EQ(text(web, never({80})), "port 80 is protected");
  EXPECT_EQ(text(web, never({}, "203.0.113.0/24")), "203.0.113.9 lies in a protected network");
  web.address.reset();
  EXPECT_EQ(text(web, never({}, "10.0.0.0/8")), " in to tcp port 80 peer not { 10.0.0.0/8 }");
  EXPECT_EQ(text({.direction = kIn}, {}), " in");
  EXPECT_EQ(text({.direction = kIn}, never({22})), " in to { tcp, udp, sctp } port { 0-21, 23-65535 }");
  EXPECT_EQ(text({.direction = kIn, .protocol = Protocol::kIcmp, .address = {}, .port = {}}, {}), " in to icmp");
}

TEST(RuleTarget, a_protected_port_or_address_is_no_target) {
  EXPECT_EQ(text(kSmtp, never({22, 25})), "port 25 is protected");
  EXPECT_EQ(text(kHost, never({}, "203.0.113.0/24")), "203.0.113.9 lies in a protected network");
}

TEST(RuleTarget, leaves_out_protected_ports) {
  EXPECT_EQ(text(kHost, never({22})), " to tcp 203.0.113.9 port { 0-21, 23-65535 }");
  EXPECT_EQ(text(kHost, never({65535, 3, 0, 1, 3, 5})), " to tcp 203.0.113.9 port { 2, 4, 6-65534 }");
  EXPECT_EQ(text(kSmtp, never({22})), " to tcp port 25");
}

TEST(RuleTarget, leaves_out_protected_networks) {
  const Protected lan = never({}, "10.0.0.0/8\nfd00::/8\n192.0.2.7");
  EXPECT_EQ(text(kSmtp, lan), " to tcp not { 10.0.0.0/8, 192.0.2.7, fd00::/8 } port 25");
  EXPECT_EQ(text(kEverything, lan), " to not { 10.0.0.0/8, 192.0.2.7, fd00::/8 }");
  EXPECT_EQ(text(kHost, lan), " to tcp 203.0.113.9");
}

TEST(RuleTarget, only_protocols_with_ports_can_leave_out_ports) {
  EXPECT_EQ(text(kEverything, never({22}, "10.0.0.0/8")),
            " to { tcp, udp, sctp } not { 10.0.0.0/8 } port { 0-21, 23-65535 }");
  EXPECT_EQ(text(kHostAlone, never({22})), " to { tcp, udp, sctp } 203.0.113.9 port { 0-21, 23-65535 }");
  EXPECT_EQ(text(kHostAlone, never({22}), Protocol::kIcmp), " to icmp 203.0.113.9");
  EXPECT_EQ(text({.protocol = Protocol::kIcmp, .address = {}, .port = {}}, never({22})), " to icmp");
}

TEST(RuleTarget, tells_whether_something_was_left_out) {
  EXPECT_FALSE(target_part(kSmtp, Protocol::kTcp, never({22}))->left_out);
  EXPECT_FALSE(target_part(kHost, Protocol::kTcp, never({}, "10.0.0.0/8"))->left_out);
  EXPECT_TRUE(target_part(kHost, Protocol::kTcp, never({22}))->left_out);
  EXPECT_TRUE(target_part(kSmtp, Protocol::kTcp, never({}, "10.0.0.0/8"))->left_out);
  EXPECT_TRUE(target_part(kHostAlone, Protocol::kIcmp, never({22}))->left_out);
}

TEST(RuleTarget, networks_become_the_fewest_prefixes) {
  EXPECT_EQ(text(kSmtp, never({}, "10.0.0.0/9\n10.128.0.0/9\n192.0.2.1\n192.0.2.2\n192.0.2.3")),
            " to tcp not { 10.0.0.0/8, 192.0.2.1, 192.0.2.2/31 } port 25");
  EXPECT_EQ(text(kSmtp, never({}, "0.0.0.0/0")), " to tcp not { 0.0.0.0/0 } port 25");
  EXPECT_EQ(text(kSmtp, never({}, "255.255.255.255\nffff::/16\n::")),
            " to tcp not { ::, 255.255.255.255, ffff::/16 } port 25");
  EXPECT_EQ(text(kSmtp, never({}, "::/0\n0.0.0.0/0")), " to tcp not { ::/0, 0.0.0.0/0 } port 25");
}

TEST(RuleTarget, gives_no_rule_with_more_left_out_than_the_limit) {
  std::string nets;
  std::vector<uint16_t> ports;
  for (uint16_t i = 0; i < kMaxLeftOut; ++i) {
    nets += fmt::format("10.{}.0.0/16\n", 2 * i);
    ports.push_back(static_cast<uint16_t>(1000 + 2 * i));
  }
  EXPECT_TRUE(target_part(kHost, Protocol::kTcp, never(ports)));
  EXPECT_TRUE(target_part(kSmtp, Protocol::kTcp, never({}, nets)));
  ports.push_back(1);
  EXPECT_EQ(text(kHost, never(ports)), "the rule would have to leave out 65 protected ports");
  EXPECT_EQ(text(kSmtp, never({}, nets + "192.0.2.1")),
            "the rule would have to leave out more than 64 protected networks");
}

TEST(RuleTarget, never_hits_what_is_protected) {
  std::mt19937 random(1);
  const auto below = [&](unsigned limit) { return static_cast<uint8_t>(random() % limit); };
  // Few addresses and ports, so that they meet often.
  const auto address = [&] {
    if (random() % 2 == 0) return IpAddress::v4(10, 0, below(2), static_cast<uint8_t>(248 + below(8)));
    std::array<uint8_t, 16> bytes{0x20};
    bytes[15] = below(16);
    return IpAddress::v6(bytes);
  };
  const Protocol protocols[] = {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp};
  for (int round = 0; round < 2000; ++round) {
    Protected never;
    std::string nets;
    for (unsigned i = random() % 4; i > 0; --i) never.ports.push_back(below(8));
    for (unsigned i = random() % 4; i > 0; --i) {
      const IpAddress base = address();
      nets += fmt::format("{}/{}\n", to_string(base), (base.is_v4() ? 29U : 125U) + random() % 4);
    }
    never.networks = networks(nets);
    const Protocol seen = protocols[random() % 3];
    const bool has_port = seen != Protocol::kIcmp && random() % 2 == 0;
    const policy::Direction directions[] = {policy::Direction::kOut, kIn};
    RuleTarget target{.direction = directions[random() % 2]};
    if (has_port || random() % 2 == 0) target.protocol = seen;
    if (random() % 2 == 0) target.address = address();
    if (has_port) target.port = below(8);

    const auto part = target_part(target, seen, never);
    if (!part) continue;
    const std::string rule = fmt::format("deny{} from any", part->text);
    const auto rules = policy::compile(rule, {});
    ASSERT_TRUE(rules) << rule;
    for (int i = 0; i < 50; ++i) {
      const Protocol protocol = protocols[random() % 3];
      const IpAddress remote = address();
      const uint16_t port = protocol == Protocol::kIcmp ? 0 : below(8);
      const policy::Direction direction = directions[random() % 2];
      const bool is_target = direction == target.direction && (!target.protocol || *target.protocol == protocol) &&
                             (!target.address || *target.address == remote) && (!target.port || *target.port == port);
      const bool is_protected =
          never.networks.contains(remote) ||
          (protocol != Protocol::kIcmp && std::ranges::find(never.ports, port) != never.ports.end());
      const bool is_hit =
          rules->decide(flow_with(remote, port, protocol, direction), {}).verdict == policy::Verdict::kDeny;
      if (!is_target || is_protected) {
        ASSERT_FALSE(is_hit) << rule << "\n" << to_string(remote) << " " << port;
      } else if (protocol == seen) {
        ASSERT_TRUE(is_hit) << rule << "\n" << to_string(remote) << " " << port;
      }
    }
  }
}

}  // namespace
}  // namespace hyperward::detect
