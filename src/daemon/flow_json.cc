#include "daemon/flow_json.h"

#include <algorithm>
#include <chrono>

#include "daemon/flow_owner.h"
#include "filter/decider.h"
#include "guest/types.h"

namespace hyperward::daemon {
namespace {

using datapath::FlowRecord;
using nlohmann::json;

std::string module_name(const GuardState& state, uint32_t rule) {
  const auto module = state.modules.find(filter::place_of(rule));
  return module == state.modules.end() ? "?" : module->second;
}

// A rule of the file has a line, one of run time an id, a module a name.
json rule_json(const GuardState& state, const FlowRecord& record) {
  const uint32_t rule = record.flow.owner.rule_line;
  const bool run_time = filter::is_run_time(rule), module = filter::is_of_module(rule);
  return {{"line", run_time || module ? 0 : rule},
          {"id", run_time ? json(filter::id_of(rule)) : json(nullptr)},
          {"module", module ? json(module_name(state, rule)) : json(nullptr)},
          {"code", module ? json(filter::code_of(rule)) : json(nullptr)},
          {"text", rule_text(state, record)}};
}

}  // namespace

double age_s(uint64_t since_ns) {
  const std::chrono::duration<double> now = std::chrono::steady_clock::now().time_since_epoch();
  return now.count() - static_cast<double>(since_ns) / 1e9;
}

const char* verdict_text(const FlowRecord& record) {
  return record.verdict() == datapath::Verdict::kAllow ? "allow" : "deny";
}

std::string module_text(const GuardState& state, uint32_t rule) {
  return fmt::format("module {} (code {})", module_name(state, rule), filter::code_of(rule));
}

// The text of the rule that decided, from the rules that are in force.
std::string rule_text(const GuardState& state, const FlowRecord& record) {
  if (record.flow.generation != state.generation) return "(a rule of a set that is no longer in force)";
  if (record.flow.owner.rule_line == 0) return "(no rule matched: the default)";
  if (filter::is_run_time(record.flow.owner.rule_line)) {
    const auto rule = state.run_time.find(filter::id_of(record.flow.owner.rule_line));
    return rule == state.run_time.end() ? "(a rule that has been removed)" : guest::printable(rule->second);
  }
  if (filter::is_of_module(record.flow.owner.rule_line)) return module_text(state, record.flow.owner.rule_line);
  std::string_view text = state.rules;
  for (uint32_t line = 1; line < record.flow.owner.rule_line; ++line) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return "";
    text.remove_prefix(end + 1);
  }
  return guest::printable(text.substr(0, text.find('\n')));
}

json flow_json(const GuardState& state, const FlowRecord& record) {
  const guest::Owner owner = unpack(record.flow.owner);
  json value = {
      {"protocol", to_string(record.key.protocol)},
      {"local", to_string(record.key.source)},
      {"remote", to_string(record.key.destination)},
      {"vlan", record.key.vlan_id},
      {"direction", datapath::to_string(record.direction())},
      {"verdict", verdict_text(record)},
      {"state", datapath::to_string(record.state())},
      {"rule", rule_json(state, record)},
      {"owner", {{"uid", nullptr}, {"gid", nullptr}, {"process", nullptr}}},
      {"how", guest::to_string(owner.how)},
      {"reason", guest::to_string(owner.reason)},
      {"evidence",
       {{"socket", fmt::format("{:#x}", owner.evidence.socket.value)},
        {"inode", owner.evidence.inode},
        {"fd", owner.evidence.fd},
        {"netns", owner.evidence.network_namespace}}},
      {"packets", {{"from_guest", record.flow.packets[0]}, {"to_guest", record.flow.packets[1]}}},
      {"bytes", {{"from_guest", record.flow.bytes[0]}, {"to_guest", record.flow.bytes[1]}}},
      {"dropped", record.flow.dropped},
      {"age_s", age_s(record.flow.created_ns)},
      {"judged_s_ago", age_s(record.flow.judged_ns)},
      {"idle_s", age_s(record.flow.last_seen_ns)},
  };
  if (owner.uid) value["owner"]["uid"] = *owner.uid;
  if (owner.gid) value["owner"]["gid"] = *owner.gid;
  if (owner.process) {
    value["owner"]["process"] = {
        {"pid", owner.process->pid}, {"comm", owner.process->comm}, {"start_time_ns", owner.process->start_time_ns}};
  }
  return value;
}

json counters_json(const datapath::Counters& counters) {
  json value = json::object();
  for (unsigned i = 0; i < HW_COUNTERS; ++i) {
    const auto counter = static_cast<hw_counter>(i);
    value[std::string(datapath::to_string(counter))] = counters[counter];
  }
  return value;
}

}  // namespace hyperward::daemon
