#include "daemon/store_schema.h"

#include <charconv>
#include <iterator>

namespace hyperward::daemon {
namespace {

constexpr int32_t kApplicationId = 0x68797764;  // "hywd"

// What leads from each version of the tables to the next; PRAGMA user_version says how many have been taken. One that
// has been released is never changed: a change is one more.
//
// AUTOINCREMENT: an id stays unique after its row has gone. A response keeps its rule's id after the rule has gone, so
// that one is no foreign key; the rule's way back to its response is, and rules_by_response allows a response one rule.
constexpr const char* kMigrations[] = {R"sql(
  CREATE TABLE alerts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    guest TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    summary TEXT NOT NULL,
    details TEXT NOT NULL
  ) STRICT;
  CREATE INDEX alerts_by_guest ON alerts(guest, id);
  CREATE INDEX alerts_by_time ON alerts(time_ms);

  CREATE TABLE responses (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    alert INTEGER NOT NULL REFERENCES alerts(id),
    rule INTEGER,
    guest TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    action TEXT NOT NULL,
    rule_text TEXT NOT NULL,
    why TEXT NOT NULL,
    until_ms INTEGER,
    state TEXT NOT NULL CHECK (state IN ('in-force', 'advised', 'expired', 'undone')),
    ended_ms INTEGER,
    CHECK ((state IN ('expired', 'undone')) = (ended_ms IS NOT NULL))
  ) STRICT;
  CREATE INDEX responses_by_guest ON responses(guest, id);
  CREATE INDEX responses_by_alert ON responses(alert);

  CREATE TABLE rules (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    guest TEXT NOT NULL,
    text TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    response INTEGER REFERENCES responses(id)
  ) STRICT;
  CREATE INDEX rules_by_guest ON rules(guest, id);
  CREATE INDEX rules_by_expiry ON rules(expires_ms) WHERE expires_ms IS NOT NULL;
  CREATE UNIQUE INDEX rules_by_response ON rules(response) WHERE response IS NOT NULL;
)sql",
                                       R"sql(
  CREATE TABLE modules (
    guest TEXT NOT NULL,
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    config TEXT NOT NULL,
    PRIMARY KEY (guest, name),
    UNIQUE (guest, position)
  ) STRICT;
)sql"};

// In the order of the read functions below.
constexpr std::string_view kRule = "id, guest, text, created_ms, expires_ms, response";
constexpr std::string_view kModule = "guest, name, config";
constexpr std::string_view kAlert = "id, guest, time_ms, kind, summary, details";
constexpr std::string_view kResponse =
    "id, alert, rule, guest, time_ms, action, rule_text, why, until_ms, state, ended_ms";

Result<void> migrate(Database& database, const std::filesystem::path& file) {
  HW_TRY(Transaction transaction, Transaction::begin(database));
  HW_TRY(const std::string text, database.pragma("user_version"));
  size_t version = SIZE_MAX;  // what is no number (it may be negative) is not ours either
  std::from_chars(text.data(), text.data() + text.size(), version);
  if (version == std::size(kMigrations)) return {};
  if (version > std::size(kMigrations))
    return fail(Code::kInvalid, "{} was written by a newer hyperward: its tables are of version {}, known is {}",
                file.string(), text, std::size(kMigrations));

  for (; version < std::size(kMigrations); ++version) HW_OK(database.execute(kMigrations[version]));
  HW_OK(database.execute(fmt::format("PRAGMA application_id={}; PRAGMA user_version={}", kApplicationId, version)));
  return transaction.commit();
}

Result<Listing> prepare_listing(Database& database, std::string_view table, std::string_view columns) {
  const std::string all = fmt::format("SELECT {} FROM {} WHERE id > ?1", columns, table);
  const std::string of_guest = fmt::format("{} AND guest = ?3", all);
  Listing listing;
  HW_TRY(listing.newest, database.prepare(all + " ORDER BY id DESC LIMIT ?2"));
  HW_TRY(listing.oldest, database.prepare(all + " ORDER BY id LIMIT ?2"));
  HW_TRY(listing.newest_of_guest, database.prepare(of_guest + " ORDER BY id DESC LIMIT ?2"));
  HW_TRY(listing.oldest_of_guest, database.prepare(of_guest + " ORDER BY id LIMIT ?2"));
  return listing;
}

ResponseState state_from(std::string_view name) {
  using enum ResponseState;
  for (const ResponseState state : {kInForce, kAdvised, kExpired, kUndone})
    if (to_string(state) == name) return state;
  HW_CHECK(false);  // the table admits no other
  return kUndone;
}

}  // namespace

Result<Database> open_store_database(const std::filesystem::path& file) {
  HW_TRY(Database database, Database::open(file, kApplicationId));
  HW_OK(migrate(database, file));
  return database;
}

Result<Statements> prepare_statements(Database& database) {
  const std::string rules = fmt::format("SELECT {} FROM rules", kRule);
  Statements all;
  HW_TRY(all.add_rule, database.prepare("INSERT INTO rules(guest, text, created_ms, expires_ms, response)"
                                        " VALUES (?1, ?2, ?3, ?4, ?5)"));
  HW_TRY(all.count_rules, database.prepare("SELECT count(*) FROM rules WHERE guest = ?1"));
  HW_TRY(all.rule, database.prepare(rules + " WHERE id = ?1"));
  HW_TRY(all.rules, database.prepare(rules + " ORDER BY id DESC"));
  HW_TRY(all.rules_of_guest, database.prepare(rules + " WHERE guest = ?1 ORDER BY id DESC"));
  HW_TRY(all.expired_rules, database.prepare(rules + " WHERE expires_ms <= ?1 ORDER BY id"));
  HW_TRY(all.replace_rule, database.prepare("UPDATE rules SET text = ?2, expires_ms = ?3 WHERE id = ?1"));
  HW_TRY(all.remove_rule, database.prepare("DELETE FROM rules WHERE id = ?1"));

  HW_TRY(all.add_module,
         database.prepare("INSERT INTO modules(guest, name, position, config) VALUES (?1, ?2,"
                          " (SELECT coalesce(max(position), 0) + 1 FROM modules WHERE guest = ?1), ?3)"));
  HW_TRY(all.modules_of_guest,
         database.prepare(fmt::format("SELECT {} FROM modules WHERE guest = ?1 ORDER BY position", kModule)));
  HW_TRY(all.replace_module, database.prepare("UPDATE modules SET config = ?3 WHERE guest = ?1 AND name = ?2"));
  HW_TRY(all.remove_module, database.prepare("DELETE FROM modules WHERE guest = ?1 AND name = ?2"));

  HW_TRY(all.add_alert, database.prepare("INSERT INTO alerts(guest, time_ms, kind, summary, details)"
                                         " VALUES (?1, ?2, ?3, ?4, ?5)"));
  HW_TRY(all.alert, database.prepare(fmt::format("SELECT {} FROM alerts WHERE id = ?1", kAlert)));
  HW_TRY(all.forget_responses, database.prepare("DELETE FROM responses WHERE alert <= ?1 AND state <> 'in-force'"));
  HW_TRY(all.forget_alerts, database.prepare("DELETE FROM alerts WHERE id <= ?1"
                                             " AND id NOT IN (SELECT alert FROM responses WHERE alert <= ?1)"));
  HW_TRY(all.alerts, prepare_listing(database, "alerts", kAlert));

  HW_TRY(all.add_response,
         database.prepare("INSERT INTO responses(alert, guest, time_ms, action, rule_text, why, until_ms, state)"
                          " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"));
  HW_TRY(all.response, database.prepare(fmt::format("SELECT {} FROM responses WHERE id = ?1", kResponse)));
  HW_TRY(all.set_response_rule, database.prepare("UPDATE responses SET rule = ?2 WHERE id = ?1"));
  HW_TRY(all.replace_response_rule,
         database.prepare("UPDATE responses SET rule_text = ?2, until_ms = ?3 WHERE id = ?1"));
  HW_TRY(all.end_response, database.prepare("UPDATE responses SET state = ?2, ended_ms = ?3 WHERE id = ?1"));
  HW_TRY(all.responses, prepare_listing(database, "responses", kResponse));
  HW_TRY(all.totals, database.prepare("SELECT (SELECT count(*) FROM alerts WHERE time_ms >= ?1),"
                                      " (SELECT count(*) FROM rules WHERE response IS NOT NULL)"));
  return all;
}

StoredRule read_rule(const Columns& row) {
  return {.id = row.number(0),
          .guest = row.text(1),
          .text = row.text(2),
          .created = row.time(3).value_or(WallTime()),
          .expires = row.time(4),
          .response = row.number(5)};
}

StoredModule read_module(const Columns& row) {
  return {.guest = row.text(0), .name = row.text(1), .config = row.text(2)};
}

StoredAlert read_alert(const Columns& row) {
  return {.id = row.number(0),
          .guest = row.text(1),
          .time = row.time(2).value_or(WallTime()),
          .kind = row.text(3),
          .summary = row.text(4),
          .details = row.text(5)};
}

StoredResponse read_response(const Columns& row) {
  return {.id = row.number(0),
          .alert = row.number(1),
          .rule = row.number(2),
          .guest = row.text(3),
          .time = row.time(4).value_or(WallTime()),
          .action = row.text(5),
          .rule_text = row.text(6),
          .why = row.text(7),
          .until = row.time(8),
          .state = state_from(row.text(9)),
          .ended = row.time(10)};
}

}  // namespace hyperward::daemon
