#include "detect/rule_target.h"

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/ranges.h>

#include "packet/packet.h"

namespace hyperward::detect {
namespace {

constexpr uint32_t kPortMax = 65'535;
constexpr IpAddress kFirstV4 = IpAddress::v4(0, 0, 0, 0), kLastV4 = IpAddress::v4(255, 255, 255, 255);

bool has_bit(const IpAddress& address, unsigned bit) {
  return (address.bytes()[15 - bit / 8] & (1U << bit % 8)) != 0;
}

// The last address of the network that begins here and has so many host bits.
IpAddress last_of(const IpAddress& first, unsigned host_bits) {
  std::array<uint8_t, 16> bytes = first.bytes();
  for (unsigned bit = 0; bit < host_bits; ++bit) bytes[15 - bit / 8] |= static_cast<uint8_t>(1U << bit % 8);
  return IpAddress::v6(bytes);
}

IpAddress next_after(const IpAddress& address) {
  std::array<uint8_t, 16> bytes = address.bytes();
  for (size_t i = bytes.size(); i-- > 0;)
    if (++bytes[i] != 0) break;
  return IpAddress::v6(bytes);
}

std::string prefix_text(const IpAddress& first, unsigned host_bits) {
  if (host_bits == 0) return to_string(first);
  return fmt::format("{}/{}", to_string(first), (first.is_v4() ? 32 : 128) - host_bits);
}

// The fewest prefixes that make up the networks. Nothing: they are more than kMaxLeftOut.
std::optional<std::vector<std::string>> prefixes_of(const Networks& networks) {
  std::vector<std::string> prefixes;
  for (const Networks::Range& range : networks.ranges()) {
    for (IpAddress first = range.first;;) {
      unsigned host_bits = 0;
      while (host_bits < 128 && !has_bit(first, host_bits) && last_of(first, host_bits + 1) <= range.last) ++host_bits;
      const IpAddress last = last_of(first, host_bits);
      prefixes.push_back(prefix_text(first, host_bits));
      // In a rule an IPv6 prefix means no IPv4 address, wherever those are kept.
      if (!first.is_v4() && first < kFirstV4 && kLastV4 < last) prefixes.emplace_back("0.0.0.0/0");
      if (prefixes.size() > kMaxLeftOut) return std::nullopt;
      if (last == range.last) break;
      first = next_after(last);
    }
  }
  return prefixes;
}

// All ports but these: "{ 0-21, 23-65535 }".
std::string ports_without(std::vector<uint16_t> ports) {
  std::sort(ports.begin(), ports.end());
  std::vector<std::string> ranges;
  uint32_t first = 0;
  const auto add_up_to = [&](uint32_t end) {
    if (first + 1 == end) ranges.push_back(fmt::format("{}", first));
    if (first + 1 < end) ranges.push_back(fmt::format("{}-{}", first, end - 1));
  };
  for (const uint16_t port : ports) {
    add_up_to(port);
    first = port + 1U;
  }
  add_up_to(kPortMax + 1);
  return fmt::format("{{ {} }}", fmt::join(ranges, ", "));
}

std::string outbound(std::string_view protocol, std::string_view remote, std::string_view port) {
  if (protocol.empty() && remote.empty()) return {};
  return fmt::format(" to{}{}{}", protocol, remote, port);
}

// There `to` is the guest's own end.
std::string inbound(std::string_view protocol, std::string_view remote, std::string_view port) {
  std::string text = " in";
  if (!protocol.empty()) text += fmt::format(" to{}{}", protocol, port);
  if (!remote.empty()) text += fmt::format(" peer{}", remote);
  return text;
}

}  // namespace

std::expected<TargetPart, std::string> target_part(const RuleTarget& target, Protocol seen, const Protected& never) {
  if (target.address && never.networks.contains(*target.address))
    return std::unexpected(fmt::format("{} lies in a protected network", to_string(*target.address)));
  if (target.port && std::ranges::find(never.ports, *target.port) != never.ports.end())
    return std::unexpected(fmt::format("port {} is protected", *target.port));

  const bool may_hit_ports = !target.port && packet::has_ports(target.protocol.value_or(seen));
  const bool without_ports = may_hit_ports && !never.ports.empty();
  const bool without_networks = !target.address && !never.networks.empty();
  if (without_ports && never.ports.size() > kMaxLeftOut)
    return std::unexpected(fmt::format("the rule would have to leave out {} protected ports", never.ports.size()));

  TargetPart part{.left_out = without_ports || without_networks};
  std::string protocol, remote, port;
  if (target.protocol) {
    protocol = fmt::format(" {}", to_string(*target.protocol));
  } else if (without_ports) {
    protocol = " { tcp, udp, sctp }";
  } else if (!never.ports.empty()) {
    protocol = fmt::format(" {}", to_string(seen));
    part.left_out = true;
  }
  if (target.address) remote = fmt::format(" {}", to_string(*target.address));
  if (without_networks) {
    const auto prefixes = prefixes_of(never.networks);
    if (!prefixes)
      return std::unexpected(
          fmt::format("the rule would have to leave out more than {} protected networks", kMaxLeftOut));
    remote = fmt::format(" not {{ {} }}", fmt::join(*prefixes, ", "));
  }
  if (target.port) port = fmt::format(" port {}", *target.port);
  if (without_ports) port = fmt::format(" port {}", ports_without(never.ports));
  part.text =
      target.direction == policy::Direction::kOut ? outbound(protocol, remote, port) : inbound(protocol, remote, port);
  return part;
}

}  // namespace hyperward::detect
