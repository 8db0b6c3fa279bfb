#include "daemon/guarded_guest.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <spdlog/spdlog.h>

#include "base/time.h"
#include "daemon/api_json.h"
#include "daemon/rules_file.h"

namespace hyperward::daemon {
namespace {

using State = GuestStatus::State;
using namespace std::chrono_literals;

constexpr auto kLookEvery = 1s;        // for a guest that does not run
constexpr auto kTickEvery = 500ms;     // of the detectors, and of what status() tells
constexpr size_t kOffersPerTurn = 64;  // each may cost a search in the guest's memory; then frames have their turn
// A guest decides how many flows there are to tell of: they shall not drive out what else happens.
constexpr double kFlowEventsBurst = 50;
constexpr auto kFlowEventsInterval = 20ms;

Error stopping() {
  return {Code::kSystem, "hyperward is ending"};
}

}  // namespace

std::string_view to_string(GuestStatus::State state) {
  switch (state) {
    case State::kAbsent: return "absent";
    case State::kFailed: return "failed";
    case State::kUnreadable: return "unreadable";
    case State::kGuarded: break;
  }
  return "guarded";
}

GuardedGuest::GuardedGuest(Setup setup, Store& store, Events& events)
    : name_(setup.file.config.label()),
      access_(std::move(setup.access)),
      store_(store),
      events_(events),
      file_(std::move(setup.file)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  HW_CHECK(wake_.valid());
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

GuardedGuest::~GuardedGuest() {
  stop();
}

void GuardedGuest::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  wake();
  thread_.join();
}

void GuardedGuest::wake() {
  ::eventfd_write(wake_.get(), 1);
}

std::string GuardedGuest::tap() const {
  const std::lock_guard lock(mutex_);
  return file_.config.tap;
}

Config GuardedGuest::config() const {
  const std::lock_guard lock(mutex_);
  return file_.config;
}

GuestStatus GuardedGuest::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

template <typename T>
T GuardedGuest::on_thread(std::function<T()> task) {
  auto packaged = std::make_shared<std::packaged_task<T()>>(std::move(task));
  std::future<T> result = packaged->get_future();
  if (!leave([packaged] { (*packaged)(); })) return std::unexpected(stopping());
  if (result.wait_for(access_.patience) != std::future_status::ready)
    return fail(Code::kSystem, "the guard of '{}' has not answered within {} ms", name_, access_.patience.count());
  return result.get();
}

bool GuardedGuest::leave(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return false;
    tasks_.push_back(std::move(task));
  }
  wake();
  return true;
}

Result<void> GuardedGuest::apply_rules() {
  return on_thread<Result<void>>([this] { return apply_rules_here(); });
}

void GuardedGuest::apply_rules_then(const std::function<void()>& then) {
  const auto apply = [this, then] {
    if (const auto applied = apply_rules_here(); !applied) spdlog::error("{}: {}", name_, applied.error().message);
    then();
  };
  if (!leave(apply)) then();
}

// A guest that does not run has its rules in the file alone.
Result<policy::RuleSet> GuardedGuest::file_rules_here() {
  if (guard_ != nullptr) return guard_->rules().file();
  return file_.compile();
}

Result<policy::RunTimeRule> GuardedGuest::compile(std::string_view text) {
  using Rule = Result<policy::RunTimeRule>;
  return on_thread<Rule>([this, text = std::string(text)]() -> Rule {
    HW_TRY(const policy::RuleSet file, file_rules_here());
    auto rule = policy::compile_rule(text, names_of(file_.config), file);
    if (rule) return *std::move(rule);
    return fail(Code::kInvalid, "{}", policy::to_string(rule.error().front(), "rule"));
  });
}

Result<GuardedGuest::FileRules> GuardedGuest::file_rules() {
  return on_thread<Result<FileRules>>([this]() -> Result<FileRules> {
    HW_TRY(const policy::RuleSet file, file_rules_here());
    return FileRules{.rules = {file.rules().begin(), file.rules().end()},
                     .default_verdict = file.default_verdict(policy::Direction::kOut)};
  });
}

Result<std::vector<GuestModule>> GuardedGuest::modules() {
  return on_thread<Result<std::vector<GuestModule>>>([this] { return modules_here(); });
}

Result<GuestModule> GuardedGuest::load_module(const ModuleConfig& module) {
  return on_thread<Result<GuestModule>>([this, module] { return load_module_here(module); });
}

Result<GuestModule> GuardedGuest::swap_module(const std::string& module, const nlohmann::json& changes) {
  return on_thread<Result<GuestModule>>([this, module, changes] { return swap_module_here(module, changes); });
}

Result<GuestModule> GuardedGuest::unload_module(const std::string& module) {
  return on_thread<Result<GuestModule>>([this, module] { return unload_module_here(module); });
}

Result<void> GuardedGuest::adopt(GuestFile file) {
  return on_thread<Result<void>>([this, file = std::move(file)]() -> Result<void> {
    HW_TRY(const std::vector<ModuleConfig> modules, modules_with(file.config));
    if (guard_ != nullptr) HW_OK(guard_->adopt(file, modules));
    // What the detectors have seen, and the responses that are not to be made again, outlast other rules.
    const bool watches_otherwise = file.config.detection != file_.config.detection;
    {
      const std::lock_guard lock(mutex_);
      file_ = file;
    }
    if (guard_ != nullptr && watches_otherwise) watch_ = make_watch();
    publish();
    return {};
  });
}

void GuardedGuest::offer(std::shared_ptr<IdsOffer> offer) {
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    if (offers_.size() == kMaxOffers) {
      ++offers_overflowed_;
      return;
    }
    offers_.push_back(std::move(offer));
  }
  wake();
}

void GuardedGuest::look_at_offers() {
  for (size_t looked_at = 0; looked_at < kOffersPerTurn; ++looked_at) {
    std::shared_ptr<IdsOffer> offer;
    {
      const std::lock_guard lock(mutex_);
      if (offers_.empty()) return;
      offer = std::move(offers_.front());
      offers_.pop_front();
    }
    take(*offer);
  }
  wake();
}

void GuardedGuest::take(IdsOffer& offer) {
  if (guard_ == nullptr || offer.is_taken()) return;
  if (!watch_->take(offer.alert(), std::chrono::steady_clock::now(), [&] { return offer.take(); })) return;
  std::optional<Taken> taken;
  for (const Case& found : watch_->take_cases()) taken = act_on(found);
  offer.answer_with(std::move(taken));
}

void GuardedGuest::run(const std::stop_token& stop) {
  ::pthread_setname_np(::pthread_self(), fmt::format("guard-{}", name_).substr(0, 15).c_str());
  auto look = std::chrono::steady_clock::now(), tick = look;
  while (!stop.stop_requested()) {
    const auto now = std::chrono::steady_clock::now();
    if (guard_ == nullptr && now >= look) {
      look_for_guest();
      look = now + kLookEvery;
    }
    if (now >= tick) {
      if (guard_ != nullptr) {
        watch_->tick(now);
        act_on_all();
      }
      publish();
      tick = now + kTickEvery;
    }
    const auto until = guard_ == nullptr ? std::min(look, tick) : tick;
    pollfd waiting[] = {{wake_.get(), POLLIN, 0}, {guard_ == nullptr ? -1 : guard_->fd(), POLLIN, 0}};
    ::poll(waiting, std::size(waiting),
           static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(until - now).count()));
    uint64_t woken = 0;
    ::eventfd_read(wake_.get(), &woken);
    if (guard_ != nullptr) turn_guard();
    run_tasks();
    look_at_offers();
  }
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    offers_.clear();
  }
  run_tasks();  // whoever still waits for one
  guard_.reset();
}

void GuardedGuest::look_for_guest() {
  auto run_time = stored_rules();
  if (!run_time) return end_guard(State::kFailed, run_time.error().message);
  auto modules = modules_with(file_.config);
  if (!modules) return end_guard(State::kFailed, modules.error().message);
  auto guard = Guard::start({.file = file_,
                             .run_time = *std::move(run_time),
                             .modules = *std::move(modules),
                             .listener = this,
                             .access = access_});
  if (!guard) {
    const bool absent = guard.error().code == Code::kNotFound;
    return end_guard(absent ? State::kAbsent : State::kFailed, guard.error().message);
  }
  guard_ = *std::move(guard);
  watch_ = make_watch();
  now_.since = wall_now();
  now_.problem.clear();
  events_.publish("guest-guarded", name_, {{"tap", file_.config.tap}, {"qemu_pid", guard_->qemu().pid}});
  publish();
}

std::unique_ptr<Watch> GuardedGuest::make_watch() {
  return std::make_unique<Watch>(
      file_.config, [this](const packet::FlowKey& key) { return guard_->path().find(key); },
      [this](Protocol protocol, const Endpoint& local, const Endpoint& remote) -> detect::FlowOwner {
        guest::Guest* const guest = guard_->guest();
        if (guest == nullptr) return {};
        // As the filter judges a flow of which it has not seen who began it.
        const bool inbound = guest->listens(protocol, local);
        return {guest->owner(protocol, local, remote), inbound ? policy::Direction::kIn : policy::Direction::kOut};
      });
}

void GuardedGuest::turn_guard() {
  const auto goes_on = guard_->turn(0ms);
  act_on_all();
  if (!goes_on) {
    end_guard(State::kFailed, goes_on.error().message);
  } else if (!*goes_on) {
    end_guard(State::kAbsent, "its virtual machine has ended");
  }
}

void GuardedGuest::run_tasks() {
  for (;;) {
    std::function<void()> task;
    {
      const std::lock_guard lock(mutex_);
      if (tasks_.empty()) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
}

Result<std::vector<filter::StoredText>> GuardedGuest::stored_rules() const {
  HW_TRY(std::vector<StoredRule> stored, store_.rules(name_));
  std::vector<filter::StoredText> rules;
  rules.reserve(stored.size());
  for (StoredRule& rule : stored) rules.push_back({rule.id, std::move(rule.text)});
  return rules;
}

Result<void> GuardedGuest::apply_rules_here() {
  if (guard_ == nullptr) return {};
  HW_TRY(const std::vector<filter::StoredText> rules, stored_rules());
  const auto applied = guard_->set_run_time(rules);
  publish();
  return applied;
}

Result<std::vector<ModuleConfig>> GuardedGuest::modules_with(const Config& config) const {
  HW_TRY(const std::vector<StoredModule> run_time, store_.modules(name_));
  return modules_of(config, run_time);
}

Result<ModuleConfig> GuardedGuest::module_of_run_time(const std::string& name) const {
  HW_TRY(const std::vector<StoredModule> run_time, store_.modules(name_));
  const auto found = std::ranges::find(run_time, name, &StoredModule::name);
  if (found != run_time.end()) {
    HW_TRY(const std::vector<ModuleConfig> module, modules_of(Config(), std::span(&*found, 1)));
    return module.front();
  }
  if (std::ranges::find(file_.config.modules, name, &ModuleConfig::name) != file_.config.modules.end())
    return fail(Code::kInvalid, "module '{}' is of the guest's file: change it there, and reload", name);
  return fail(Code::kNotFound, "'{}' has no module '{}'", name_, guest::printable(name));
}

GuestModule GuardedGuest::as_it_is(const ModuleConfig& module, bool of_file) const {
  GuestModule now{.config = module, .of_file = of_file};
  if (guard_ == nullptr) return now;
  for (Guard::GuardedModule& one : guard_->modules())
    if (one.config.name == module.name) now.loaded = {std::move(one.info), std::move(one.status)};
  return now;
}

Result<std::vector<GuestModule>> GuardedGuest::modules_here() const {
  HW_TRY(const std::vector<ModuleConfig> configs, modules_with(file_.config));
  std::vector<GuestModule> modules;
  modules.reserve(configs.size());
  for (const ModuleConfig& config : configs)
    modules.push_back(as_it_is(config, modules.size() < file_.config.modules.size()));
  return modules;
}

// A guest that does not run gets it later: whether it loads is seen now all the same.
Result<GuestModule> GuardedGuest::load_module_here(const ModuleConfig& module) {
  HW_TRY(std::vector<ModuleConfig> wanted, modules_with(file_.config));
  if (std::ranges::find(wanted, module.name, &ModuleConfig::name) != wanted.end())
    return fail(Code::kInvalid, "'{}' has a module '{}' already", name_, module.name);
  if (wanted.size() >= filter::Chain::kModulesMax)
    return fail(Code::kLimit, "'{}' has {} modules already", name_, wanted.size());
  wanted.push_back(module);
  const auto commit = [&] { return store_.add_module(stored(name_, module)); };
  if (guard_ != nullptr) {
    HW_OK(guard_->set_modules(wanted, commit));
  } else {
    HW_OK(Guard::try_module(module, name_));
    HW_OK(commit());
  }
  return told("module-loaded", as_it_is(module, false));
}

Result<GuestModule> GuardedGuest::swap_module_here(const std::string& name, const nlohmann::json& changes) {
  HW_TRY(const ModuleConfig before, module_of_run_time(name));
  auto module = module_from(changes, before);
  if (!module) return fail(Code::kInvalid, "{}", module.error().message);
  const auto commit = [&] { return store_.replace_module(stored(name_, *module)); };
  if (guard_ != nullptr) {
    HW_OK(guard_->swap_module(*module, commit));
  } else {
    HW_OK(Guard::try_module(*module, name_));
    HW_OK(commit());
  }
  return told("module-swapped", as_it_is(*module, false));
}

// Where no guard is there is nothing that it could be out of step with: the way out when one module keeps a guest from
// being guarded.
Result<GuestModule> GuardedGuest::unload_module_here(const std::string& name) {
  HW_TRY(const ModuleConfig module, module_of_run_time(name));
  GuestModule gone = as_it_is(module, false);
  const auto commit = [&] { return store_.remove_module(name_, name); };
  if (guard_ != nullptr) {
    HW_TRY(std::vector<ModuleConfig> wanted, modules_with(file_.config));
    std::erase_if(wanted, [&](const ModuleConfig& one) { return one.name == name; });
    HW_OK(guard_->set_modules(wanted, commit));
  } else {
    HW_OK(commit());
  }
  return told("module-unloaded", std::move(gone));
}

GuestModule GuardedGuest::told(std::string event, GuestModule module) {
  events_.publish(std::move(event), name_, to_json(module));
  publish();
  return module;
}

bool GuardedGuest::judged(const packet::FlowKey& key, const filter::Judgement& judgement) {
  ++now_.judged;
  const auto now = std::chrono::steady_clock::now();
  if (judgement.decision.log && flow_events_.take(now, kFlowEventsBurst, kFlowEventsInterval))
    events_.publish(judgement.decision.verdict == policy::Verdict::kDeny ? "flow-denied" : "flow-allowed", name_,
                    {{"flow", packet::to_string(key)},
                     {"rule", guard_->decider(judgement)},
                     {"owner", guest::to_string(judgement.owner)}});
  watch_->judged(key, judgement, now);
  return watch_->has_cases();
}

void GuardedGuest::seen(const datapath::FlowRecord& flow) {
  watch_->seen(flow, std::chrono::steady_clock::now());
}

void GuardedGuest::readable(bool is_readable) {
  now_.state = is_readable ? State::kGuarded : State::kUnreadable;
  events_.publish(is_readable ? "guest-readable" : "guest-unreadable", name_, nlohmann::json::object());
}

void GuardedGuest::module_ended(const std::string& module, const filter::ModuleEnd& end) {
  events_.publish(
      "module-ended", name_,
      {{"module", module},
       {"why", guest::printable(end.why)},
       {"restart_in_ms", end.restart_in.count()},
       {"recording", end.recording.empty() ? nlohmann::json(nullptr) : nlohmann::json(end.recording.string())}});
}

void GuardedGuest::act_on_all() {
  for (const Case& found : watch_->take_cases()) act_on(found);
}

// What was found is on disk before anybody is told, and a rule before it is in force: what a reader of the database
// sees has happened or is about to, never the other way round.
std::optional<GuardedGuest::Taken> GuardedGuest::act_on(const Case& found) {
  const WallTime now = wall_now();
  const detect::Plan& plan = found.plan;
  StoredAlert alert{.guest = name_,
                    .time = now,
                    .kind = std::string(detect::to_string(found.finding.kind)),
                    .summary = summary_of(found),
                    .details = details_of(found).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)};
  ++now_.findings[static_cast<size_t>(found.finding.kind)];
  if (plan.rule.empty()) return add_alert(std::move(alert), plan.why);

  const bool learning = watch_->policy().learning;
  StoredResponse response{.guest = name_,
                          .time = now,
                          .action = std::string(detect::to_string(plan.action)),
                          .rule_text = plan.rule,
                          .why = plan.why,
                          .until = now + plan.duration,
                          .state = learning ? ResponseState::kAdvised : ResponseState::kInForce};
  std::optional<StoredRule> rule;
  if (!learning) rule = StoredRule{.guest = name_, .text = plan.rule, .created = now, .expires = now + plan.duration};
  auto answered = store_.add_response(alert, std::move(response), std::move(rule));
  if (!answered) {
    spdlog::error("{}: a response is not carried out: {}", name_, answered.error().message);
    return add_alert(std::move(alert), plan.why);
  }
  ++now_.responses;
  spdlog::warn("{}: {}; {}: {}", name_, answered->alert.summary, learning ? "would add" : "adds", plan.rule);
  if (!learning)
    if (const auto applied = apply_rules_here(); !applied) spdlog::error("{}: {}", name_, applied.error().message);
  events_.publish("alert", name_, to_json(answered->alert));
  events_.publish("response", name_, to_json(answered->response));
  if (answered->rule) events_.publish("rule-added", name_, to_json(*answered->rule));
  return Taken{std::move(answered->alert), std::move(answered->response)};
}

std::optional<GuardedGuest::Taken> GuardedGuest::add_alert(StoredAlert alert, std::string_view why) {
  auto added = store_.add_alert(std::move(alert));
  if (!added) {
    spdlog::error("{}: an alert is lost: {}", name_, added.error().message);
    return std::nullopt;
  }
  spdlog::warn("{}: {}; {}", name_, added->summary, why);
  events_.publish("alert", name_, to_json(*added));
  return Taken{*std::move(added)};
}

void GuardedGuest::end_guard(GuestStatus::State state, std::string problem) {
  if (guard_ != nullptr) events_.publish("guest-gone", name_, {{"why", problem}});
  if (state == State::kFailed && now_.problem != problem) spdlog::error("{}: {}", name_, problem);
  guard_.reset();
  now_.state = state;
  now_.problem = std::move(problem);
  now_.since.reset();
  publish();
}

void GuardedGuest::publish() {
  if (guard_ != nullptr) {
    now_.qemu_pid = guard_->qemu().pid;
    now_.kernel = guard_->guest() == nullptr ? "" : guard_->guest()->kernel().release();
    now_.pins = guard_->path().pins();
    now_.file_rules = guard_->rules().file().rules().size();
    now_.run_time_rules = guard_->rules().size() - now_.file_rules;
    now_.flows = guard_->path().flow_count();
    now_.unreadable_flows = guard_->unreadable_flows();
    now_.module_faults = guard_->module_faults();
    now_.modules = guard_->modules();
    if (const auto counters = guard_->path().counters()) now_.counters = *counters;
    now_.detector_accounts = watch_->accounts();
    now_.detector_bytes = watch_->bytes();
    now_.findings_overflowed = watch_->overflowed();
  } else {
    now_.qemu_pid = 0;
    now_.kernel.clear();
    now_.flows = 0;
    now_.modules.clear();
  }
  const std::lock_guard lock(mutex_);
  status_ = now_;
  status_.findings_overflowed += offers_overflowed_;
}

}  // namespace hyperward::daemon
