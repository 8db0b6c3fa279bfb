#include "daemon/api_json.h"

#include <gtest/gtest.h>

#include "daemon/json_schema.h"
#include "daemon/openapi_document.h"

namespace hyperward::daemon {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;

constexpr WallTime kNoon{std::chrono::sys_days{std::chrono::year{2025} / 3 / 1} + 12h};

std::string mistake(const char* schema, const json& value) {
  const json document = json::parse(openapi_document());
  return JsonSchema(document).mistake(document["components"]["schemas"][schema], value);
}

TEST(ApiJson, shows_a_rule_as_described) {
  StoredRule rule{.id = 5, .guest = "web", .text = "deny from uid 1000", .created = kNoon};
  const json by_hand = to_json(rule);
  EXPECT_EQ(mistake("Rule", by_hand), "");
  EXPECT_EQ(by_hand["created"], "2025-03-01T12:00:00.000Z");
  EXPECT_TRUE(by_hand["expires"].is_null());
  EXPECT_TRUE(by_hand["response"].is_null());

  rule.expires = kNoon + 30min;
  rule.response = 3;
  const json by_response = to_json(rule);
  EXPECT_EQ(mistake("Rule", by_response), "");
  EXPECT_EQ(by_response["expires"], "2025-03-01T12:30:00.000Z");
  EXPECT_EQ(by_response["response"], 3);
}

TEST(ApiJson, shows_an_alert_as_described) {
  StoredAlert alert{.id = 9, .guest = "web", .time = kNoon, .kind = "ids", .summary = "s", .details = R"({"a":1})"};
  EXPECT_EQ(mistake("Alert", to_json(alert)), "");
  EXPECT_EQ(to_json(alert)["details"]["a"], 1);
  alert.details = "damaged";
  EXPECT_EQ(mistake("Alert", to_json(alert)), "");
}

TEST(ApiJson, shows_a_response_as_described) {
  const StoredResponse advised{.id = 3,
                               .alert = 9,
                               .guest = "web",
                               .time = kNoon,
                               .action = "deny-port",
                               .rule_text = "deny",
                               .why = "w",
                               .state = ResponseState::kAdvised};
  EXPECT_EQ(mistake("Response", to_json(advised)), "");
  EXPECT_TRUE(to_json(advised)["rule"].is_null());
  EXPECT_EQ(to_json(advised)["state"], "advised");
}

}  // namespace
}  // namespace hyperward::daemon
