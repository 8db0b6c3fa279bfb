// status, rule, alerts, events and respond: what the daemon is asked and told over its control interface.
//
// What it answers may hold a guest's own words: all text goes through guest::printable() on its way to a terminal.
#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/time.h"
#include "cli/commands.h"
#include "cli/control.h"
#include "cli/print_json.h"
#include "cli/table.h"
#include "guest/types.h"

namespace hyperward::cli {
namespace {

using nlohmann::json;

constexpr int kMaxLimit = 1000;                           // of rows, as the API has it
constexpr std::chrono::milliseconds kAskAgainEvery{500};  // for a daemon that has gone

struct ControlOptions : ControlTarget {
  std::string guest;
  std::vector<std::string> words;  // of a rule
  std::string duration;
  int64_t id = 0;
  unsigned limit = 100;
  bool follow = false;
};

// What follows a stream gets each line as it comes.
void print_line(const std::string& line) {
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

std::string rules_target(std::string_view guest) {
  return fmt::format("/v1/guests/{}/rules", url_encoded(guest));
}

std::string rule_target(const ControlOptions& options) {
  return fmt::format("{}/{}", rules_target(options.guest), options.id);
}

std::string with_guest(std::string_view target, const ControlOptions& options, char separator = '?') {
  if (options.guest.empty()) return std::string(target);
  return fmt::format("{}{}guest={}", target, separator, url_encoded(options.guest));
}

std::string rule_body(const ControlOptions& options) {
  std::string text = fmt::format("{}", fmt::join(options.words, " "));
  if (!options.duration.empty()) text += " for " + options.duration;
  return json({{"rule", text}}).dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<void> run_status(const ControlOptions& options) {
  HW_TRY(const json status, options.client().get("/v1/status"));
  if (options.as_json) {
    print_json(status);
    return {};
  }
  const json uptime = member(status, "uptime_s"), health = member(status, "health");
  const std::string state = cell(health, "state");
  fmt::print("hyperward {}, up {}, {}\n", cell(status, "version"),
             uptime.is_number() ? to_text(std::chrono::seconds(uptime.get<int64_t>())) : "-",
             painted(state == "ok" ? Colour::kGreen : Colour::kRed, state));
  for (const json& problem : member(health, "problems"))
    if (problem.is_string()) fmt::print("  {}\n", guest::printable(problem.get<std::string>()));
  Table table({"GUEST", "TAP", ">RULES", ">MODULES", ">FLOWS", "STATE"});
  for (const json& guest : member(status, "guests")) {
    table.add({cell(guest, "name"), cell(guest, "tap"), cell(guest, "rules"), cell(guest, "modules"),
               cell(guest, "flows"),
               painted(cell(guest, "state") == "guarded" ? Colour::kGreen : Colour::kRed, cell(guest, "state"))});
  }
  fmt::print("{}{} rules; {} alerts today; {} responses in force\n", table.text(), cell(status, "rules"),
             cell(status, "alerts_today"), cell(status, "responses_in_force"));
  return {};
}

void print_rule(const ControlOptions& options, const json& rule, std::string_view what_happened) {
  if (options.as_json) return print_json(rule);
  const std::string until = member(rule, "expires").is_null() ? "" : " until " + cell(rule, "expires");
  fmt::print("{}: rule {} {}{}: {}\n", guest::printable(options.guest), cell(rule, "id"), what_happened, until,
             cell(rule, "text"));
}

Result<void> run_rule_add(const ControlOptions& options) {
  HW_TRY(const json rule, options.client().post(rules_target(options.guest), rule_body(options)));
  print_rule(options, rule, "is in force");
  return {};
}

Result<void> run_rule_replace(const ControlOptions& options) {
  HW_TRY(const json rule, options.client().put(rule_target(options), rule_body(options)));
  print_rule(options, rule, "is in force");
  return {};
}

Result<void> run_rule_rm(const ControlOptions& options) {
  HW_TRY(json rule, options.client().remove(rule_target(options)));
  if (!options.as_json) rule.erase("expires");
  print_rule(options, rule, "is removed");
  return {};
}

void print_rules(const json& rules) {
  Table table({">ID", "FROM", "EXPIRES", "RULE"});
  for (const json& rule : member(rules, "run_time")) {
    const bool by_person = member(rule, "response").is_null();
    table.add({cell(rule, "id"), by_person ? "a person" : "response " + cell(rule, "response"), cell(rule, "expires"),
               cell(rule, "text")});
  }
  for (const json& rule : member(rules, "file"))
    table.add({"-", "line " + cell(rule, "line"), "-", cell(rule, "text")});
  fmt::print("{}default {}\n", table.text(), cell(rules, "default"));
}

Result<void> run_rule_ls(const ControlOptions& options) {
  const Client client = options.client();
  HW_TRY(const std::vector<std::string> guests, guests_meant(client, options.guest));
  json by_guest = json::object();
  for (const std::string& guest : guests) {
    HW_TRY(by_guest[guest], client.get(rules_target(guest)));
  }
  if (options.as_json) {
    print_json(options.guest.empty() ? by_guest : by_guest[options.guest]);
    return {};
  }
  for (const std::string& guest : guests) {
    if (options.guest.empty()) fmt::print("{}{}\n", &guest == guests.data() ? "" : "\n", guest::printable(guest));
    print_rules(by_guest[guest]);
  }
  return {};
}

std::string alert_line(const json& alert) {
  return fmt::format("{} {} {}: {} (alert {})", cell(alert, "time"), cell(alert, "guest"),
                     painted(Colour::kRed, cell(alert, "kind")), cell(alert, "summary"), cell(alert, "id"));
}

std::string missed_line(const json& data) {
  const std::string count = member(data, "missed").is_null() ? "some" : cell(data, "missed");
  return painted(Colour::kYellow, fmt::format("({} events were missed)", count));
}

// 0 when there is none.
int64_t number(const json& object, const char* name) {
  const json value = member(object, name);
  return value.is_number_integer() ? value.get<int64_t>() : 0;
}

int64_t id_of(const json& row) {
  return number(row, "id");
}

// Listens for ever, over restarts of the daemon: `listen` is called again when the daemon has gone, and tells whether
// it has met one. What fails before the first was met, or is no matter of its going, ends it.
Result<void> keep_listening(const std::function<Result<void>(bool& met)>& listen) {
  for (bool ever_met = false, told = false;;) {
    bool met = false;
    const auto ended = listen(met);
    ever_met |= met;
    const bool has_gone = !ended && (ended.error().code == Code::kNotFound || ended.error().code == Code::kSystem);
    if (!ever_met || !has_gone) return ended;
    if (met) told = false;
    if (!std::exchange(told, true))
      fmt::print(stderr, "hyperward: {}: waiting for it to come back\n", ended.error().message);
    std::this_thread::sleep_for(kAskAgainEvery);
  }
}

// Those that there are, and then those to come. The stream is asked for from a point before the list was made, so that
// none falls between; what the list has shown already is passed over. Ids of alerts outlast the daemon.
Result<void> follow_alerts(const ControlOptions& options, const Client& client) {
  int64_t last_shown = 0;
  const auto print = [&](const json& alert) {
    if (id_of(alert) <= last_shown) return;
    last_shown = id_of(alert);
    options.as_json ? print_json_line(alert) : print_line(alert_line(alert));
  };
  return keep_listening([&](bool& met) -> Result<void> {
    HW_TRY(const json status, client.get("/v1/status"));
    const std::string list = last_shown == 0 ? fmt::format("/v1/alerts?limit={}", options.limit)
                                             : fmt::format("/v1/alerts?limit={}&after={}", kMaxLimit, last_shown);
    HW_TRY(json alerts, client.get(with_guest(list, options, '&')));
    met = true;
    if (last_shown == 0) std::reverse(alerts.begin(), alerts.end());  // the newest came first
    for (const json& alert : alerts) print(alert);
    const std::string target = fmt::format("/v1/events?after={}", cell(status, "last_event"));
    return client.events(with_guest(target, options, '&'),
                         [&](const std::string& type, const json& event) -> Result<void> {
                           if (type == "missed" && !options.as_json) print_line(missed_line(event));
                           if (type == "alert") print(member(event, "data"));
                           return {};
                         });
  });
}

Result<void> run_alerts(const ControlOptions& options) {
  const Client client = options.client();
  if (options.follow) return follow_alerts(options, client);
  HW_TRY(const json alerts, client.get(with_guest(fmt::format("/v1/alerts?limit={}", options.limit), options, '&')));
  if (options.as_json) {
    print_json(alerts);
    return {};
  }
  // The newest is the last, next to the prompt.
  Table table({">ID", "TIME", "GUEST", "KIND", "SUMMARY"});
  for (auto alert = alerts.rbegin(); alert != alerts.rend(); ++alert) {
    table.add({cell(*alert, "id"), cell(*alert, "time"), cell(*alert, "guest"), cell(*alert, "kind"),
               cell(*alert, "summary")});
  }
  fmt::print("{}", table.text());
  return {};
}

void print_event(const ControlOptions& options, const std::string& type, const json& event) {
  if (options.as_json) {
    print_json_line(event);
  } else if (type == "missed") {
    print_line(missed_line(event));
  } else {
    print_line(fmt::format("{} {} {}: {}", cell(event, "time"), cell(event, "guest"), cell(event, "type"),
                           cell(event, "data")));
  }
}

// From now on. Of the daemon that it knows it asks for what came after the last one; another one's ids begin anew.
Result<void> follow_events(const ControlOptions& options, const Client& client) {
  json known;  // when that daemon started
  int64_t last = 0;
  return keep_listening([&](bool& met) -> Result<void> {
    HW_TRY(const json status, client.get("/v1/status"));
    if (known.is_null()) last = number(status, "last_event");
    if (!known.is_null() && known != member(status, "started")) last = 0;
    known = member(status, "started");
    met = true;
    return client.events(with_guest(fmt::format("/v1/events?after={}", last), options, '&'),
                         [&](const std::string& type, const json& event) -> Result<void> {
                           print_event(options, type, event);
                           if (type != "missed") last = id_of(event);
                           return {};
                         });
  });
}

// Without -f those that the daemon still keeps, which end at the last one that there was when this began.
Result<void> run_events(const ControlOptions& options) {
  const Client client = options.client();
  if (options.follow) return follow_events(options, client);
  HW_TRY(const json status, client.get("/v1/status"));
  const int64_t last = number(status, "last_event");
  if (last == 0) return {};

  bool done = false;
  const auto read =
      client.events("/v1/events?after=0", [&](const std::string& type, const json& event) -> Result<void> {
        if (options.guest.empty() || type == "missed" || member(event, "guest") == options.guest)
          print_event(options, type, event);
        done = id_of(event) >= last;
        if (done) return fail(Code::kLimit, "enough");
        return {};
      });
  if (done) return {};
  return read;
}

Result<void> run_respond_ls(const ControlOptions& options) {
  const std::string target = with_guest(fmt::format("/v1/responses?limit={}", options.limit), options, '&');
  HW_TRY(const json responses, options.client().get(target));
  if (options.as_json) {
    print_json(responses);
    return {};
  }
  Table table({">ID", "TIME", "GUEST", ">ALERT", "STATE", "UNTIL", "ACTION", "RULE"});
  for (auto response = responses.rbegin(); response != responses.rend(); ++response) {
    table.add({cell(*response, "id"), cell(*response, "time"), cell(*response, "guest"), cell(*response, "alert"),
               cell(*response, "state"), cell(*response, "until"), cell(*response, "action"),
               cell(*response, "rule_text")});
  }
  fmt::print("{}", table.text());
  return {};
}

Result<void> run_respond_show(const ControlOptions& options) {
  HW_TRY(const json response, options.client().get(fmt::format("/v1/responses/{}", options.id)));
  if (options.as_json) {
    print_json(response);
    return {};
  }
  const json alert = member(response, "answered");
  fmt::print("response  {}, {}, {}\n", cell(response, "id"), cell(response, "guest"), cell(response, "time"));
  fmt::print("state     {}, until {}, ended {}\n", cell(response, "state"), cell(response, "until"),
             cell(response, "ended"));
  fmt::print("action    {}\n", cell(response, "action"));
  fmt::print("rule      {}: {}\n", cell(response, "rule"), cell(response, "rule_text"));
  fmt::print("why       {}\n", cell(response, "why"));
  fmt::print("alert     {}, {}: {}\n", cell(response, "alert"), cell(alert, "kind"), cell(alert, "summary"));
  fmt::print("details   {}\n", cell(alert, "details"));
  return {};
}

Result<void> run_respond_undo(const ControlOptions& options) {
  HW_TRY(const json response, options.client().post(fmt::format("/v1/responses/{}/undo", options.id)));
  if (options.as_json) {
    print_json(response);
    return {};
  }
  fmt::print("{}: response {} is undone; its rule is removed: {}\n", cell(response, "guest"), cell(response, "id"),
             cell(response, "rule_text"));
  return {};
}

using Options = std::shared_ptr<ControlOptions>;

void add_guest(CLI::App& command, const Options& options, bool required) {
  command.add_option("guest", options->guest, "the guest's name")->required(required);
}

void add_id(CLI::App& command, const Options& options, const char* description) {
  const auto mistake = [](const std::string& text) -> std::string {
    const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
    return digits && text.front() != '0' ? "" : fmt::format("'{}' is no id", text);
  };
  command.add_option("id", options->id, description)->required()->check(mistake);
}

void add_rule_text(CLI::App& command, const Options& options) {
  command.add_option("rule", options->words, "one line of the rule language")->required();
  command.add_option("--for", options->duration, "how long it shall stay: 30m, 2h, 7d");
}

void add_limit(CLI::App& command, const Options& options) {
  command.add_option("-n,--limit", options->limit, "at most so many of the newest")->check(CLI::Range(1, kMaxLimit));
}

}  // namespace

void add_control_commands(CLI::App& app, Chosen& chosen) {
  const auto options = std::make_shared<ControlOptions>();

  add_command(app, "status", "show the daemon and its guests", options, run_status, chosen);

  CLI::App* rule = app.add_subcommand("rule", "change a guest's rules while it is guarded");
  rule->require_subcommand(1);
  CLI::App* add = add_command(*rule, "add", "add a rule before all others", options, run_rule_add, chosen);
  add_guest(*add, options, true);
  add_rule_text(*add, options);
  CLI::App* ls = add_command(*rule, "ls", "list the rules in force", options, run_rule_ls, chosen);
  add_guest(*ls, options, false);
  CLI::App* rm = add_command(*rule, "rm", "remove a rule that was added", options, run_rule_rm, chosen);
  add_guest(*rm, options, true);
  add_id(*rm, options, "the rule's number, from ls");
  CLI::App* replace = add_command(*rule, "replace", "put another text in its place", options, run_rule_replace, chosen);
  add_guest(*replace, options, true);
  add_id(*replace, options, "the rule's number, from ls");
  add_rule_text(*replace, options);

  CLI::App* alerts = add_command(app, "alerts", "list what was detected", options, run_alerts, chosen);
  add_guest(*alerts, options, false);
  add_limit(*alerts, options);
  alerts->add_flag("-f,--follow", options->follow, "go on with those to come");

  CLI::App* events = add_command(app, "events", "list what has happened lately", options, run_events, chosen);
  add_guest(*events, options, false);
  events->add_flag("-f,--follow", options->follow, "show what happens from now on");

  CLI::App* respond = app.add_subcommand("respond", "see and undo what was done about alerts");
  respond->require_subcommand(1);
  CLI::App* responses = add_command(*respond, "ls", "list the responses", options, run_respond_ls, chosen);
  add_guest(*responses, options, false);
  add_limit(*responses, options);
  CLI::App* show = add_command(*respond, "show", "tell why a response was made", options, run_respond_show, chosen);
  add_id(*show, options, "the response's number");
  CLI::App* undo = add_command(*respond, "undo", "end a response before its time", options, run_respond_undo, chosen);
  add_id(*undo, options, "the response's number");
}

}  // namespace hyperward::cli
