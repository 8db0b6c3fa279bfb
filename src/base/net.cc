#include "base/net.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace hyperward {

std::string to_string(Protocol protocol) {
  switch (protocol) {
    case Protocol::kIcmp: return "icmp";
    case Protocol::kTcp: return "tcp";
    case Protocol::kUdp: return "udp";
    case Protocol::kIcmpV6: return "icmp6";
    case Protocol::kSctp: return "sctp";
  }
  return fmt::format("{}", static_cast<unsigned>(protocol));
}

IpAddress IpAddress::v4_network_order(uint32_t address_be) {
  std::array<uint8_t, 4> b{};
  std::memcpy(b.data(), &address_be, 4);
  return v4(b[0], b[1], b[2], b[3]);
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string terminated(text);
  in_addr v4_address{};
  if (::inet_pton(AF_INET, terminated.c_str(), &v4_address) == 1) return v4_network_order(v4_address.s_addr);
  std::array<uint8_t, 16> v6_bytes{};
  if (::inet_pton(AF_INET6, terminated.c_str(), v6_bytes.data()) == 1) return v6(v6_bytes);
  return fail(Code::kInvalid, "'{}' is not an IP address", text);
}

bool IpAddress::is_unspecified() const {
  const auto zero = [](uint8_t byte) { return byte == 0; };
  if (is_v4()) return std::all_of(bytes_.begin() + 12, bytes_.end(), zero);
  return std::all_of(bytes_.begin(), bytes_.end(), zero);
}

uint32_t IpAddress::v4_be() const {
  HW_CHECK(is_v4());
  uint32_t value = 0;
  std::memcpy(&value, bytes_.data() + 12, 4);
  return value;
}

std::string to_string(const IpAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.is_v4()) {
    ::inet_ntop(AF_INET, address.bytes().data() + 12, text.data(), text.size());
  } else {
    ::inet_ntop(AF_INET6, address.bytes().data(), text.data(), text.size());
  }
  return text.data();
}

Result<Endpoint> Endpoint::parse(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return fail(Code::kInvalid, "'{}' is not ADDRESS:PORT", text);
  std::string_view address_text = text.substr(0, colon);
  const std::string_view port_text = text.substr(colon + 1);
  const bool bracketed = address_text.starts_with('[') && address_text.ends_with(']');
  if (bracketed) address_text = address_text.substr(1, address_text.size() - 2);
  if (!bracketed && address_text.find(':') != std::string_view::npos)
    return fail(Code::kInvalid, "'{}': write an IPv6 endpoint as [ADDRESS]:PORT", text);

  HW_TRY(const IpAddress address, IpAddress::parse(address_text));
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (error != std::errc() || end != port_text.data() + port_text.size())
    return fail(Code::kInvalid, "'{}': the port must be a number from 0 to 65535", text);
  return Endpoint{address, port};
}

std::string to_string(const Endpoint& endpoint) {
  if (endpoint.address.is_v4()) return fmt::format("{}:{}", to_string(endpoint.address), endpoint.port);
  return fmt::format("[{}]:{}", to_string(endpoint.address), endpoint.port);
}

}  // namespace hyperward
