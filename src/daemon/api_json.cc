#include "daemon/api_json.h"

#include <optional>

#include "base/time.h"

namespace hyperward::daemon {
namespace {

using nlohmann::json;

json time_or_null(const std::optional<WallTime>& time) {
  return time ? json(to_rfc3339(*time)) : json(nullptr);
}
json id_or_null(int64_t id) {
  return id != 0 ? json(id) : json(nullptr);
}

}  // namespace

json to_json(const StoredRule& rule) {
  return {{"id", rule.id},
          {"guest", rule.guest},
          {"text", rule.text},
          {"created", to_rfc3339(rule.created)},
          {"expires", time_or_null(rule.expires)},
          {"response", id_or_null(rule.response)}};
}

json to_json(const StoredAlert& alert) {
  json details = json::parse(alert.details, nullptr, /*allow_exceptions=*/false);
  if (!details.is_object()) details = json::object();
  return {{"id", alert.id},     {"guest", alert.guest},     {"time", to_rfc3339(alert.time)},
          {"kind", alert.kind}, {"summary", alert.summary}, {"details", std::move(details)}};
}

json to_json(const StoredResponse& response) {
  return {{"id", response.id},
          {"alert", response.alert},
          {"rule", id_or_null(response.rule)},
          {"guest", response.guest},
          {"time", to_rfc3339(response.time)},
          {"action", response.action},
          {"rule_text", response.rule_text},
          {"why", response.why},
          {"until", time_or_null(response.until)},
          {"state", to_string(response.state)},
          {"ended", time_or_null(response.ended)}};
}

}  // namespace hyperward::daemon
