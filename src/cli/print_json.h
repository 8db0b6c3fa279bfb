// What --json prints.
#pragma once

#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hyperward::cli {

// Guest strings may be no UTF-8; JSON must be.
inline void print_json(const nlohmann::json& value) {
  fmt::print("{}\n", value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

// One of many: a line each, and each as it comes.
inline void print_json_line(const nlohmann::json& value) {
  fmt::print("{}\n", value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  std::fflush(stdout);
}

}  // namespace hyperward::cli
