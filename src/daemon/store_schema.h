// The store's tables, the statements on them, and how a row becomes what store.h tells.
#pragma once

#include <filesystem>

#include "base/result.h"
#include "daemon/sqlite.h"
#include "daemon/store.h"

namespace hyperward::daemon {

// Opens the file and brings its tables up to date, in one transaction.
[[nodiscard]] Result<Database> open_store_database(const std::filesystem::path& file);

// One table, by a Query's two choices. Parameters: the greatest id that is not wanted, the most rows, the guest.
struct Listing {
  Statement newest, oldest, newest_of_guest, oldest_of_guest;
};

struct Statements {
  Statement add_rule;        // guest, text, created, expires, response or NULL
  Statement count_rules;     // guest
  Statement rule;            // id
  Statement rules;           //
  Statement rules_of_guest;  // guest
  Statement expired_rules;   // now
  Statement replace_rule;    // id, text, expires
  Statement remove_rule;     // id

  Statement add_module;        // guest, name, config
  Statement modules_of_guest;  // guest
  Statement replace_module;    // guest, name, config
  Statement remove_module;     // guest, name

  Statement add_alert;         // guest, time, kind, summary, details
  Statement alert;             // id
  Statement forget_responses;  // of alerts up to this id, unless in force
  Statement forget_alerts;     // up to this id, unless a response is left
  Listing alerts;

  Statement add_response;           // alert, guest, time, action, rule's text, why, until, state
  Statement response;               // id
  Statement set_response_rule;      // id, rule
  Statement replace_response_rule;  // id, rule's text, until
  Statement end_response;           // id, state, when
  Listing responses;

  Statement totals;  // since: alerts, responses in force
};
[[nodiscard]] Result<Statements> prepare_statements(Database& database);

[[nodiscard]] StoredRule read_rule(const Columns& row);
[[nodiscard]] StoredModule read_module(const Columns& row);
[[nodiscard]] StoredAlert read_alert(const Columns& row);
[[nodiscard]] StoredResponse read_response(const Columns& row);

}  // namespace hyperward::daemon
