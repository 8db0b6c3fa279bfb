#include "filter/decider.h"

#include <fmt/format.h>

namespace hyperward::filter {

std::string name_of(uint32_t rule) {
  if (rule == 0) return "default";
  if (is_run_time(rule)) return fmt::format("run-time rule {}", id_of(rule));
  if (is_of_module(rule)) return fmt::format("module {} (code {})", place_of(rule), code_of(rule));
  return fmt::format("line {}", rule);
}

}  // namespace hyperward::filter
