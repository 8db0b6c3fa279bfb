#include "detect/ids_alert.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>

#include <nlohmann/json.hpp>

#include "packet/packet.h"

namespace hyperward::detect {
namespace {

using nlohmann::json;

// Suricata's alerts nest 5 deep. The library parses without recursion, but builds, and takes down, what it is given.
constexpr size_t kMaxNesting = 32;

struct ProtocolName {
  std::string_view name;
  Protocol protocol;
};
constexpr std::array kProtocols{
    ProtocolName{"tcp", Protocol::kTcp},      ProtocolName{"udp", Protocol::kUdp},
    ProtocolName{"icmp", Protocol::kIcmp},    ProtocolName{"ipv6-icmp", Protocol::kIcmpV6},
    ProtocolName{"icmp6", Protocol::kIcmpV6},  // as the rule language calls it
    ProtocolName{"sctp", Protocol::kSctp},
};

// How deep the brackets outside strings nest, at most. Of text that is no JSON it may be anything not less than what
// a parser meets before it gives up.
size_t nesting_of(std::string_view line) {
  size_t depth = 0, deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (in_string && c == '\\') ++i;
    if (c == '"') in_string = !in_string;
    if (in_string) continue;
    if (c == '{' || c == '[') deepest = std::max(deepest, ++depth);
    if ((c == '}' || c == ']') && depth > 0) --depth;
  }
  return deepest;
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool equal_without_case(std::string_view one, std::string_view other) {
  return std::equal(one.begin(), one.end(), other.begin(), other.end(),
                    [](char a, char b) { return lower(a) == lower(b); });
}

// The fields of one object. Errors name the field and leave out what it holds: that may be long, and is not ours.
class Fields {
 public:
  Fields(const json& object, std::string_view prefix) : object_(object), prefix_(prefix) {}

  [[nodiscard]] bool has(const char* key) const { return object_.contains(key); }

  [[nodiscard]] Result<std::string_view> text(const char* key) const {
    const auto field = object_.find(key);
    const auto* value = field == object_.end() ? nullptr : field->get_ptr<const json::string_t*>();
    if (value == nullptr) return fail(Code::kInvalid, "{}{} must be a string", prefix_, key);
    return *value;
  }

  // Nothing: the object has no such field.
  template <typename T>
  [[nodiscard]] Result<std::optional<T>> number(const char* key) const {
    const auto field = object_.find(key);
    if (field == object_.end()) return std::nullopt;
    const auto* value = field->get_ptr<const json::number_unsigned_t*>();
    constexpr T kMax = std::numeric_limits<T>::max();
    if (value == nullptr || *value > kMax)
      return fail(Code::kInvalid, "{}{} must be a number from 0 to {}", prefix_, key, kMax);
    return static_cast<T>(*value);
  }

  [[nodiscard]] Result<Protocol> protocol(const char* key) const {
    HW_TRY(const std::string_view name, text(key));
    for (const ProtocolName& known : kProtocols)
      if (equal_without_case(known.name, name)) return known.protocol;
    return fail(Code::kInvalid, "{}{} must be tcp, udp, icmp, ipv6-icmp or sctp", prefix_, key);
  }

  // EVE: an address and a port in fields of their own, the port only where the protocol has some. (An ICMP alert may
  // carry ports, which then are none.)
  [[nodiscard]] Result<Endpoint> endpoint(const char* address_key, const char* port_key, Protocol protocol) const {
    HW_TRY(const std::string_view address_text, text(address_key));
    const auto address = IpAddress::parse(address_text);
    if (!address) return fail(Code::kInvalid, "{}{} must be an IP address", prefix_, address_key);
    if (!packet::has_ports(protocol)) return Endpoint{*address, 0};
    HW_TRY(const std::optional<uint16_t> port, number<uint16_t>(port_key));
    if (!port) return fail(Code::kInvalid, "{}{} is missing", prefix_, port_key);
    return Endpoint{*address, *port};
  }

  // Generic: "10.9.0.2:40000", or the address alone where the protocol has no ports.
  [[nodiscard]] Result<Endpoint> endpoint(const char* key, Protocol protocol) const {
    HW_TRY(const std::string_view value, text(key));
    if (packet::has_ports(protocol)) {
      const auto endpoint = Endpoint::parse(value);
      if (!endpoint) return fail(Code::kInvalid, "{}{} must be ADDRESS:PORT", prefix_, key);
      return *endpoint;
    }
    const auto address = IpAddress::parse(value);
    if (!address) return fail(Code::kInvalid, "{}{} must be an IP address", prefix_, key);
    return Endpoint{*address, 0};
  }

 private:
  const json& object_;
  std::string_view prefix_;
};

// At most kMaxAlertTextBytes, and no character cut in two. The parser has let well-formed UTF-8 through alone.
std::string cut(std::string_view text) {
  if (text.size() <= kMaxAlertTextBytes) return std::string(text);
  size_t end = kMaxAlertTextBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return std::string(text.substr(0, end));
}

Result<std::optional<IdsAlert>> read_eve(const json& line) {
  const Fields event(line, "");
  HW_TRY(const std::string_view type, event.text("event_type"));
  if (type != "alert") return std::nullopt;

  IdsAlert alert;
  HW_TRY(alert.protocol, event.protocol("proto"));
  HW_TRY(alert.source, event.endpoint("src_ip", "src_port", alert.protocol));
  HW_TRY(alert.destination, event.endpoint("dest_ip", "dest_port", alert.protocol));
  const auto details = line.find("alert");
  if (details == line.end() || !details->is_object()) return fail(Code::kInvalid, "alert must be an object");
  const Fields rule(*details, "alert.");
  HW_TRY(const std::string_view text, rule.text("signature"));
  HW_TRY(const auto signature, rule.number<uint32_t>("signature_id"));
  HW_TRY(const auto severity, rule.number<uint32_t>("severity"));
  alert.text = cut(text);
  alert.signature = signature.value_or(0);
  alert.severity = severity.value_or(0);
  return alert;
}

Result<std::optional<IdsAlert>> read_generic(const json& line) {
  const Fields fields(line, "");
  IdsAlert alert;
  HW_TRY(alert.protocol, fields.protocol("protocol"));
  HW_TRY(alert.source, fields.endpoint("source", alert.protocol));
  HW_TRY(alert.destination, fields.endpoint("destination", alert.protocol));
  HW_TRY(const std::string_view text, fields.text("text"));
  HW_TRY(const auto signature, fields.number<uint32_t>("signature"));
  HW_TRY(const auto severity, fields.number<uint32_t>("severity"));
  alert.text = cut(text);
  alert.signature = signature.value_or(0);
  alert.severity = severity.value_or(0);
  return alert;
}

}  // namespace

Result<std::optional<IdsAlert>> parse_ids_line(std::string_view line) {
  if (line.size() > kMaxAlertLineBytes)
    return fail(Code::kInvalid, "a line of {} bytes, {} are the most", line.size(), kMaxAlertLineBytes);
  if (nesting_of(line) > kMaxNesting) return fail(Code::kInvalid, "a line nested deeper than {}", kMaxNesting);
  const json value = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object()) return fail(Code::kInvalid, "a line that is no JSON object");
  return value.contains("event_type") ? read_eve(value) : read_generic(value);
}

}  // namespace hyperward::detect
