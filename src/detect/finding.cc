#include "detect/finding.h"

#include <array>

namespace hyperward::detect {
namespace {

constexpr std::array<std::string_view, kKinds> kNames{
    "horizontal-scan", "vertical-scan", "syn-flood", "udp-flood", "mail-burst", "login-burst", "listed", "ids",
};

}  // namespace

std::string_view to_string(Kind kind) {
  const auto index = static_cast<size_t>(kind);
  return index < kNames.size() ? kNames[index] : "?";
}

std::optional<uint16_t> service_port(const packet::FlowKey& key, policy::Direction direction) {
  if (!packet::has_ports(key.protocol)) return std::nullopt;
  return direction == policy::Direction::kOut ? key.destination.port : key.source.port;
}

std::optional<Kind> kind_from(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i)
    if (kNames[i] == name) return static_cast<Kind>(i);
  return std::nullopt;
}

}  // namespace hyperward::detect
