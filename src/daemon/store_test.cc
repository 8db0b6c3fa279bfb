#include "daemon/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "daemon/sqlite.h"
#include "daemon/store_schema.h"
#include "daemon/test_directory.h"

namespace hyperward::daemon {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr WallTime kNow(1'700'000'000'000ms);

template <typename T>
T value_of(Result<T> result) {
  HW_CHECK(result || (fmt::print(stderr, "{}\n", result.error().message), false));
  return *std::move(result);
}

template <typename T>
std::string message_of(const Result<T>& result) {
  return result ? "no error" : result.error().message;
}

template <typename Row>
std::vector<int64_t> ids(const Result<std::vector<Row>>& rows) {
  std::vector<int64_t> result;
  for (const Row& row : value_of(rows)) result.push_back(row.id);
  return result;
}

StoredRule rule_of(std::string guest, std::optional<WallTime> expires = std::nullopt) {
  return {.guest = std::move(guest), .text = "deny out to tcp port 25", .created = kNow, .expires = expires};
}

StoredAlert alert_of(std::string guest) {
  return {.guest = std::move(guest), .time = kNow, .kind = "mail-burst", .summary = "20 mails", .details = "{}"};
}

StoredResponse response_of(std::optional<WallTime> until = std::nullopt) {
  return {
      .time = kNow, .action = "deny-port", .rule_text = "deny out to tcp port 25", .why = "it mails", .until = until};
}

struct StoreTest : testing::Test {
  void reopen() {
    store.reset();
    store = value_of(Store::open(file));
  }
  Store::Answered answer(std::string guest, std::optional<WallTime> until = std::nullopt) {
    return value_of(store->add_response(alert_of(guest), response_of(until), rule_of(guest, until)));
  }
  ResponseState state_of(int64_t response) { return value_of(store->response(response)).state; }

  TestDirectory directory;
  std::filesystem::path file = directory.path() / "state" / "test.db";
  std::unique_ptr<Store> store = value_of(Store::open(file));
};

TEST_F(StoreTest, gives_back_what_it_was_given_after_it_was_opened_anew) {
  const StoredRule rule = value_of(store->add_rule(rule_of("web", kNow + 1h)));
  const StoredAlert alert = value_of(store->add_alert(alert_of("web")));
  const Store::Answered answered = answer("mail", kNow + 30min);
  reopen();
  EXPECT_EQ(value_of(store->rule(rule.id)), rule);
  EXPECT_EQ(value_of(store->alert(alert.id)), alert);
  EXPECT_EQ(value_of(store->alert(answered.alert.id)), answered.alert);
  EXPECT_EQ(value_of(store->response(answered.response.id)), answered.response);
  EXPECT_EQ(value_of(store->rule(answered.rule->id)), *answered.rule);
}

TEST_F(StoreTest, never_gives_an_id_twice) {
  const int64_t first = value_of(store->add_rule(rule_of("web"))).id;
  ASSERT_TRUE(store->remove_rule(first));
  reopen();
  EXPECT_GT(value_of(store->add_rule(rule_of("web"))).id, first);
}

TEST_F(StoreTest, lists_rules_of_one_guest_or_all_with_the_newest_first) {
  for (const char* guest : {"web", "mail", "web"}) ASSERT_TRUE(store->add_rule(rule_of(guest)));
  EXPECT_THAT(ids(store->rules("")), ElementsAre(3, 2, 1));
  EXPECT_THAT(ids(store->rules("web")), ElementsAre(3, 1));
  EXPECT_THAT(ids(store->rules("we")), IsEmpty());
}

TEST_F(StoreTest, replaces_a_rule_under_its_id) {
  const StoredRule old = value_of(store->add_rule(rule_of("web", kNow + 1h)));
  StoredRule expected = old;
  expected.text = "allow out to tcp port 25";
  expected.expires.reset();
  EXPECT_EQ(value_of(store->replace_rule(old.id, expected.text, std::nullopt)), expected);
  EXPECT_EQ(value_of(store->rule(old.id)), expected);
}

StoredModule module_of(std::string guest, std::string name, std::string config = "{}") {
  return {.guest = std::move(guest), .name = std::move(name), .config = std::move(config)};
}

TEST_F(StoreTest, gives_a_guests_modules_in_the_order_in_which_they_came) {
  for (const char* name : {"rate", "binary", "kinds"}) ASSERT_TRUE(store->add_module(module_of("web", name)));
  ASSERT_TRUE(store->add_module(module_of("mail", "rate")));
  ASSERT_TRUE(store->remove_module("web", "binary"));
  ASSERT_TRUE(store->add_module(module_of("web", "binary")));
  ASSERT_TRUE(store->replace_module(module_of("web", "rate", R"({"a":1})")));
  reopen();
  EXPECT_THAT(value_of(store->modules("web")), ElementsAre(module_of("web", "rate", R"({"a":1})"),
                                                           module_of("web", "kinds"), module_of("web", "binary")));
  EXPECT_THAT(value_of(store->modules("mail")), ElementsAre(module_of("mail", "rate")));
}

TEST_F(StoreTest, keeps_a_guests_modules_apart_by_their_names) {
  ASSERT_TRUE(store->add_module(module_of("web", "rate")));
  EXPECT_EQ(message_of(store->add_module(module_of("web", "rate", "x"))), "'web' has a module 'rate' already");
  EXPECT_EQ(message_of(store->replace_module(module_of("web", "kinds"))), "'web' has no module 'kinds' of run time");
  EXPECT_EQ(store->remove_module("mail", "rate").error().code, Code::kNotFound);
  EXPECT_THAT(value_of(store->modules("web")), ElementsAre(module_of("web", "rate")));
}

TEST_F(StoreTest, brings_tables_of_before_there_were_modules_up_to_date) {
  const StoredRule rule = value_of(store->add_rule(rule_of("web")));
  store.reset();
  ASSERT_TRUE(value_of(open_store_database(file)).execute("DROP TABLE modules; PRAGMA user_version=1"));
  reopen();
  EXPECT_EQ(value_of(store->rule(rule.id)), rule);
  EXPECT_TRUE(store->add_module(module_of("web", "rate")));
}

TEST_F(StoreTest, says_what_is_not_there) {
  EXPECT_EQ(message_of(store->rule(7)), "there is no rule 7");
  EXPECT_EQ(message_of(store->remove_rule(7)), "there is no rule 7");
  EXPECT_EQ(message_of(store->replace_rule(7, "x", std::nullopt)), "there is no rule 7");
  EXPECT_EQ(message_of(store->alert(7)), "there is no alert 7");
  EXPECT_EQ(message_of(store->response(7)), "there is no response 7");
  EXPECT_EQ(message_of(store->undo(7, kNow)), "there is no response 7");
  EXPECT_EQ(store->rule(7).error().code, Code::kNotFound);
}

TEST_F(StoreTest, answers_an_alert_with_a_rule_as_one) {
  const Store::Answered answered = answer("web", kNow + 30min);
  EXPECT_EQ(answered.response.alert, answered.alert.id);
  EXPECT_EQ(answered.response.rule, answered.rule->id);
  EXPECT_EQ(answered.response.guest, "web");
  EXPECT_EQ(answered.response.state, ResponseState::kInForce);
  EXPECT_EQ(answered.rule->response, answered.response.id);
}

TEST_F(StoreTest, keeps_an_advice_without_a_rule) {
  const auto answered = value_of(store->add_response(alert_of("web"), response_of(), std::nullopt));
  EXPECT_EQ(answered.response.rule, 0);
  EXPECT_EQ(state_of(answered.response.id), ResponseState::kAdvised);
  EXPECT_THAT(ids(store->rules("")), IsEmpty());
  EXPECT_EQ(message_of(store->undo(answered.response.id, kNow)),
            "response 1 was only advised: there is nothing to undo");
}

TEST_F(StoreTest, undoes_a_response_with_its_rule_once) {
  const Store::Answered answered = answer("web");
  StoredResponse expected = answered.response;
  expected.state = ResponseState::kUndone;
  expected.ended = kNow + 1s;
  EXPECT_EQ(value_of(store->undo(answered.response.id, kNow + 1s)), expected);
  EXPECT_EQ(value_of(store->response(answered.response.id)), expected);
  EXPECT_THAT(ids(store->rules("")), IsEmpty());

  const auto again = store->undo(answered.response.id, kNow + 2s);
  EXPECT_EQ(message_of(again), "response 1 has ended already: it is undone");
  EXPECT_EQ(again.error().code, Code::kInvalid);
  EXPECT_EQ(value_of(store->response(answered.response.id)), expected);
}

TEST_F(StoreTest, undoes_the_response_whose_rule_is_removed) {
  const Store::Answered answered = answer("web");
  EXPECT_EQ(value_of(store->remove_rule(answered.rule->id, kNow + 1s)), *answered.rule);
  const StoredResponse response = value_of(store->response(answered.response.id));
  EXPECT_EQ(response.state, ResponseState::kUndone);
  EXPECT_EQ(response.ended, kNow + 1s);
}

TEST_F(StoreTest, tells_of_a_response_what_its_replaced_rule_says) {
  const Store::Answered answered = answer("web", kNow + 30min);
  ASSERT_TRUE(store->replace_rule(answered.rule->id, "deny out", kNow + 2h));
  const StoredResponse response = value_of(store->response(answered.response.id));
  EXPECT_EQ(response.rule_text, "deny out");
  EXPECT_EQ(response.until, kNow + 2h);
}

TEST_F(StoreTest, expires_what_is_due_with_its_response_and_nothing_else) {
  ASSERT_TRUE(store->add_rule(rule_of("web")));
  ASSERT_TRUE(store->add_rule(rule_of("web", kNow + 2min)));
  const StoredRule due = value_of(store->add_rule(rule_of("web", kNow + 1min)));
  const Store::Answered answered = answer("mail", kNow + 1min);
  const Store::Answered later = answer("mail", kNow + 2min);

  EXPECT_THAT(value_of(store->expire(kNow + 1min - 1ms)), IsEmpty());
  EXPECT_THAT(value_of(store->expire(kNow + 1min)), ElementsAre(due, *answered.rule));
  EXPECT_THAT(value_of(store->expire(kNow + 1min)), IsEmpty());
  EXPECT_THAT(ids(store->rules("")), ElementsAre(later.rule->id, 2, 1));
  EXPECT_EQ(state_of(answered.response.id), ResponseState::kExpired);
  EXPECT_EQ(value_of(store->response(answered.response.id)).ended, kNow + 1min);
  EXPECT_EQ(state_of(later.response.id), ResponseState::kInForce);
}

TEST_F(StoreTest, pages_through_alerts_and_responses) {
  for (const char* guest : {"web", "mail", "web", "web"})
    ASSERT_TRUE(store->add_response(alert_of(guest), response_of(), std::nullopt));
  EXPECT_THAT(ids(store->alerts({})), ElementsAre(4, 3, 2, 1));
  EXPECT_THAT(ids(store->alerts({.limit = 2})), ElementsAre(4, 3));
  EXPECT_THAT(ids(store->alerts({.after = 1, .limit = 2})), ElementsAre(2, 3));
  EXPECT_THAT(ids(store->alerts({.guest = "web"})), ElementsAre(4, 3, 1));
  EXPECT_THAT(ids(store->alerts({.guest = "web", .after = 1})), ElementsAre(3, 4));
  EXPECT_THAT(ids(store->responses({.guest = "mail"})), ElementsAre(2));
  EXPECT_THAT(ids(store->responses({.after = 3, .limit = SIZE_MAX})), ElementsAre(4));
  EXPECT_THAT(ids(store->responses({.limit = 0})), IsEmpty());
}

TEST_F(StoreTest, bounds_the_rules_of_a_guest_and_adds_nothing_of_a_response_beyond) {
  {
    Database outside = value_of(open_store_database(file));
    ASSERT_TRUE(
        outside.execute(fmt::format("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})"
                                    " INSERT INTO rules(guest, text, created_ms) SELECT 'web', 'deny out', 0 FROM n",
                                    Store::kMaxRulesPerGuest)));
  }
  const auto rule = store->add_rule(rule_of("web"));
  ASSERT_FALSE(rule);
  EXPECT_EQ(rule.error().code, Code::kLimit);
  EXPECT_EQ(message_of(rule), "guest 'web' has 1000 rules of run time already; remove some");

  EXPECT_FALSE(store->add_response(alert_of("web"), response_of(), rule_of("web")));
  EXPECT_THAT(ids(store->alerts({})), IsEmpty());
  EXPECT_THAT(ids(store->responses({})), IsEmpty());
  EXPECT_TRUE(store->add_rule(rule_of("mail")));
}

TEST_F(StoreTest, forgets_the_oldest_alerts_but_none_whose_response_is_in_force) {
  const Store::Answered in_force = answer("web");
  const auto advised = value_of(store->add_response(alert_of("web"), response_of(), std::nullopt));
  ASSERT_TRUE(store->add_alert(alert_of("web")));
  {
    Database outside = value_of(open_store_database(file));
    ASSERT_TRUE(outside.execute(
        fmt::format("UPDATE sqlite_sequence SET seq = {} WHERE name = 'alerts'", Store::kMaxAlerts + 1)));
  }
  const int64_t newest = value_of(store->add_alert(alert_of("web"))).id;
  EXPECT_THAT(ids(store->alerts({})), ElementsAre(newest, 3, in_force.alert.id));
  EXPECT_THAT(ids(store->responses({})), ElementsAre(in_force.response.id));

  ASSERT_TRUE(store->undo(in_force.response.id, kNow));
  ASSERT_TRUE(store->add_alert(alert_of("web")));
  EXPECT_THAT(ids(store->alerts({})), ElementsAre(newest + 1, newest));
  EXPECT_THAT(ids(store->responses({})), IsEmpty());
}

TEST_F(StoreTest, refuses_the_database_of_a_newer_hyperward) {
  store.reset();
  ASSERT_TRUE(value_of(open_store_database(file)).execute("PRAGMA user_version=3"));
  const auto newer = Store::open(file);
  ASSERT_FALSE(newer);
  EXPECT_EQ(newer.error().code, Code::kInvalid);
  EXPECT_EQ(message_of(newer),
            fmt::format("{} was written by a newer hyperward: its tables are of version 3, known is 2", file.string()));
}

TEST_F(StoreTest, refuses_a_database_that_lacks_a_table) {
  store.reset();
  ASSERT_TRUE(value_of(open_store_database(file)).execute("DROP TABLE rules"));
  const auto damaged = Store::open(file);
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code, Code::kInvalid);
}

TEST_F(StoreTest, lets_others_look_into_the_file_meanwhile) {
  const auto other = value_of(Store::open(file));
  const int64_t id = value_of(store->add_rule(rule_of("web"))).id;
  EXPECT_THAT(ids(other->rules("")), ElementsAre(id));
  EXPECT_EQ(value_of(other->add_rule(rule_of("web"))).id, id + 1);
}

TEST_F(StoreTest, counts_todays_alerts_and_the_responses_in_force) {
  StoredAlert old = alert_of("web");
  old.time = kNow - 24h;
  ASSERT_TRUE(store->add_alert(old));
  const Store::Answered answered = answer("web");
  answer("db");
  ASSERT_TRUE(store->undo(answered.response.id, kNow));
  const Store::Totals totals = value_of(store->totals(kNow));
  EXPECT_EQ(totals.alerts, 2U);
  EXPECT_EQ(totals.responses_in_force, 1U);
}

TEST_F(StoreTest, serves_several_threads) {
  constexpr int kThreads = 4, kEach = 20;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        for (int j = 0; j < kEach; ++j) {
          const Store::Answered answered = answer("web");
          ASSERT_TRUE(store->rules("web"));
          ASSERT_TRUE(store->undo(answered.response.id, kNow));
        }
      });
    }
  }
  EXPECT_THAT(ids(store->rules("")), IsEmpty());
  EXPECT_EQ(value_of(store->responses({.limit = SIZE_MAX})).size(), size_t{kThreads * kEach});
}

}  // namespace
}  // namespace hyperward::daemon
