// For tests: a daemon that guards one guest, "web", and answers every question with an example. It remembers what it
// was asked, and fails with `error` when there is one.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/operations.h"

namespace hyperward::daemon {

class FakeOperations : public Operations {
 public:
  [[nodiscard]] Result<Json> status() override {
    auto value = answer("status", kStatus);
    if (value) (*value)["last_event"] = last_event_told.load();
    if (value) (*value)["started"] = started;
    return value;
  }
  [[nodiscard]] Result<Json> guests() override { return answer("guests", fmt::format("[{}]", kGuest)); }
  [[nodiscard]] Result<Json> guest(std::string_view name) override {
    if (name != "web") return fail(Code::kNotFound, "there is no guest '{}'", name);
    return answer(fmt::format("guest {}", name), kGuest);
  }
  [[nodiscard]] Result<Json> flows(std::string_view name, bool denied_only, size_t limit) override {
    return answer(fmt::format("flows {} {} {}", name, denied_only ? "denied" : "all", limit),
                  fmt::format("[{}]", kFlow));
  }
  [[nodiscard]] Result<Json> rules(std::string_view guest) override {
    return answer(
        fmt::format("rules {}", guest),
        fmt::format(R"({{"default":"allow","run_time":[{}],"file":[{{"line":3,"text":"deny in"}}]}})", kRule));
  }
  [[nodiscard]] Result<Json> add_rule(std::string_view guest, std::string_view text) override {
    return answer(fmt::format("add_rule {}: {}", guest, text), kRule);
  }
  [[nodiscard]] Result<Json> replace_rule(std::string_view guest, int64_t id, std::string_view text) override {
    return answer(fmt::format("replace_rule {} {}: {}", guest, id, text), kRule);
  }
  [[nodiscard]] Result<Json> remove_rule(std::string_view guest, int64_t id) override {
    return answer(fmt::format("remove_rule {} {}", guest, id), kRule);
  }
  [[nodiscard]] Result<Json> modules(std::string_view guest) override {
    return answer(fmt::format("modules {}", guest), fmt::format("[{}]", kModule));
  }
  [[nodiscard]] Result<Json> load_module(std::string_view guest, const ModuleConfig& module) override {
    return answer(fmt::format("load_module {}: {}", guest, to_json(module).dump()), kModule);
  }
  [[nodiscard]] Result<Json> swap_module(std::string_view guest, std::string_view module,
                                         const Json& changes) override {
    return answer(fmt::format("swap_module {} {}: {}", guest, module, changes.dump()), kModule);
  }
  [[nodiscard]] Result<Json> unload_module(std::string_view guest, std::string_view module) override {
    return answer(fmt::format("unload_module {} {}", guest, module), kModule);
  }
  [[nodiscard]] Result<Json> alerts(const Query& query) override {
    return answer(fmt::format("alerts '{}' after {} limit {}", query.guest, query.after, query.limit),
                  fmt::format("[{}]", kAlert));
  }
  [[nodiscard]] Result<Json> responses(const Query& query) override {
    return answer(fmt::format("responses '{}' after {} limit {}", query.guest, query.after, query.limit),
                  fmt::format("[{}]", kResponse));
  }
  [[nodiscard]] Result<Json> response(int64_t id) override {
    auto value = answer(fmt::format("response {}", id), kResponse);
    if (value) (*value)["answered"] = Json::parse(kAlert);
    return value;
  }
  [[nodiscard]] Result<Json> undo(int64_t response) override {
    return answer(fmt::format("undo {}", response), kResponse);
  }
  [[nodiscard]] Result<Json> take_ids_line(std::string_view guest, std::string_view line) override {
    return answer(fmt::format("take_ids_line '{}' {}", guest, line),
                  fmt::format(R"({{"alert":{},"response":null}})", kAlert));
  }
  [[nodiscard]] Result<Json> reload() override { return answer("reload", R"({"guests":1,"rules":7})"); }
  [[nodiscard]] Result<std::string> metrics() override { return "hyperward_up 1\n"; }
  [[nodiscard]] Events& events() override { return events_; }

  std::atomic<uint64_t> last_event_told = 0;
  std::string started = "2025-03-01T12:00:00.000Z";

  void fail_with(std::optional<Error> error) {
    const std::lock_guard lock(mutex_);
    error_ = std::move(error);
  }
  [[nodiscard]] std::vector<std::string> asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  [[nodiscard]] std::vector<std::string> take_asked() {
    const std::lock_guard lock(mutex_);
    return std::exchange(asked_, {});
  }

 private:
  static constexpr const char* kStatus = R"({"version":"0.1.0","uptime_s":12.5,
    "guests":[{"name":"web","tap":"tap0","state":"guarded","rules":7,"modules":1,"flows":3}],
    "health":{"state":"ok","problems":[]},"rules":7,"alerts_today":2,"responses_in_force":1})";
  static constexpr const char* kGuest = R"({"name":"web","tap":"tap0","state":"guarded","qemu_pid":4711,
    "kernel":"6.1.0-18-amd64","default":"deny","rules":{"file":6,"run_time":1},"modules":1,"flows":3,
    "counters":{"passed":10,"denied":1},"detectors":{"accounts":2,"bytes":4096},"since":"2025-03-01T12:00:00.000Z"})";
  static constexpr const char* kFlow = R"({"protocol":"tcp","local":"10.9.0.2:40000","remote":"203.0.113.9:25",
    "vlan":0,"direction":"out","verdict":"deny","state":"new","rule":{"line":0,"id":5,"module":null,"code":null,"text":"deny from uid 1000"},
    "owner":{"uid":1000,"gid":1000,"process":{"pid":412,"comm":"nc\u001b[2J","start_time_ns":1}},
    "how":"credentials","reason":"none","evidence":{"inode":8123},"packets":{"from_guest":1,"to_guest":0},
    "bytes":{"from_guest":60,"to_guest":0},"dropped":1,"age_s":0.5,"judged_s_ago":0.5,"idle_s":0.1})";
  static constexpr const char* kRule = R"({"id":5,"guest":"web","text":"deny from uid 1000 to tcp port 25",
    "created":"2025-03-01T12:00:00.000Z","expires":"2025-03-01T12:30:00.000Z","response":3})";
  static constexpr const char* kModule = R"({"name":"rate","origin":"run-time","file":"/m/connection_rate.so",
    "run":"process","settings":{"per_second":20},"batch":32,"batch_wait_us":0,"deadline_ms":200,"memory_mb":256,
    "info":{"name":"connection-rate","version":"1.0","description":"limits connections per second"},
    "status":{"asked":10,"denied":2,"faults":1,"restarts":1,"pid":4712,"running":true,"last_fault":"it crashed",
    "counters":{"limited":2,"owners":3}}})";
  static constexpr const char* kAlert = R"({"id":9,"guest":"web","time":"2025-03-01T12:00:00.000Z",
    "kind":"mail-burst","summary":"uid 1000, nc\u001b[2J (pid 412), began 21 connections to mail ports in 3 s",
    "details":{"figures":{"connections":21}}})";
  static constexpr const char* kResponse = R"({"id":3,"alert":9,"rule":5,"guest":"web",
    "time":"2025-03-01T12:00:00.000Z","action":"deny-port","rule_text":"deny from uid 1000 to tcp port 25",
    "why":"the policy denies the port","until":"2025-03-01T12:30:00.000Z","state":"in-force","ended":null})";

  Result<Json> answer(std::string question, std::string_view json) {
    const std::lock_guard lock(mutex_);
    asked_.push_back(std::move(question));
    if (error_) return std::unexpected(*error_);
    return Result<Json>(std::in_place, Json::parse(json));
  }

  mutable std::mutex mutex_;
  std::vector<std::string> asked_;
  std::optional<Error> error_;
  Events events_;
};

}  // namespace hyperward::daemon
