// What --json prints.
#pragma once

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hyperward::cli {

// Guest strings may be no UTF-8; JSON must be.
inline void print_json(const nlohmann::json& value) {
  fmt::print("{}\n", value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace hyperward::cli
