// What the daemon can be asked to do, without how it is asked: the HTTP server calls this, the daemon is this, tests
// put a fake in its place. Every call is safe from several threads. JSON values are the API's own (docs/openapi.json).
//
// Errors keep their meaning over HTTP: kNotFound 404, kInvalid 422, kLimit 429, kPermission 403, the rest 500.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "daemon/events.h"
#include "daemon/module_config.h"
#include "daemon/store.h"

namespace hyperward::daemon {

class Operations {
 public:
  using Json = nlohmann::json;
  virtual ~Operations() = default;

  [[nodiscard]] virtual Result<Json> status() = 0;                      // the whole daemon at a glance
  [[nodiscard]] virtual Result<Json> guests() = 0;                      // array
  [[nodiscard]] virtual Result<Json> guest(std::string_view name) = 0;  // one of them
  [[nodiscard]] virtual Result<Json> flows(std::string_view name, bool denied_only, size_t limit) = 0;

  [[nodiscard]] virtual Result<Json> rules(std::string_view guest) = 0;  // those of the file, and those of run time
  // `text` is one line of the rule language, perhaps with `for 30m` at its end. In force when this returns.
  [[nodiscard]] virtual Result<Json> add_rule(std::string_view guest, std::string_view text) = 0;
  [[nodiscard]] virtual Result<Json> replace_rule(std::string_view guest, int64_t id, std::string_view text) = 0;
  [[nodiscard]] virtual Result<Json> remove_rule(std::string_view guest, int64_t id) = 0;

  // array, in the order in which they are asked: those of the file, and those of run time
  [[nodiscard]] virtual Result<Json> modules(std::string_view guest) = 0;
  // Changes of those of run time, in force when they return. kInvalid: the module's own words why it does not load.
  [[nodiscard]] virtual Result<Json> load_module(std::string_view guest, const ModuleConfig& module) = 0;
  // `changes`: a [[module]]'s keys, without its name; what is not given stays. {}: the same, from its file anew.
  [[nodiscard]] virtual Result<Json> swap_module(std::string_view guest, std::string_view module,
                                                 const Json& changes) = 0;
  [[nodiscard]] virtual Result<Json> unload_module(std::string_view guest, std::string_view module) = 0;

  [[nodiscard]] virtual Result<Json> alerts(const Query& query) = 0;     // array
  [[nodiscard]] virtual Result<Json> responses(const Query& query) = 0;  // array
  [[nodiscard]] virtual Result<Json> response(int64_t id) = 0;           // with its alert
  [[nodiscard]] virtual Result<Json> undo(int64_t response) = 0;

  // One line of an IDS (detect/ids_alert.h) about a guest; "": whichever guest has one of its ends.
  [[nodiscard]] virtual Result<Json> take_ids_line(std::string_view guest, std::string_view line) = 0;
  // Reads the configuration and all rules anew; all of it or nothing.
  [[nodiscard]] virtual Result<Json> reload() = 0;

  [[nodiscard]] virtual Result<std::string> metrics() = 0;  // Prometheus text format 0.0.4
  [[nodiscard]] virtual Events& events() = 0;
};

}  // namespace hyperward::daemon
