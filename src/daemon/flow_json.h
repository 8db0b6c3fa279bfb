// A flow and the counters as --json and the control interface show them (docs/openapi.json: Flow).
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "daemon/state.h"
#include "datapath/datapath.h"

namespace hyperward::daemon {

[[nodiscard]] nlohmann::json flow_json(const GuardState& state, const datapath::FlowRecord& record);
[[nodiscard]] nlohmann::json counters_json(const datapath::Counters& counters);

// A module that decided, and its code for the reason: "module rate (code 1)".
[[nodiscard]] std::string module_text(const GuardState& state, uint32_t rule);
// The text of the rule that decided, from the rules that are in force; in parentheses, why there is none.
[[nodiscard]] std::string rule_text(const GuardState& state, const datapath::FlowRecord& record);
[[nodiscard]] const char* verdict_text(const datapath::FlowRecord& record);  // "allow", "deny"
[[nodiscard]] double age_s(uint64_t since_ns);                               // of a time of CLOCK_MONOTONIC

}  // namespace hyperward::daemon
