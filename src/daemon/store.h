// What must last: rules and modules of run time, alerts, responses. One SQLite database.
//
// Everything that changes is committed, and on disk, when a call returns: what was acknowledged survives a kill -9 and
// a power cut (WAL with synchronous=FULL), and what belongs together is one transaction. Safe from several threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace hyperward::daemon {

using hyperward::WallTime;

struct StoredRule {
  int64_t id = 0;  // given by the store, never used again
  std::string guest{};
  std::string text{};  // one line of the rule language, without its duration
  WallTime created{};
  std::optional<WallTime> expires = std::nullopt;  // nothing: stays until it is removed
  int64_t response = 0;                            // that made it; 0: a person did
  bool operator==(const StoredRule&) const = default;
};

// A module that was loaded at run time.
struct StoredModule {
  std::string guest{};
  std::string name{};    // the guest's only one of that name
  std::string config{};  // JSON object: module_config.h
  bool operator==(const StoredModule&) const = default;
};

struct StoredAlert {
  int64_t id = 0;
  std::string guest{};
  WallTime time{};
  std::string kind{};     // detect::Kind's name
  std::string summary{};  // one sentence, printable
  std::string details{};  // JSON object: culprit, target, figures, evidence
  bool operator==(const StoredAlert&) const = default;
};

enum class ResponseState : uint8_t {
  kInForce,
  kAdvised,  // learning: what would have been done
  kExpired,
  kUndone,
};
[[nodiscard]] std::string_view to_string(ResponseState state);  // "in-force", "advised", "expired", "undone"

struct StoredResponse {
  int64_t id = 0;
  int64_t alert = 0;  // that it answers
  int64_t rule = 0;   // that it added, and may have gone since; 0: none (advised)
  std::string guest{};
  WallTime time{};
  std::string action{};     // detect::Action's name
  std::string rule_text{};  // stays when the rule has gone; a replaced rule replaces this and `until` too
  std::string why{};
  std::optional<WallTime> until = std::nullopt;
  ResponseState state = ResponseState::kInForce;
  std::optional<WallTime> ended = std::nullopt;  // expired or undone
  bool operator==(const StoredResponse&) const = default;
};

// Which rows; the newest first. Unset members do not restrict.
struct Query {
  std::string guest{};
  int64_t after = 0;   // only rows with greater ids; then the oldest first
  size_t limit = 100;  // at most Store::kMaxRows
};

class Store {
 public:
  // The newest stay, and those with a response in force; the others go, with their responses.
  static constexpr size_t kMaxAlerts = 100'000;
  static constexpr size_t kMaxRulesPerGuest = 1'000;
  static constexpr size_t kMaxRows = 10'000;  // that one Query gives

  // Makes the file if there is none (0600, in a directory of 0700), and brings an older schema up to date. kInvalid: no
  // such database, damaged, or of a newer hyperward; the file is left as it was.
  [[nodiscard]] static Result<std::unique_ptr<Store>> open(const std::filesystem::path& file);
  ~Store();

  // Rules. kNotFound: no such id. kLimit: kMaxRulesPerGuest, or a text without measure.
  [[nodiscard]] Result<StoredRule> add_rule(StoredRule rule);  // a person's; with its id
  [[nodiscard]] Result<StoredRule> replace_rule(int64_t id, std::string_view text, std::optional<WallTime> expires);
  // A response's rule: the response is undone with it.
  [[nodiscard]] Result<StoredRule> remove_rule(int64_t id, WallTime now = wall_now());
  [[nodiscard]] Result<StoredRule> rule(int64_t id) const;
  [[nodiscard]] Result<std::vector<StoredRule>> rules(std::string_view guest) const;  // "": of all; newest first
  // Removes what has expired, with the responses' state, in one transaction: the removed rules.
  [[nodiscard]] Result<std::vector<StoredRule>> expire(WallTime now);

  // Modules. kNotFound: the guest has none of that name; kInvalid: it has one already.
  [[nodiscard]] Result<void> add_module(const StoredModule& module);      // behind the others
  [[nodiscard]] Result<void> replace_module(const StoredModule& module);  // in the place of the one of that name
  [[nodiscard]] Result<void> remove_module(std::string_view guest, std::string_view name);
  [[nodiscard]] Result<std::vector<StoredModule>> modules(std::string_view guest) const;  // in their order

  [[nodiscard]] Result<StoredAlert> add_alert(StoredAlert alert);  // with its id
  [[nodiscard]] Result<std::vector<StoredAlert>> alerts(const Query& query) const;
  [[nodiscard]] Result<StoredAlert> alert(int64_t id) const;

  // An alert, its response, and the rule (when one is given) as one. The store gives the ids, and with them the
  // references; the guest is the alert's for all three; with a rule the response is in force, without one advised.
  struct Answered {
    StoredAlert alert;
    StoredResponse response;
    std::optional<StoredRule> rule = std::nullopt;
  };
  [[nodiscard]] Result<Answered> add_response(StoredAlert alert, StoredResponse response,
                                              std::optional<StoredRule> rule);
  [[nodiscard]] Result<std::vector<StoredResponse>> responses(const Query& query) const;
  [[nodiscard]] Result<StoredResponse> response(int64_t id) const;
  // Removes its rule and marks it. kInvalid: it has ended already, or was only advised.
  [[nodiscard]] Result<StoredResponse> undo(int64_t id, WallTime now);

  struct Totals {
    size_t alerts = 0;              // since then
    size_t responses_in_force = 0;  // now
  };
  [[nodiscard]] Result<Totals> totals(WallTime since) const;

 private:
  struct Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hyperward::daemon
