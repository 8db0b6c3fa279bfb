// Who decided over a flow, in one number: what Decision::rule, Audited::line and the flow map say.
//
//   0                 the default of the rules
//   below 2^30        the rule on that line of the file
//   top bit           a rule of run time, by its id
//   else 2^30         a module: its place in the chain (6 bits), and its code for the reason (20 bits)
#pragma once

#include <cstdint>
#include <string>

namespace hyperward::filter {

constexpr uint32_t kRunTime = 1U << 31;
[[nodiscard]] constexpr bool is_run_time(uint32_t rule) {
  return (rule & kRunTime) != 0;
}
[[nodiscard]] constexpr uint32_t id_of(uint32_t rule) {
  return rule & ~kRunTime;
}

constexpr uint32_t kOfModule = 1U << 30;
constexpr uint32_t kModuleCodeBits = 20;
constexpr uint32_t kModuleCodeMax = (1U << kModuleCodeBits) - 1;
constexpr uint32_t kModulePlaceMax = 63;
[[nodiscard]] constexpr bool is_of_module(uint32_t rule) {
  return !is_run_time(rule) && (rule & kOfModule) != 0;
}
[[nodiscard]] constexpr uint32_t of_module(uint32_t place, uint32_t code) {
  return kOfModule | place << kModuleCodeBits | code;
}
[[nodiscard]] constexpr uint32_t place_of(uint32_t rule) {
  return (rule & ~kOfModule) >> kModuleCodeBits;
}
[[nodiscard]] constexpr uint32_t code_of(uint32_t rule) {
  return rule & kModuleCodeMax;
}

[[nodiscard]] std::string name_of(uint32_t rule);  // "default", "line 7", "run-time rule 12", "module 2 (code 3)"

}  // namespace hyperward::filter
