#include "daemon/store.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "daemon/sqlite.h"
#include "daemon/store_schema.h"

namespace hyperward::daemon {
namespace {

template <typename Row>
using Read = Row (*)(const Columns&);

template <typename Row>
Result<std::vector<Row>> all_of(Statement& statement, std::initializer_list<Value> values, Read<Row> read) {
  std::vector<Row> rows;
  HW_OK(statement.run(values, [&](const Columns& row) { rows.push_back(read(row)); }));
  return rows;
}

template <typename Row>
Result<Row> one_of(Statement& statement, int64_t id, Read<Row> read, std::string_view what) {
  HW_TRY(std::vector<Row> rows, all_of(statement, {id}, read));
  if (rows.empty()) return fail(Code::kNotFound, "there is no {} {}", what, id);
  return std::move(rows.front());
}

template <typename Row>
Result<std::vector<Row>> list(Listing& listing, const Query& query, Read<Row> read) {
  const int64_t after = std::max<int64_t>(query.after, 0);
  const auto limit = static_cast<int64_t>(std::min(query.limit, Store::kMaxRows));
  if (query.guest.empty()) return all_of(after > 0 ? listing.oldest : listing.newest, {after, limit}, read);
  return all_of(after > 0 ? listing.oldest_of_guest : listing.newest_of_guest, {after, limit, query.guest}, read);
}

}  // namespace

std::string_view to_string(ResponseState state) {
  switch (state) {
    case ResponseState::kInForce: return "in-force";
    case ResponseState::kAdvised: return "advised";
    case ResponseState::kExpired: return "expired";
    case ResponseState::kUndone: return "undone";
  }
  return "?";
}

// The parts of what Store does in one transaction; the caller holds the lock, and the transaction when it writes.
struct Store::Impl {
  std::mutex mutex;
  Database database;
  Statements sql;

  [[nodiscard]] Result<StoredRule> rule(int64_t id) { return one_of(sql.rule, id, read_rule, "rule"); }
  [[nodiscard]] Result<StoredResponse> response(int64_t id) {
    return one_of(sql.response, id, read_response, "response");
  }

  [[nodiscard]] Result<bool> has_module(std::string_view guest, std::string_view name) {
    HW_TRY(const std::vector<StoredModule> modules, all_of(sql.modules_of_guest, {guest}, read_module));
    return std::ranges::find(modules, name, &StoredModule::name) != modules.end();
  }
  [[nodiscard]] Result<void> find_module(std::string_view guest, std::string_view name) {
    HW_TRY(const bool found, has_module(guest, name));
    if (!found) return fail(Code::kNotFound, "'{}' has no module '{}' of run time", guest, name);
    return {};
  }

  [[nodiscard]] Result<int64_t> insert(const StoredRule& rule) {
    int64_t rules = 0;
    HW_OK(sql.count_rules.run({rule.guest}, [&](const Columns& row) { rules = row.number(0); }));
    if (rules >= static_cast<int64_t>(kMaxRulesPerGuest))
      return fail(Code::kLimit, "guest '{}' has {} rules of run time already; remove some", rule.guest, rules);
    const Value response = rule.response == 0 ? Value() : rule.response;
    HW_OK(sql.add_rule.run({rule.guest, rule.text, to_value(rule.created), to_value(rule.expires), response}));
    return database.last_insert_id();
  }

  [[nodiscard]] Result<int64_t> insert(const StoredAlert& alert) {
    HW_OK(sql.add_alert.run({alert.guest, to_value(alert.time), alert.kind, alert.summary, alert.details}));
    const int64_t id = database.last_insert_id();
    // Ids have no gaps but those that forgetting leaves: what lies further back than the limit is beyond it.
    const int64_t last_forgotten = id - static_cast<int64_t>(kMaxAlerts);
    if (last_forgotten <= 0) return id;
    HW_OK(sql.forget_responses.run({last_forgotten}));
    HW_OK(sql.forget_alerts.run({last_forgotten}));
    return id;
  }

  [[nodiscard]] Result<int64_t> insert(const StoredResponse& response) {
    HW_OK(
        sql.add_response.run({response.alert, response.guest, to_value(response.time), response.action,
                              response.rule_text, response.why, to_value(response.until), to_string(response.state)}));
    return database.last_insert_id();
  }

  // Removes the rule, and ends the response that made it.
  [[nodiscard]] Result<void> end(const StoredRule& rule, ResponseState state, WallTime now) {
    if (rule.response != 0) HW_OK(sql.end_response.run({rule.response, to_string(state), to_value(now)}));
    return sql.remove_rule.run({rule.id});
  }
};

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;

Result<std::unique_ptr<Store>> Store::open(const std::filesystem::path& file) {
  HW_TRY(Database database, open_store_database(file));
  auto sql = prepare_statements(database);
  // SQLite finds nothing wrong with a file that lacks a table; we do.
  if (!sql) return fail(Code::kInvalid, "{} is damaged ({})", file.string(), sql.error().message);
  auto impl = std::unique_ptr<Impl>(new Impl{.mutex = {}, .database = std::move(database), .sql = *std::move(sql)});
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

Result<StoredRule> Store::add_rule(StoredRule rule) {
  const std::scoped_lock lock(impl_->mutex);
  HW_TRY(Transaction transaction, Transaction::begin(impl_->database));
  rule.response = 0;
  HW_TRY(rule.id, impl_->insert(rule));
  HW_OK(transaction.commit());
  return rule;
}

Result<StoredRule> Store::replace_rule(int64_t id, std::string_view text, std::optional<WallTime> expires) {
  const std::scoped_lock lock(impl_->mutex);
  HW_TRY(Transaction transaction, Transaction::begin(impl_->database));
  HW_TRY(StoredRule rule, impl_->rule(id));
  rule.text = text;
  rule.expires = expires;
  HW_OK(impl_->sql.replace_rule.run({id, text, to_value(expires)}));
  if (rule.response != 0) HW_OK(impl_->sql.replace_response_rule.run({rule.response, text, to_value(expires)}));
  HW_OK(transaction.commit());
  return rule;
}

Result<StoredRule> Store::remove_rule(int64_t id, WallTime now) {
  const std::scoped_lock lock(impl_->mutex);
  HW_TRY(Transaction transaction, Transaction::begin(impl_->database));
  HW_TRY(StoredRule rule, impl_->rule(id));
  HW_OK(impl_->end(rule, ResponseState::kUndone, now));
  HW_OK(transaction.commit());
  return rule;
}

Result<StoredRule> Store::rule(int64_t id) const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->rule(id);
}

Result<std::vector<StoredRule>> Store::rules(std::string_view guest) const {
  const std::scoped_lock lock(impl_->mutex);
  if (guest.empty()) return all_of(impl_->sql.rules, {}, read_rule);
  return all_of(impl_->sql.rules_of_guest, {guest}, read_rule);
}

Result<std::vector<StoredRule>> Store::expire(WallTime now) {
  const std::scoped_lock lock(impl_->mutex);
  HW_TRY(Transaction transaction, Transaction::begin(impl_->database));
  HW_TRY(std::vector<StoredRule> expired, all_of(impl_->sql.expired_rules, {to_value(now)}, read_rule));
  for (const StoredRule& rule : expired) HW_OK(impl_->end(rule, ResponseState::kExpired, now));
  HW_OK(transaction.commit());
  return expired;
}

Result<void> Store::add_module(const StoredModule& module) {
  const std::scoped_lock lock(impl_->mutex);
  HW_TRY(Transaction transaction, Transaction::begin(impl_->database));
  HW_TRY(const bool found, impl_->has_module(module.guest, module.name));
  if (found) return fail(Code::kInvalid, "'{}' has a module '{}' already", module.guest, module.name);
  HW_OK(impl_->sql.add_module.run({module.guest, module.name, module.config}));
  return transaction.commit();
}

Result<void> Store::replace_module(const StoredModule& module) {
  const std::scoped_lock lock(impl_->mutex);
  HW_TRY(Transaction transaction, Transaction::begin(impl_->database));
  HW_OK(impl_->find_module(module.guest, module.name));
  HW_OK(impl_->sql.replace_module.run({module.guest, module.name, module.config}));
  return transaction.commit();
}

Result<void> Store::remove_module(std::string_view guest, std::string_view name) {
  const std::scoped_lock lock(impl_->mutex);
  HW_TRY(Transaction transaction, Transaction::begin(impl_->database));
  HW_OK(impl_->find_module(guest, name));
  HW_OK(impl_->sql.remove_module.run({guest, name}));
  return transaction.commit();
}

Result<std::vector<StoredModule>> Store::modules(std::string_view guest) const {
  const std::scoped_lock lock(impl_->mutex);
  return all_of(impl_->sql.modules_of_guest, {guest}, read_module);
}

Result<StoredAlert> Store::add_alert(StoredAlert alert) {
  const std::scoped_lock lock(impl_->mutex);
  HW_TRY(Transaction transaction, Transaction::begin(impl_->database));
  HW_TRY(alert.id, impl_->insert(alert));
  HW_OK(transaction.commit());
  return alert;
}

Result<std::vector<StoredAlert>> Store::alerts(const Query& query) const {
  const std::scoped_lock lock(impl_->mutex);
  return list(impl_->sql.alerts, query, read_alert);
}

Result<StoredAlert> Store::alert(int64_t id) const {
  const std::scoped_lock lock(impl_->mutex);
  return one_of(impl_->sql.alert, id, read_alert, "alert");
}

Result<Store::Answered> Store::add_response(StoredAlert alert, StoredResponse response,
                                            std::optional<StoredRule> rule) {
  const std::scoped_lock lock(impl_->mutex);
  HW_TRY(Transaction transaction, Transaction::begin(impl_->database));
  HW_TRY(alert.id, impl_->insert(alert));
  response.alert = alert.id;
  response.rule = 0;
  response.guest = alert.guest;
  response.state = rule ? ResponseState::kInForce : ResponseState::kAdvised;
  response.ended.reset();
  HW_TRY(response.id, impl_->insert(response));
  if (rule) {
    rule->guest = alert.guest;
    rule->response = response.id;
    HW_TRY(rule->id, impl_->insert(*rule));
    response.rule = rule->id;
    HW_OK(impl_->sql.set_response_rule.run({response.id, response.rule}));
  }
  HW_OK(transaction.commit());
  return Answered{.alert = std::move(alert), .response = std::move(response), .rule = std::move(rule)};
}

Result<std::vector<StoredResponse>> Store::responses(const Query& query) const {
  const std::scoped_lock lock(impl_->mutex);
  return list(impl_->sql.responses, query, read_response);
}

Result<StoredResponse> Store::response(int64_t id) const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->response(id);
}

Result<StoredResponse> Store::undo(int64_t id, WallTime now) {
  const std::scoped_lock lock(impl_->mutex);
  HW_TRY(Transaction transaction, Transaction::begin(impl_->database));
  HW_TRY(StoredResponse response, impl_->response(id));
  if (response.state == ResponseState::kAdvised)
    return fail(Code::kInvalid, "response {} was only advised: there is nothing to undo", id);
  if (response.state != ResponseState::kInForce)
    return fail(Code::kInvalid, "response {} has ended already: it is {}", id, to_string(response.state));
  HW_TRY(const StoredRule rule, impl_->rule(response.rule));
  HW_OK(impl_->end(rule, ResponseState::kUndone, now));
  HW_OK(transaction.commit());
  response.state = ResponseState::kUndone;
  response.ended = now;
  return response;
}

// A response is in force as long as its rule is there.
Result<Store::Totals> Store::totals(WallTime since) const {
  const std::scoped_lock lock(impl_->mutex);
  Totals totals;
  HW_OK(impl_->sql.totals.run({to_value(since)}, [&](const Columns& row) {
    totals.alerts = static_cast<size_t>(row.number(0));
    totals.responses_in_force = static_cast<size_t>(row.number(1));
  }));
  return totals;
}

}  // namespace hyperward::daemon
