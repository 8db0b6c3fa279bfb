// Addresses and endpoints, the vocabulary that guests, packets and rules share.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hyperward {

// IP protocol numbers (IANA). Any other number may stand in a Protocol too.
enum class Protocol : uint8_t { kIcmp = 1, kTcp = 6, kUdp = 17, kIcmpV6 = 58, kSctp = 132 };

[[nodiscard]] std::string to_string(Protocol protocol);  // "tcp", "udp", "sctp", "icmp", "icmp6", or the number

// An IPv4 or IPv6 address in network byte order. An IPv4 address is kept v4-mapped (::ffff:a.b.c.d, RFC 4291
// section 2.5.5.2), so that both families compare, hash and store alike.
class IpAddress {
 public:
  constexpr IpAddress() = default;  // "::"
  static constexpr IpAddress v6(const std::array<uint8_t, 16>& bytes) { return IpAddress(bytes); }
  static constexpr IpAddress v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    return IpAddress({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d});
  }
  // The four bytes as they lie in a packet or in `skc_rcv_saddr`.
  static IpAddress v4_network_order(uint32_t address_be);
  [[nodiscard]] static Result<IpAddress> parse(std::string_view text);  // "10.0.0.1", "2001:db8::1"

  [[nodiscard]] constexpr bool is_v4() const {
    for (size_t i = 0; i < 10; ++i)
      if (bytes_[i] != 0) return false;
    return bytes_[10] == 0xff && bytes_[11] == 0xff;
  }
  [[nodiscard]] bool is_unspecified() const;  // 0.0.0.0 or ::
  [[nodiscard]] uint32_t v4_be() const;       // network byte order; only when is_v4()
  [[nodiscard]] const std::array<uint8_t, 16>& bytes() const { return bytes_; }

  auto operator<=>(const IpAddress&) const = default;

 private:
  constexpr explicit IpAddress(const std::array<uint8_t, 16>& bytes) : bytes_(bytes) {}
  std::array<uint8_t, 16> bytes_{};
};

[[nodiscard]] std::string to_string(const IpAddress& address);

struct Endpoint {
  IpAddress address;
  uint16_t port = 0;  // host byte order

  [[nodiscard]] static Result<Endpoint> parse(std::string_view text);  // "10.0.0.1:80", "[2001:db8::1]:80"
  auto operator<=>(const Endpoint&) const = default;
};

[[nodiscard]] std::string to_string(const Endpoint& endpoint);

}  // namespace hyperward
