// What is stored, as the control interface shows it (docs/openapi.json: Rule, Alert, Response).
#pragma once

#include <nlohmann/json.hpp>

#include "daemon/store.h"

namespace hyperward::daemon {

[[nodiscard]] nlohmann::json to_json(const StoredRule& rule);
[[nodiscard]] nlohmann::json to_json(const StoredAlert& alert);
[[nodiscard]] nlohmann::json to_json(const StoredResponse& response);

}  // namespace hyperward::daemon
