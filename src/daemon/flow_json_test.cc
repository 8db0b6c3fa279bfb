#include "daemon/flow_json.h"

#include <gtest/gtest.h>

#include "daemon/flow_owner.h"
#include "daemon/json_schema.h"
#include "daemon/openapi_document.h"
#include "filter/rule_chain.h"

namespace hyperward::daemon {
namespace {

using datapath::FlowRecord;
using nlohmann::json;

constexpr uint32_t kGeneration = 7;

FlowRecord decided_by(uint32_t rule, const guest::Owner& owner = {}) {
  FlowRecord record{.key = {.protocol = Protocol::kTcp,
                            .source = {IpAddress::v4(10, 9, 0, 2), 40000},
                            .destination = {IpAddress::v4(203, 0, 113, 9), 25}}};
  record.flow.verdict = HW_DENY;
  record.flow.direction = HW_OUT;
  record.flow.generation = kGeneration;
  record.flow.packets[0] = 3;
  record.flow.owner = pack(owner, rule);
  return record;
}

guest::Owner alice() {
  guest::Owner owner;
  owner.how = guest::How::kCredentials;
  owner.reason = guest::Reason::kNone;
  owner.uid = 1000;
  owner.gid = 100;
  owner.process = guest::ProcessId{.pid = 412, .comm = "nc\x1b[2J\xff", .start_time_ns = 77};
  return owner;
}

GuardState state() {
  GuardState state;
  state.rules = "default allow\n# mail\ndeny to tcp port 25 # \x1b[2J";
  state.run_time = {{5, "deny from uid 1000"}};
  state.generation = kGeneration;
  return state;
}

TEST(RuleText, is_the_line_of_the_file_or_the_rule_of_run_time) {
  EXPECT_EQ(rule_text(state(), decided_by(1)), "default allow");
  EXPECT_EQ(rule_text(state(), decided_by(filter::kRunTime | 5)), "deny from uid 1000");
}

TEST(RuleText, says_in_parentheses_why_there_is_none) {
  EXPECT_EQ(rule_text(state(), decided_by(0)), "(no rule matched: the default)");
  EXPECT_EQ(rule_text(state(), decided_by(filter::kRunTime | 6)), "(a rule that has been removed)");
  FlowRecord old = decided_by(1);
  old.flow.generation = kGeneration - 1;
  EXPECT_EQ(rule_text(state(), old), "(a rule of a set that is no longer in force)");
}

TEST(RuleText, is_printable_and_knows_where_the_file_ends) {
  EXPECT_EQ(rule_text(state(), decided_by(3)), "deny to tcp port 25 # \\x1b[2J");
  EXPECT_EQ(rule_text(state(), decided_by(4)), "");
}

TEST(FlowJson, is_as_the_interface_describes_it_with_an_owner_and_without) {
  const json document = json::parse(openapi_document());
  const JsonSchema schemas(document);
  const json& schema = document["components"]["schemas"]["Flow"];
  for (const guest::Owner& owner : {guest::Owner(), alice()}) {
    const json flow = flow_json(state(), decided_by(3, owner));
    const std::string sent = flow.dump(-1, ' ', false, json::error_handler_t::replace);
    EXPECT_EQ(schemas.mistake(schema, json::parse(sent)), "") << sent;
  }
}

TEST(FlowJson, keeps_an_unknown_owner_apart_from_root) {
  guest::Owner root;
  root.uid = 0;
  EXPECT_EQ(flow_json(state(), decided_by(0, root))["owner"]["uid"], 0);
  EXPECT_TRUE(flow_json(state(), decided_by(0))["owner"]["uid"].is_null());
}

TEST(FlowJson, names_a_rule_of_the_file_by_its_line_and_one_of_run_time_by_its_id) {
  const json of_file = flow_json(state(), decided_by(3))["rule"];
  EXPECT_EQ(of_file["line"], 3);
  EXPECT_TRUE(of_file["id"].is_null());
  const json of_run_time = flow_json(state(), decided_by(filter::kRunTime | 5))["rule"];
  EXPECT_EQ(of_run_time["line"], 0);
  EXPECT_EQ(of_run_time["id"], 5);
}

TEST(FlowJson, names_a_module_and_its_code) {
  GuardState with_module = state();
  with_module.modules = {{2, "rate"}};
  const json rule = flow_json(with_module, decided_by(filter::of_module(2, 7)))["rule"];
  EXPECT_EQ(rule["line"], 0);
  EXPECT_EQ(rule["module"], "rate");
  EXPECT_EQ(rule["code"], 7);
  EXPECT_EQ(rule["text"], "module rate (code 7)");
  EXPECT_EQ(flow_json(state(), decided_by(filter::of_module(2, 7)))["rule"]["module"], "?") << "it has gone";
}

TEST(CountersJson, has_each_counter_by_its_name) {
  datapath::Counters counters;
  for (unsigned i = 0; i < HW_COUNTERS; ++i) counters.values.at(i) = 100 + i;
  const json value = counters_json(counters);
  EXPECT_EQ(value.size(), size_t{HW_COUNTERS});
  EXPECT_EQ(value["passed"], 100 + HW_COUNT_PASSED);
  EXPECT_EQ(value["denied"], 100 + HW_COUNT_DENIED);
}

}  // namespace
}  // namespace hyperward::daemon
