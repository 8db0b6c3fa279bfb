// flows and explain: what was decided, on whose account, by which rule, on what evidence. Both read the pinned maps,
// so they work as well when the guard has ended.
#include <chrono>
#include <memory>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/flow_words.h"
#include "cli/print_json.h"
#include "cli/table.h"
#include "daemon/flow_json.h"
#include "daemon/flow_owner.h"
#include "daemon/state.h"
#include "datapath/flow_reader.h"
#include "filter/rule_chain.h"
#include "guest/types.h"

namespace hyperward::cli {
namespace {

using datapath::FlowRecord;
using nlohmann::json;

struct FlowOptions {
  std::string guest;
  bool as_json = false;
  bool denied_only = false;
  std::vector<std::string> words;
};

std::string owner_text(const guest::Owner& owner) {
  if (!owner.uid) return "unknown";
  if (!owner.process) return fmt::format("uid {}", *owner.uid);
  return fmt::format("uid {} {}({})", *owner.uid, guest::printable(owner.process->comm), owner.process->pid);
}

// As short as a column wants it.
std::string rule_word(const daemon::GuardState& state, uint32_t rule) {
  if (rule == 0) return "default";
  if (filter::is_of_module(rule)) return daemon::module_text(state, rule);
  return filter::is_run_time(rule) ? fmt::format("id {}", filter::id_of(rule)) : fmt::format("{}", rule);
}

Result<void> run_flows(const FlowOptions& options) {
  HW_TRY(const daemon::GuardState state, daemon::load_state(options.guest));
  HW_TRY(const auto table, datapath::FlowReader::open(state.pins));
  std::vector<FlowRecord> records;
  HW_OK(table.for_each_flow([&](const FlowRecord& record) {
    if (!options.denied_only || record.verdict() == datapath::Verdict::kDeny) records.push_back(record);
    return true;
  }));
  HW_TRY(const datapath::Counters counters, table.counters());

  if (options.as_json) {
    json flows = json::array();
    for (const FlowRecord& record : records) flows.push_back(daemon::flow_json(state, record));
    print_json({{"guest", state.guest},
                {"tap", state.tap},
                {"guard", {{"pid", state.pid}, {"alive", daemon::is_alive(state)}}},
                {"counters", daemon::counters_json(counters)},
                {"flows", std::move(flows)}});
    return {};
  }
  Table text({"VERDICT", "DIR", "PROTO", "LOCAL", "REMOTE", "STATE", "OWNER", ">RULE", ">PKTS-OUT", ">PKTS-IN",
              ">DROPPED", ">AGE"});
  for (const FlowRecord& record : records) {
    const auto& flow = record.flow;
    text.add({daemon::verdict_text(record), std::string(datapath::to_string(record.direction())),
              to_string(record.key.protocol), to_string(record.key.source), to_string(record.key.destination),
              std::string(datapath::to_string(record.state())), owner_text(daemon::unpack(flow.owner)),
              rule_word(state, flow.owner.rule_line), fmt::format("{}", flow.packets[0]),
              fmt::format("{}", flow.packets[1]), fmt::format("{}", flow.dropped),
              fmt::format("{:.0f}s", daemon::age_s(flow.created_ns))});
  }
  fmt::print("{}\n{} flows; frames: {} passed, {} denied, {} held; {}\n", text.text(), records.size(),
             counters[HW_COUNT_PASSED], counters[HW_COUNT_DENIED], counters[HW_COUNT_HELD],
             daemon::is_alive(state) ? fmt::format("guard runs, pid {}", state.pid)
                                     : "no guard runs: new flows meet the default");
  return {};
}

Result<void> run_explain(const FlowOptions& options) {
  HW_TRY(const FlowWords flow, parse_flow(options.words));
  HW_TRY(const daemon::GuardState state, daemon::load_state(options.guest));
  HW_TRY(const auto table, datapath::FlowReader::open(state.pins));

  // A flow is found by its ends alone; the VLAN is told, not asked.
  std::optional<FlowRecord> found;
  HW_OK(table.for_each_flow([&](const FlowRecord& record) {
    if (record.key.protocol == flow.protocol && record.key.source == flow.local &&
        record.key.destination == flow.remote)
      found = record;
    return !found;
  }));
  if (!found)
    return fail(Code::kNotFound, "no flow {} {} -> {} is known: it was never seen, or has expired",
                to_string(flow.protocol), to_string(flow.local), to_string(flow.remote));
  if (options.as_json) {
    print_json(daemon::flow_json(state, *found));
    return {};
  }
  const hw_flow& f = found->flow;
  fmt::print("flow      {} {} -> {}, {}, {}\n", to_string(flow.protocol), to_string(flow.local), to_string(flow.remote),
             datapath::to_string(found->direction()), datapath::to_string(found->state()));
  fmt::print("verdict   {}\n", daemon::verdict_text(*found));
  if (filter::is_of_module(f.owner.rule_line))
    fmt::print("rule      {}\n", daemon::rule_text(state, *found));
  else
    fmt::print("rule      {}: {}\n", filter::name_of(f.owner.rule_line), daemon::rule_text(state, *found));
  fmt::print("owner     {}\n", guest::to_string(daemon::unpack(f.owner)));
  fmt::print("packets   {} from the guest ({} bytes), {} to it ({} bytes), {} dropped\n", f.packets[0], f.bytes[0],
             f.packets[1], f.bytes[1], f.dropped);
  fmt::print("time      first seen {:.1f} s ago, judged {:.1f} s ago, last packet {:.1f} s ago\n",
             daemon::age_s(f.created_ns), daemon::age_s(f.judged_ns), daemon::age_s(f.last_seen_ns));
  return {};
}

}  // namespace

void add_flow_commands(CLI::App& app, Chosen& chosen) {
  const auto options = std::make_shared<FlowOptions>();

  CLI::App* flows = app.add_subcommand("flows", "list a guarded guest's flows, their owners and verdicts");
  flows->add_option("guest", options->guest, "the guest's name")->required();
  flows->add_flag("--denied", options->denied_only, "only flows that were denied");
  flows->add_flag("--json", options->as_json, "print JSON, with the counters");
  flows->callback([=, &chosen] { chosen.action = [=] { return run_flows(*options); }; });

  CLI::App* explain = app.add_subcommand("explain", "tell why a flow was allowed or denied, on what evidence");
  explain->add_option("guest", options->guest, "the guest's name")->required();
  explain->add_option("flow", options->words, "PROTOCOL LOCAL:PORT REMOTE:PORT; local is the guest's end")->expected(3);
  explain->add_flag("--json", options->as_json, "print JSON");
  explain->callback([=, &chosen] { chosen.action = [=] { return run_explain(*options); }; });
}

}  // namespace hyperward::cli
