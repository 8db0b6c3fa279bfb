// docs/openapi.json, as it was when this was built.
#pragma once

#include <string_view>

namespace hyperward::daemon {

[[nodiscard]] std::string_view openapi_document();

}  // namespace hyperward::daemon
