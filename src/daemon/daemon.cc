#include "daemon/daemon.h"

#include <algorithm>
#include <set>

#include <spdlog/spdlog.h>

#include "daemon/api_json.h"
#include "daemon/flow_json.h"
#include "daemon/metrics.h"
#include "daemon/state.h"
#include "datapath/flow_reader.h"
#include "vm/libvirt.h"

namespace hyperward::daemon {
namespace {

using Json = nlohmann::json;
using namespace std::chrono_literals;

constexpr auto kFindEvery = 1s;

Json summary_json(const std::string& name, const GuardedGuest& guest, const GuestStatus& status) {
  return {{"name", name},
          {"tap", guest.tap()},
          {"state", to_string(status.state)},
          {"rules", status.file_rules + status.run_time_rules},
          {"modules", status.modules.size()},
          {"flows", status.flows}};
}

Json guest_json(const std::string& name, const GuardedGuest& guest) {
  const GuestStatus status = guest.status();
  return {{"name", name},
          {"tap", guest.tap()},
          {"state", to_string(status.state)},
          {"problem", status.problem.empty() ? Json(nullptr) : Json(status.problem)},
          {"qemu_pid", status.qemu_pid == 0 ? Json(nullptr) : Json(status.qemu_pid)},
          {"kernel", status.kernel.empty() ? Json(nullptr) : Json(guest::printable(status.kernel))},
          {"default", guest.config().default_allow ? "allow" : "deny"},
          {"rules", {{"file", status.file_rules}, {"run_time", status.run_time_rules}}},
          {"modules", status.modules.size()},
          {"flows", status.flows},
          {"counters", counters_json(status.counters)},
          {"detectors", {{"accounts", status.detector_accounts}, {"bytes", status.detector_bytes}}},
          {"since", status.since ? Json(to_rfc3339(*status.since)) : Json(nullptr)}};
}

// A guest that a file names, or whose tap it names, is that file's, whoever finds it.
bool has_file(const DaemonConfig& config, const std::string& name, const std::string& tap) {
  return std::ranges::any_of(
      config.guests, [&](const GuestFile& file) { return file.config.label() == name || file.config.tap == tap; });
}

template <typename Row>
Result<Json> array_of(const Result<std::vector<Row>>& rows) {
  if (!rows) return std::unexpected(rows.error());
  Json array = Json::array();
  for (const Row& row : *rows) array.push_back(to_json(row));
  return array;
}

}  // namespace

Result<std::unique_ptr<Daemon>> Daemon::start(const std::filesystem::path& config_file, DaemonConfig config,
                                              GuestAccess access) {
  HW_TRY(std::unique_ptr<Store> store, Store::open(config.database));
  HW_TRY(IdsIntake ids, IdsIntake::open(config.ids));
  if (config.find) access.libvirt_uri = config.find->libvirt;
  access.recordings = config.database.parent_path() / "recordings";
  std::unique_ptr<Daemon> daemon(new Daemon(std::filesystem::absolute(config_file), std::move(config), std::move(store),
                                            std::move(ids), std::move(access)));
  daemon->expire_rules();  // what ran out while nobody looked is not put in force for a moment
  for (const GuestFile& file : daemon->config_.guests) daemon->guard(file);
  daemon->finder_ = std::jthread([self = daemon.get()](const std::stop_token& stop) { self->look_for_guests(stop); });
  return daemon;
}

Daemon::Daemon(std::filesystem::path config_file, DaemonConfig config, std::unique_ptr<Store> store, IdsIntake ids,
               GuestAccess access)
    : config_file_(std::move(config_file)),
      access_(std::move(access)),
      store_(std::move(store)),
      ids_(std::move(ids)),
      config_(std::move(config)) {}

Daemon::~Daemon() {
  events_.close();
  finder_ = {};
  guests_.clear();
}

// -- guests ---------------------------------------------------------------------------------------------------------

Daemon::Guests Daemon::all() const {
  const std::shared_lock lock(mutex_);
  return guests_;
}

Result<std::shared_ptr<GuardedGuest>> Daemon::find(std::string_view name) const {
  const std::shared_lock lock(mutex_);
  const auto found = guests_.find(name);
  if (found == guests_.end()) return fail(Code::kNotFound, "there is no guest '{}'", guest::printable(name));
  return found->second;
}

void Daemon::guard(const GuestFile& file) {
  auto guest = std::make_shared<GuardedGuest>(GuardedGuest::Setup{.file = file, .access = access_}, *store_, events_);
  const std::string name = guest->name();
  const std::unique_lock lock(mutex_);
  guests_.insert_or_assign(name, std::move(guest));
}

void Daemon::look_for_guests(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any woken;
  std::unique_lock lock(mutex);
  while (!stop.stop_requested()) {
    {
      const std::lock_guard reloading(reloading_);
      std::optional<Find> find;
      {
        const std::shared_lock shared(mutex_);
        find = config_.find;
      }
      if (find) take_found(*find);
    }
    woken.wait_for(lock, stop, kFindEvery, [] { return false; });
  }
}

// Guests that nobody wrote a file for come and go with their virtual machines. One with several taps is guarded on
// each of them: a card that nobody guards would be the way out.
void Daemon::take_found(const Find& find) {
  std::map<std::string, Found> running;
  const auto add = [&](const vm::Qemu& qemu, const std::string& tap) {
    const std::string name = qemu.name.empty() ? tap : qemu.name;
    running.try_emplace(running.contains(name) ? fmt::format("{}@{}", name, tap) : name,
                        Found{.pid = qemu.pid, .start_time = qemu.start_time, .tap = tap});
  };
  std::set<pid_t> of_libvirt;
  if (!find.libvirt.empty()) {
    const auto domains = vm::running_domains(find.libvirt);
    if (!domains) return tell_trouble(domains.error().message);  // who is not seen has not gone
    for (const vm::Domain& domain : *domains) {
      of_libvirt.insert(domain.qemu.pid);
      for (const std::string& tap : domain.qemu.taps) add(domain.qemu, tap);
    }
  }
  for (const vm::Qemu& qemu : vm::all_qemus())
    if (!of_libvirt.contains(qemu.pid))
      for (const std::string& tap : qemu.taps)
        if (find.matches(tap)) add(qemu, tap);
  tell_trouble("");

  std::vector<std::shared_ptr<GuardedGuest>> gone;  // stop outside of the lock
  {
    const std::unique_lock lock(mutex_);
    std::erase_if(found_, [&](const auto& known) {
      const auto still = running.find(known.first);
      if (still != running.end() && still->second == known.second) return false;
      if (auto guest = guests_.extract(known.first)) gone.push_back(std::move(guest.mapped()));
      return true;
    });
    std::erase_if(running, [&](const auto& one) { return has_file(config_, one.first, one.second.tap); });
  }
  for (const auto& guest : gone) guest->stop();
  for (const auto& [name, found] : running) {
    if (found_.contains(name)) continue;
    guard(find.guest(name, found.pid, found.tap));
    const std::unique_lock lock(mutex_);
    found_.emplace(name, found);
  }
}

// Once, until it is over.
void Daemon::tell_trouble(const std::string& trouble) {
  if (!trouble.empty() && trouble != finding_trouble_) spdlog::warn("guests cannot be looked for: {}", trouble);
  finding_trouble_ = trouble;
}

// -- what time asks for ---------------------------------------------------------------------------------------------

void Daemon::tick() {
  expire_rules();
  ids_.read([this](const std::string& guest, std::string_view line) {
    if (const auto offered = offer_ids_line(guest, line); !offered) spdlog::debug("IDS: {}", offered.error().message);
  });
  ids_dropped_ = ids_.dropped();
}

void Daemon::expire_rules() {
  const auto expired = store_->expire(wall_now());
  if (!expired) {
    spdlog::error("rules that have expired are still in force: {}", expired.error().message);
    return;
  }
  std::map<std::string, std::vector<StoredRule>> by_guest;
  for (const StoredRule& rule : *expired) by_guest[rule.guest].push_back(rule);
  for (auto& [name, rules] : by_guest) {
    const auto tell = [this, removed = std::move(rules)] {
      for (const StoredRule& rule : removed) events_.publish("rule-removed", rule.guest, to_json(rule));
    };
    const auto guest = find(name);
    guest ? (*guest)->apply_rules_then(tell) : tell();
  }
}

// -- the control interface ------------------------------------------------------------------------------------------

Result<Json> Daemon::status() {
  Json guests = Json::array(), problems = Json::array();
  size_t rules = 0;
  for (const auto& [name, guest] : all()) {
    const GuestStatus status = guest->status();
    guests.push_back(summary_json(name, *guest, status));
    rules += status.file_rules + status.run_time_rules;
    if (status.state == GuestStatus::State::kFailed) problems.push_back(fmt::format("{}: {}", name, status.problem));
    if (status.state == GuestStatus::State::kUnreadable)
      problems.push_back(fmt::format("{}: its kernel is not found; its flows meet the default", name));
  }
  HW_TRY(const Store::Totals totals, store_->totals(std::chrono::floor<std::chrono::days>(wall_now())));
  const std::chrono::duration<double> uptime = std::chrono::steady_clock::now() - started_;
  return Json{{"version", HYPERWARD_VERSION},
              {"started", to_rfc3339(started_at_)},
              {"uptime_s", uptime.count()},
              {"guests", std::move(guests)},
              {"health", {{"state", problems.empty() ? "ok" : "degraded"}, {"problems", problems}}},
              {"rules", rules},
              {"alerts_today", totals.alerts},
              {"responses_in_force", totals.responses_in_force},
              {"last_event", events_.last_id()}};
}

Result<Json> Daemon::guests() {
  Json array = Json::array();
  for (const auto& [name, guest] : all()) array.push_back(guest_json(name, *guest));
  return array;
}

Result<Json> Daemon::guest(std::string_view name) {
  HW_TRY(const auto guest, find(name));
  return guest_json(guest->name(), *guest);
}

// From the pinned table, beside the guest's thread: a long list holds up no packet.
Result<Json> Daemon::flows(std::string_view name, bool denied_only, size_t limit) {
  HW_TRY(const auto guest, find(name));
  Json array = Json::array();
  const std::string pins = guest->status().pins;
  if (pins.empty()) return array;
  HW_TRY(const GuardState state, load_state(guest->name()));
  HW_TRY(const auto table, datapath::FlowReader::open(pins));
  HW_OK(table.for_each_flow([&](const datapath::FlowRecord& record) {
    if (!denied_only || record.verdict() == datapath::Verdict::kDeny) array.push_back(flow_json(state, record));
    return array.size() < limit;
  }));
  return array;
}

Result<Json> Daemon::rules(std::string_view name) {
  HW_TRY(const auto guest, find(name));
  HW_TRY(const auto file, guest->file_rules());
  HW_TRY(Json run_time, array_of(store_->rules(name)));
  Json lines = Json::array();
  for (const policy::Rule& rule : file.rules)
    lines.push_back({{"line", rule.line}, {"text", guest::printable(rule.text)}});
  return Json{{"default", policy::to_string(file.default_verdict)},
              {"run_time", std::move(run_time)},
              {"file", std::move(lines)}};
}

template <typename Row>
Result<Json> Daemon::put_in_force(std::string event, const Row& changed) {
  const auto guest = find(changed.guest);
  const auto applied = guest ? (*guest)->apply_rules() : Result<void>();  // it may outlive its guest's configuration
  events_.publish(std::move(event), changed.guest, to_json(changed));
  HW_OK(applied);
  return to_json(changed);
}

Result<StoredRule> Daemon::rule_of(std::string_view guest, int64_t id) const {
  HW_TRY(StoredRule rule, store_->rule(id));
  if (rule.guest != guest)
    return fail(Code::kNotFound, "'{}' has no rule {}; it is a rule of '{}'", guest::printable(guest), id, rule.guest);
  return rule;
}

Result<Json> Daemon::add_rule(std::string_view name, std::string_view text) {
  HW_TRY(const auto guest, find(name));
  HW_TRY(const policy::RunTimeRule rule, guest->compile(text));
  const WallTime now = wall_now();
  StoredRule stored{.guest = guest->name(), .text = rule.rule.text, .created = now};
  if (rule.duration) stored.expires = now + *rule.duration;
  HW_TRY(stored, store_->add_rule(std::move(stored)));
  return put_in_force("rule-added", stored);
}

Result<Json> Daemon::replace_rule(std::string_view name, int64_t id, std::string_view text) {
  HW_TRY(const auto guest, find(name));
  HW_TRY(const policy::RunTimeRule rule, guest->compile(text));
  HW_OK(rule_of(name, id));
  std::optional<WallTime> expires;
  if (rule.duration) expires = wall_now() + *rule.duration;
  HW_TRY(const StoredRule stored, store_->replace_rule(id, rule.rule.text, expires));
  return put_in_force("rule-replaced", stored);
}

Result<Json> Daemon::remove_rule(std::string_view name, int64_t id) {
  HW_OK(rule_of(name, id));
  HW_TRY(const StoredRule removed, store_->remove_rule(id));
  return put_in_force("rule-removed", removed);
}

Result<Json> Daemon::modules(std::string_view name) {
  HW_TRY(const auto guest, find(name));
  return array_of(guest->modules());
}

Result<Json> Daemon::load_module(std::string_view name, const ModuleConfig& module) {
  HW_TRY(const auto guest, find(name));
  HW_TRY(const GuestModule loaded, guest->load_module(module));
  return to_json(loaded);
}

Result<Json> Daemon::swap_module(std::string_view name, std::string_view module, const Json& changes) {
  HW_TRY(const auto guest, find(name));
  HW_TRY(const GuestModule swapped, guest->swap_module(std::string(module), changes));
  return to_json(swapped);
}

Result<Json> Daemon::unload_module(std::string_view name, std::string_view module) {
  HW_TRY(const auto guest, find(name));
  HW_TRY(const GuestModule unloaded, guest->unload_module(std::string(module)));
  return to_json(unloaded);
}

Result<Json> Daemon::alerts(const Query& query) {
  return array_of(store_->alerts(query));
}

Result<Json> Daemon::responses(const Query& query) {
  return array_of(store_->responses(query));
}

Result<Json> Daemon::response(int64_t id) {
  HW_TRY(const StoredResponse response, store_->response(id));
  HW_TRY(const StoredAlert alert, store_->alert(response.alert));
  Json value = to_json(response);
  value["answered"] = to_json(alert);
  return value;
}

Result<Json> Daemon::undo(int64_t id) {
  HW_TRY(const StoredResponse undone, store_->undo(id, wall_now()));
  return put_in_force("response-undone", undone);
}

Result<std::optional<IdsOffer::Answer>> Daemon::offer_ids_line(std::string_view name, std::string_view line) {
  auto alert = detect::parse_ids_line(line);
  ++(!alert ? ids_mistakes_ : *alert ? ids_alerts_ : ids_others_);
  if (!alert) return std::unexpected(alert.error());
  if (!*alert) return std::nullopt;

  const auto offer = std::make_shared<IdsOffer>(**std::move(alert));
  IdsOffer::Answer answer = offer->answer();
  if (name.empty()) {
    for (const auto& [_, guest] : all()) guest->offer(offer);
  } else {
    HW_TRY(const auto guest, find(name));
    guest->offer(offer);
  }
  return answer;
}

Result<Json> Daemon::take_ids_line(std::string_view name, std::string_view line) {
  Json told{{"alert", nullptr}, {"response", nullptr}};
  HW_TRY(auto answer, offer_ids_line(name, line));
  if (!answer) return told;
  if (answer->wait_for(access_.patience) != std::future_status::ready)
    return fail(Code::kSystem, "not all guests have looked at the alert within {} ms, and none has taken it",
                access_.patience.count());
  const std::optional<IdsOffer::Taken> taken = answer->get();
  if (!taken) return told;
  told["alert"] = to_json(taken->alert);
  if (taken->response) told["response"] = to_json(*taken->response);
  return told;
}

std::vector<GuestFile> Daemon::wanted_by(const DaemonConfig& config) const {
  std::vector<GuestFile> wanted = config.guests;
  if (!config.find) return wanted;
  for (const auto& [name, found] : found_)
    if (!has_file(config, name, found.tap)) wanted.push_back(config.find->guest(name, found.pid, found.tap));
  return wanted;
}

// What would keep the file's modules from being in force: those that are new, or other than now, are loaded once.
Result<void> Daemon::try_modules(const GuestFile& file) const {
  const std::string name = file.config.label();
  HW_TRY(const std::vector<StoredModule> run_time, store_->modules(name));
  HW_OK(modules_of(file.config, run_time));
  std::vector<ModuleConfig> before;
  if (const auto known = find(name)) before = (*known)->config().modules;
  for (const ModuleConfig& module : file.config.modules)
    if (std::ranges::find(before, module) == before.end()) HW_OK(Guard::try_module(module, name));
  return {};
}

// Everything is read and checked first. What cannot change while a guest is guarded (its tap, its process) makes it a
// new guest, whose programs take over the flows that they know.
Result<Json> Daemon::reload() {
  const std::lock_guard reloading(reloading_);
  HW_TRY(DaemonConfig config, load_daemon_config(config_file_));
  if (config.socket != config_.socket || config.read_socket != config_.read_socket ||
      config.database != config_.database || config.ids != config_.ids)
    return fail(Code::kInvalid, "{}: sockets, the database and [[ids]] take a restart to change",
                config_file_.string());

  const std::vector<GuestFile> wanted = wanted_by(config);
  for (const GuestFile& file : wanted) HW_OK(try_modules(file));
  std::vector<const GuestFile*> anew;
  Guests gone = all();
  for (const GuestFile& file : wanted) {
    if (auto known = gone.extract(file.config.label())) {
      const auto adopted = known.mapped()->adopt(file);
      if (adopted) continue;
      spdlog::info("{}: guarded anew: {}", file.config.label(), adopted.error().message);
      gone.insert(std::move(known));
    }
    anew.push_back(&file);
  }
  spdlog::set_level(config.log_level);
  {
    const std::unique_lock lock(mutex_);
    for (const auto& [name, _] : gone) guests_.erase(name);
    std::erase_if(found_,
                  [&](const auto& known) { return !config.find || has_file(config, known.first, known.second.tap); });
    config_ = std::move(config);
  }
  // Two guards of one tap would be in each other's way.
  for (const auto& [_, guest] : gone) guest->stop();
  for (const GuestFile* file : anew) guard(*file);
  HW_TRY(const Json now, status());
  events_.publish("reloaded", "", {{"guests", now["guests"].size()}, {"rules", now["rules"]}});
  return Json{{"guests", now["guests"].size()}, {"rules", now["rules"]}};
}

Result<std::string> Daemon::metrics() {
  using enum Metrics::Type;
  std::vector<std::pair<std::string, GuestStatus>> guests;
  for (const auto& [name, guest] : all()) guests.emplace_back(name, guest->status());

  Metrics metrics;
  const auto each = [&](std::string_view family, Metrics::Type type, std::string_view help, auto&& value) {
    metrics.family(family, type, help);
    for (const auto& [name, status] : guests) metrics.sample({{"guest", name}}, uint64_t{value(status)});
  };
  metrics.family("hyperward_build_info", kGauge, "1, with the version.");
  metrics.sample({{"version", HYPERWARD_VERSION}}, uint64_t{1});
  metrics.family("hyperward_guest_state", kGauge, "1 for the state that the guest is in.");
  for (const auto& [name, status] : guests)
    for (const auto state : {GuestStatus::State::kAbsent, GuestStatus::State::kFailed, GuestStatus::State::kUnreadable,
                             GuestStatus::State::kGuarded})
      metrics.sample({{"guest", name}, {"state", to_string(state)}}, uint64_t{state == status.state});
  each("hyperward_guest_flows", kGauge, "Flows in the guest's flow map.", [](const auto& s) { return s.flows; });
  metrics.family("hyperward_guest_rules", kGauge, "Rules in force, by where they come from.");
  for (const auto& [name, status] : guests) {
    metrics.sample({{"guest", name}, {"source", "file"}}, uint64_t{status.file_rules});
    metrics.sample({{"guest", name}, {"source", "run_time"}}, uint64_t{status.run_time_rules});
  }
  metrics.family("hyperward_frames_total", kCounter, "Frames, by what happened to them.");
  for (const auto& [name, status] : guests)
    for (unsigned i = 0; i < HW_COUNTERS; ++i) {
      const auto counter = static_cast<hw_counter>(i);
      metrics.sample({{"guest", name}, {"result", datapath::to_string(counter)}}, status.counters[counter]);
    }
  each("hyperward_hold_lost_total", kCounter, "Frames that could not be queued for judgement.",
       [](const auto& s) { return s.counters.hold_lost; });
  each("hyperward_flows_judged_total", kCounter, "Flows judged.", [](const auto& s) { return s.judged; });
  each("hyperward_flows_unreadable_total", kCounter, "Flows that met the default while the guest could not be read.",
       [](const auto& s) { return s.unreadable_flows; });
  each("hyperward_guest_modules", kGauge, "Modules that judge.", [](const auto& s) { return s.modules.size(); });
  each("hyperward_module_defaults_total", kCounter, "Frames that met the default because a module did not say.",
       [](const auto& s) { return s.module_faults; });
  const auto each_module = [&](std::string_view family, Metrics::Type type, std::string_view help, auto&& value) {
    metrics.family(family, type, help);
    for (const auto& [name, status] : guests)
      for (const Guard::GuardedModule& module : status.modules)
        metrics.sample({{"guest", name}, {"module", module.config.name}}, uint64_t{value(module.status)});
  };
  each_module("hyperward_module_asked_total", kCounter, "Questions to the module, since it was loaded.",
              [](const auto& s) { return s.asked; });
  each_module("hyperward_module_denied_total", kCounter, "Answers that said deny.",
              [](const auto& s) { return s.denied; });
  each_module("hyperward_module_faults_total", kCounter, "Questions that got no answer, or nonsense.",
              [](const auto& s) { return s.faults; });
  each_module("hyperward_module_restarts_total", kCounter, "Restarts of the module's process.",
              [](const auto& s) { return s.restarts; });
  each_module("hyperward_module_running", kGauge, "0 while the module's process is down.",
              [](const auto& s) { return s.running; });
  metrics.family("hyperward_module_events_total", kCounter, "What the module counts itself, by its own names.");
  for (const auto& [name, status] : guests)
    for (const Guard::GuardedModule& module : status.modules)
      for (const filter::ModuleCounter& counter : module.status.counters)
        metrics.sample({{"guest", name}, {"module", module.config.name}, {"counter", counter.name}}, counter.value);
  each("hyperward_detector_accounts", kGauge, "Owners that the detectors keep an account of.",
       [](const auto& s) { return s.detector_accounts; });
  each("hyperward_detector_bytes", kGauge, "Memory of these accounts.", [](const auto& s) { return s.detector_bytes; });
  metrics.family("hyperward_findings_total", kCounter, "Findings of detectors and IDSs, by kind.");
  for (const auto& [name, status] : guests)
    for (size_t kind = 0; kind < detect::kKinds; ++kind)
      metrics.sample({{"guest", name}, {"kind", detect::to_string(static_cast<detect::Kind>(kind))}},
                     status.findings[kind]);
  each("hyperward_findings_dropped_total", kCounter, "Findings beyond what is kept at once.",
       [](const auto& s) { return s.findings_overflowed; });
  each("hyperward_responses_total", kCounter, "Responses, those of learning mode too.",
       [](const auto& s) { return s.responses; });
  metrics.family("hyperward_ids_lines_total", kCounter, "Lines of IDSs, by what they were.");
  metrics.sample({{"result", "alert"}}, ids_alerts_.load());
  metrics.sample({{"result", "invalid"}}, ids_mistakes_.load());
  metrics.sample({{"result", "other"}}, ids_others_.load());
  metrics.sample({{"result", "dropped"}}, ids_dropped_.load());
  return metrics.text();
}

}  // namespace hyperward::daemon
