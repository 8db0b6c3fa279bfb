#include "policy/values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace hyperward::policy {
namespace {

constexpr uint32_t kPortMax = 65'535, kProtocolMax = 255, kIdMax = UINT32_MAX;

struct Unit {
  char letter;
  std::chrono::seconds length;
};
constexpr std::array kUnits{Unit{'d', std::chrono::days(1)}, Unit{'h', std::chrono::hours(1)},
                            Unit{'m', std::chrono::minutes(1)}, Unit{'s', std::chrono::seconds(1)}};

struct Service {
  std::string_view name;
  uint16_t port;
};
// Names of the IANA registry that rules want most; everything else is a number.
constexpr std::array kServices{
    Service{"ftp", 21},          Service{"ssh", 22},         Service{"telnet", 23},       Service{"smtp", 25},
    Service{"domain", 53},       Service{"http", 80},        Service{"pop3", 110},        Service{"ntp", 123},
    Service{"imap", 143},        Service{"snmp", 161},       Service{"ldap", 389},        Service{"https", 443},
    Service{"submissions", 465}, Service{"submission", 587}, Service{"ldaps", 636},       Service{"imaps", 993},
    Service{"pop3s", 995},       Service{"mysql", 3306},     Service{"postgresql", 5432},
};

constexpr std::array kProtocols{Protocol::kTcp, Protocol::kUdp, Protocol::kSctp, Protocol::kIcmp, Protocol::kIcmpV6};

// "25" or "1000-1999".
Meaning<Range> read_range(std::string_view text, uint32_t max, std::string_view what) {
  const size_t dash = text.find('-');
  const std::string_view first_text = text.substr(0, dash);
  const std::string_view last_text = dash == std::string_view::npos ? first_text : text.substr(dash + 1);
  Range range;
  for (const auto& [part, number] : {std::pair(first_text, &range.first), std::pair(last_text, &range.last)}) {
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), *number);
    if (part.empty() || end != part.data() + part.size() || error == std::errc::invalid_argument)
      return std::unexpected(fmt::format("is no {}", what));
    if (error != std::errc() || *number > max) return std::unexpected(fmt::format("is too large: the last is {}", max));
  }
  if (range.first > range.last) return std::unexpected("is a range from the larger number to the smaller");
  return range;
}

}  // namespace

bool looks_like_address(const Word& word) {
  return word.kind == Word::Kind::kPlain && word.text.find_first_of(".:/") != std::string_view::npos;
}

Meaning<Range> read_protocol(const Word& word) {
  for (const Protocol protocol : kProtocols) {
    const auto number = static_cast<uint8_t>(protocol);
    if (word.text == to_string(protocol)) return Range{number, number};
  }
  return read_range(word.text, kProtocolMax,
                    "protocol: tcp, udp, sctp, icmp, icmp6, any, or a number of an IP protocol");
}

Meaning<Range> read_port(const Word& word) {
  const auto* const service =
      std::find_if(kServices.begin(), kServices.end(), [&](const Service& known) { return known.name == word.text; });
  if (service != kServices.end()) return Range{service->port, service->port};
  return read_range(word.text, kPortMax, "port, nor the name of a well-known one");
}

Meaning<Range> read_id(const Word& word, std::string_view what) {
  return read_range(word.text, kIdMax, what);
}

Meaning<Range> read_named_id(const Word& word, std::string_view what,
                             const std::map<std::string, uint32_t, std::less<>>& ids) {
  if (const auto named = ids.find(word.text); named != ids.end()) return Range{named->second, named->second};
  const auto range = read_range(word.text, kIdMax, what);
  if (range && word.kind == Word::Kind::kPlain) return range;
  return std::unexpected(fmt::format("is no {} of the guest", what));
}

Meaning<Comm> read_comm(const Word& word) {
  if (word.text.empty()) return std::unexpected("is no name of a process");
  if (word.text.size() > kCommMaxBytes)
    return std::unexpected(fmt::format("is longer than the {} bytes that the kernel keeps of a name: write \"{}\"",
                                       kCommMaxBytes, word.text.substr(0, kCommMaxBytes)));
  return Comm{word.text};
}

Meaning<Prefix> read_prefix(const Word& word) {
  const size_t slash = word.text.find('/');
  const auto address = IpAddress::parse(word.text.substr(0, slash));
  if (!address || word.kind == Word::Kind::kQuoted)
    return std::unexpected("is no address; names of hosts are not looked up");
  if (address->is_v4() && word.text.find(':') != std::string_view::npos)
    return std::unexpected("is a v4-mapped address: write the IPv4 address");

  const uint32_t family_bits = address->is_v4() ? 32 : 128;
  uint32_t prefix = family_bits;
  if (slash != std::string_view::npos) {
    const auto length = read_range(word.text.substr(slash + 1), family_bits, "prefix length");
    if (!length || length->first != length->last)
      return std::unexpected(fmt::format("has no prefix length from 0 to {}", family_bits));
    prefix = length->first;
  }
  const auto& bytes = address->bytes();
  for (uint32_t bit = 128 - (family_bits - prefix); bit < 128; ++bit)
    if ((bytes[bit / 8] & (0x80U >> (bit % 8))) != 0)
      return std::unexpected(fmt::format("has bits set behind its prefix of {}", prefix));
  return Prefix{*address, family_bits - prefix};
}

Meaning<std::chrono::seconds> read_duration(const Word& word) {
  const auto is_none = std::unexpected("is no duration: write 45s, 30m, 1h30m or 7d");
  std::chrono::seconds duration{0};
  auto unit = kUnits.begin();
  for (std::string_view rest = word.text; !rest.empty();) {
    uint32_t count = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), count);
    if (error == std::errc::invalid_argument || end == rest.data() + rest.size()) return is_none;
    // Each unit once, the larger first.
    unit = std::find_if(unit, kUnits.end(), [letter = *end](const Unit& known) { return known.letter == letter; });
    if (unit == kUnits.end()) return is_none;
    if (error != std::errc() || count > kDurationMax / unit->length)
      return std::unexpected(fmt::format("is too long: {} days are the most", kDurationMax / std::chrono::days(1)));
    duration += count * unit->length;
    ++unit;
    rest.remove_prefix(static_cast<size_t>(end + 1 - rest.data()));
  }
  if (duration < kDurationMin) return std::unexpected("is too short: a second is the least");
  if (duration > kDurationMax)
    return std::unexpected(fmt::format("is too long: {} days are the most", kDurationMax / std::chrono::days(1)));
  return duration;
}

}  // namespace hyperward::policy
