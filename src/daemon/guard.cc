#include "daemon/guard.h"

#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <random>

#include <spdlog/spdlog.h>

#include "daemon/flow_owner.h"
#include "daemon/rules_file.h"
#include "daemon/state.h"

namespace hyperward::daemon {
namespace {

constexpr uint64_t kTicksPerLook = 10;  // the guest is looked after once a second
constexpr size_t kFlowsSweptPerTick = 8192;
constexpr int kFramesPerTurn = 256;             // then signals and the tick get their turn
constexpr unsigned kFlowsLoggedPerSecond = 50;  // a guest decides how many flows there are to log

Result<std::unique_ptr<guest::Guest>> attach_guest(const vm::Qemu& qemu, Access access,
                                                   const std::string& libvirt_uri) {
  HW_TRY(auto memory, open_memory(qemu, access, libvirt_uri));
  return guest::Guest::attach(std::move(memory));
}

datapath::Verdict default_of(const Config& config) {
  return config.default_allow ? datapath::Verdict::kAllow : datapath::Verdict::kDeny;
}

datapath::Verdict to_datapath(policy::Verdict verdict) {
  return verdict == policy::Verdict::kAllow ? datapath::Verdict::kAllow : datapath::Verdict::kDeny;
}

datapath::Direction to_datapath(policy::Direction direction) {
  return direction == policy::Direction::kIn ? datapath::Direction::kIn : datapath::Direction::kOut;
}

filter::Began began(datapath::Direction direction) {
  switch (direction) {
    case datapath::Direction::kOut: return filter::Began::kGuest;
    case datapath::Direction::kIn: return filter::Began::kWorld;
    case datapath::Direction::kUnknown: break;
  }
  return filter::Began::kNotSeen;
}

// A flow that is known, with its owner as it was found.
filter::Judgement known_before(const packet::FlowKey& key, datapath::Direction direction, const hw_owner& packed) {
  filter::Judgement judgement;
  judgement.owner = unpack(packed);
  judgement.flow = {
      .direction = direction == datapath::Direction::kIn ? policy::Direction::kIn : policy::Direction::kOut,
      .protocol = key.protocol,
      .local = key.source,
      .remote = key.destination};
  return judgement;
}

hyperward_why why(datapath::Reason reason) {
  switch (reason) {
    case datapath::Reason::kNewFlow: return HYPERWARD_NEW_FLOW;
    case datapath::Reason::kRulesChanged: return HYPERWARD_RULES_CHANGED;
    case datapath::Reason::kOwnerAged: return HYPERWARD_OWNER_AGED;
    case datapath::Reason::kExpired:
    case datapath::Reason::kBehindKept: break;
  }
  return HYPERWARD_EXPIRED;
}

hyperward_history history_of(const hw_flow& flow) {
  hyperward_history history{};
  history.size = sizeof(history);
  history.verdict = flow.verdict == HW_ALLOW ? HYPERWARD_ALLOW : HYPERWARD_DENY;
  history.created_ns = flow.created_ns;
  history.last_seen_ns = flow.last_seen_ns;
  history.judged_ns = flow.judged_ns;
  std::ranges::copy(flow.packets, history.packets);
  std::ranges::copy(flow.bytes, history.bytes);
  history.dropped = flow.dropped;
  return history;
}

filter::Question question_about(const datapath::Held& held, const filter::Judgement& judgement) {
  filter::Question question = filter::question_of(held.key, judgement.flow.direction, why(held.reason), judgement.owner,
                                                  &held.packet, held.frame());
  if (held.known) question.history = history_of(*held.known);
  return question;
}

// How many of the first that are wanted can stay where they stand in the chain; what follows is added at its end.
size_t kept_in_order(const std::vector<ModuleConfig>& before, const std::vector<ModuleConfig>& wanted) {
  size_t kept = 0, index = 0;
  for (; kept < wanted.size(); ++kept, ++index) {
    while (index < before.size() && before[index].name != wanted[kept].name) ++index;
    if (index == before.size()) break;
  }
  return kept;
}

// Starts anywhere, so that flows which an earlier guard left are never taken for judged by these rules.
uint32_t first_generation() {
  return std::random_device()();
}

}  // namespace

Result<std::unique_ptr<Guard>> Guard::start(Setup setup) {
  if (!setup.access.attach) {
    setup.access.attach = [uri = setup.access.libvirt_uri](const vm::Qemu& qemu, Access access) {
      return attach_guest(qemu, access, uri);
    };
  }
  const Config& config = setup.file.config;
  HW_TRY(policy::RuleSet rules, setup.file.compile());
  HW_TRY(vm::Qemu qemu, setup.access.find(config.guest));

  // A guest that runs can be read before its first frame is judged; one that boots will be read later.
  auto guest = setup.access.attach(qemu, config.guest.access);
  if (!guest && guest.error().code != Code::kNotFound && guest.error().code != Code::kInconsistent)
    return std::unexpected(std::move(guest).error());

  auto now = std::make_unique<GuestNow>(GuestNow{.label = config.label(), .recordings = setup.access.recordings});
  if (setup.listener != nullptr)
    now->module_ended = [listener = setup.listener](const std::string& module, const filter::ModuleEnd& end) {
      listener->module_ended(module, end);
    };
  const std::string unreadable = guest ? "" : guest.error().message;
  if (guest) now->found(*std::move(guest));
  filter::Chain chain(filter::RuleChain(std::move(rules), setup.run_time, names_of(config)));
  for (const ModuleConfig& module : setup.modules) {
    HW_TRY(auto loaded, load_module(module, *now));
    HW_OK(chain.add(module.name, std::move(loaded)));
  }

  const uint32_t generation = first_generation();
  datapath::Options options;
  options.tap = config.tap;
  options.default_verdict = default_of(config);
  options.max_flows = config.max_flows;
  options.generation = generation;
  options.pin_root = setup.access.pin_root;
  HW_TRY(datapath::Datapath path, datapath::Datapath::attach(options));
  std::unique_ptr<Guard> guard(
      new Guard(std::move(setup), std::move(qemu), std::move(now), std::move(chain), std::move(path), generation));
  const std::string label = guard->config().label();
  for (const auto& skipped : guard->rules().skipped())
    spdlog::warn("{}: rule {} is not in force: {}", label, skipped.id, skipped.mistake.message);
  if (guard->guest() != nullptr) {
    spdlog::info("{}: guest runs Linux {}", label, guard->guest()->kernel().release());
  } else {
    spdlog::warn("{}: the guest cannot be read yet ({})", label, unreadable);
  }
  if (guard->listener_ != nullptr) guard->listener_->readable(guard->guest() != nullptr);
  if (guard->path_.took_over()) HW_OK(guard->take_over_flows());
  HW_OK(guard->note_boot());
  HW_OK(guard->watch());
  guard->save();
  spdlog::info("{}: guarding {} with {} rules", label, guard->config().tap, guard->rules().size());
  return guard;
}

Guard::Guard(Setup setup, vm::Qemu qemu, std::unique_ptr<GuestNow> now, filter::Chain chain, datapath::Datapath path,
             uint32_t generation)
    : file_(std::move(setup.file)),
      qemu_(std::move(qemu)),
      access_(std::move(setup.access)),
      listener_(setup.listener),
      run_time_(std::move(setup.run_time)),
      now_(std::move(now)),
      chain_(std::move(chain)),
      modules_(std::move(setup.modules)),
      generation_(generation),
      path_(std::move(path)) {}

Guard::~Guard() {
  path_.retire();
  spdlog::info("{}: {} stays guarded: known flows go on, new ones are {}; `hyperward detach {}` removes the guard",
               config().label(), config().tap, config().default_allow ? "allowed" : "denied", config().label());
}

Result<void> Guard::watch() {
  timer_ = Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  const timespec beat{.tv_sec = 0, .tv_nsec = std::chrono::nanoseconds(datapath::kBeat).count()};
  const itimerspec every_beat{.it_interval = beat, .it_value = beat};
  if (!timer_.valid() || ::timerfd_settime(timer_.get(), 0, &every_beat, nullptr) != 0)
    return fail_errno(errno, "set a timer");

  guest_process_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, qemu_.pid, 0)));
  if (!guest_process_.valid()) return fail_errno(errno, fmt::format("watch QEMU process {}", qemu_.pid));

  poll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!poll_.valid()) return fail_errno(errno, "wait for events");
  for (const int fd : {path_.hold_fd(), timer_.get(), guest_process_.get(), chain_.fd()}) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    if (::epoll_ctl(poll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return fail_errno(errno, "wait for events");
  }
  return {};
}

Result<bool> Guard::turn(std::chrono::milliseconds patience) {
  std::array<epoll_event, 4> events;
  const int ready = ::epoll_wait(poll_.get(), events.data(), events.size(), static_cast<int>(patience.count()));
  if (ready < 0 && errno != EINTR) return fail_errno(errno, "wait for events");
  for (int i = 0; i < ready; ++i) {
    HW_TRY(const bool goes_on, handle(events[static_cast<size_t>(i)].data.fd));
    if (!goes_on) return false;
  }
  chain_.flush();
  return true;
}

Result<bool> Guard::handle(int fd) {
  if (fd == path_.hold_fd()) {
    HW_OK(judge_held());
  } else if (fd == chain_.fd()) {
    HW_OK(settle_answered());
  } else if (fd == timer_.get()) {
    uint64_t expirations = 0;
    if (::read(fd, &expirations, sizeof(expirations)) == sizeof(expirations)) tick();
  } else if (fd == guest_process_.get()) {
    spdlog::info("{}: QEMU process {} has ended", config().label(), qemu_.pid);
    return false;
  }
  return true;
}

Result<void> Guard::judge_held() {
  for (int frame = 0; frame < kFramesPerTurn; ++frame) {
    HW_TRY(const auto held, path_.next());
    if (!held) return {};
    HW_OK(judge(*held));
    if (std::exchange(interrupted_, false)) return {};
  }
  return {};
}

// `kept` is the frame's own storage, when it has waited behind another one.
Result<void> Guard::judge(const datapath::Held& held, datapath::Kept kept) {
  if (held.reason == datapath::Reason::kBehindKept) return queue_up(held);
  filter::Judgement judgement;
  if (held.reason == datapath::Reason::kRulesChanged || held.reason == datapath::Reason::kExpired) {
    judgement = known_before(held.key, held.direction, held.known->owner);
  } else {
    if (guest() == nullptr && rules().needs_readable_guest()) return meet_default(held);
    judgement =
        filter::identify(guest(), held.key.protocol, held.key.source, held.key.destination, began(held.direction));
  }
  filter::GuestView guest = view();
  const uint64_t ticket = ++last_ticket_;
  auto ruling = chain_.ask(ticket, question_about(held, judgement), guest);
  if (ruling) return settle(held, std::move(judgement), *std::move(ruling));

  if (kept == nullptr) {
    auto kept_now = path_.keep(held);
    if (!kept_now) HW_OK(meet_default_of_module(held));
    if (kept_now) kept = *std::move(kept_now);
  }
  waiting_.emplace(ticket, Waiting{std::move(kept), std::move(judgement), generation_});
  return {};
}

// An earlier frame of its flow waits for a module.
Result<void> Guard::queue_up(const datapath::Held& held) {
  auto kept = path_.keep(held);
  if (!kept) return path_.drop(held);
  behind_[held.key].push_back(*std::move(kept));
  return {};
}

// What modules in processes of their own have said meanwhile.
Result<void> Guard::settle_answered() {
  filter::GuestView guest = view();
  for (filter::Chain::Ruled& ruled : chain_.collect(guest)) {
    auto waiting = waiting_.extract(ruled.ticket);
    HW_CHECK(!waiting.empty());
    datapath::Kept kept = std::move(waiting.mapped().held);
    if (kept == nullptr) continue;  // there was no room for it
    const packet::FlowKey key = kept->key;
    const datapath::Held& held = *kept;
    if (waiting.mapped().generation != generation_) {  // other rules or modules have come since
      HW_OK(judge(held, std::move(kept)));
      if (waiting_.contains(last_ticket_)) continue;
    } else {
      HW_OK(settle(held, std::move(waiting.mapped().judgement), std::move(ruled.ruling)));
      kept.reset();
    }
    HW_OK(judge_behind(key));
  }
  return {};
}

// The frames that came behind one that has gone, until one of them has to wait itself.
Result<void> Guard::judge_behind(const packet::FlowKey& key) {
  const auto found = behind_.find(key);
  if (found == behind_.end()) return {};
  std::deque<datapath::Kept>& frames = found->second;
  while (!frames.empty()) {
    datapath::Kept frame = std::move(frames.front());
    frames.pop_front();
    HW_TRY(const bool is_to_be_judged, path_.settle(*frame));
    if (!is_to_be_judged) continue;
    const datapath::Held& held = *frame;
    HW_OK(judge(held, std::move(frame)));
    if (!frames.empty() && waiting_.contains(last_ticket_)) return {};
  }
  behind_.erase(found);
  return {};
}

Result<void> Guard::settle(const datapath::Held& held, filter::Judgement judgement, filter::Ruling ruling) {
  if (ruling.fault) return meet_default_of_module(held);
  judgement.decision = ruling.decision;
  judgement.reason = std::move(ruling.reason);
  log(judgement);
  const bool is_of_today = held.reason == datapath::Reason::kNewFlow || held.reason == datapath::Reason::kOwnerAged;
  if (listener_ != nullptr && is_of_today) interrupted_ = listener_->judged(held.key, judgement) || interrupted_;

  datapath::Judgement stored = remembered(judgement);
  if (ruling.lifetime != filter::Answer::kForever) stored.lifetime = ruling.lifetime;
  // Memory that contradicted itself is no ground for a lasting verdict: the next packet asks again.
  const bool lasting = judgement.owner.reason != guest::Reason::kInconsistent;
  if (lasting) HW_OK(path_.store(held, stored));
  return stored.verdict == datapath::Verdict::kAllow ? put_back(held) : path_.drop(held);
}

// A frame whose offload header the kernel refuses is dropped and counted: the guest wrote it, and it shall not end its
// guard.
Result<void> Guard::put_back(const datapath::Held& held) {
  auto done = path_.reinject(held);
  if (!done && done.error().code == Code::kInvalid) return {};
  return done;
}

// A module that had to be asked did not say. Nothing is stored: the next packet tries again.
Result<void> Guard::meet_default_of_module(const datapath::Held& held) {
  ++module_faults_;
  return config().default_allow ? put_back(held) : path_.drop(held);
}

// Nobody can say whose this flow is, and the rules ask. Nothing is stored: the next packet tries again.
Result<void> Guard::meet_default(const datapath::Held& held) {
  ++unreadable_flows_;
  if (!std::exchange(told_unreadable_, true)) {
    spdlog::warn("{}: the guest cannot be read; its flows are {} by default", config().label(),
                 config().default_allow ? "allowed" : "denied");
  }
  return config().default_allow ? put_back(held) : path_.drop(held);
}

datapath::Judgement Guard::remembered(const filter::Judgement& judgement) const {
  return {.verdict = to_datapath(judgement.decision.verdict),
          .direction = to_datapath(judgement.flow.direction),
          .generation = generation_,
          .owner = pack(judgement.owner, judgement.decision.rule)};
}

bool Guard::may_log() {
  const auto now = std::chrono::steady_clock::now();
  if (now - log_second_ >= std::chrono::seconds(1)) {
    if (not_logged_ > 0) spdlog::info("{}: {} more flows were not logged", config().label(), not_logged_);
    log_second_ = now;
    logged_ = not_logged_ = 0;
  }
  const bool may = logged_ < kFlowsLoggedPerSecond;
  ++(may ? logged_ : not_logged_);
  return may;
}

void Guard::log(const filter::Judgement& judgement) {
  if ((!judgement.decision.log && judgement.decision.audited().empty()) || !may_log()) return;
  const auto describe = [&] {
    return fmt::format("{} {} {} -> {} from {}", policy::to_string(judgement.flow.direction),
                       to_string(judgement.flow.protocol), to_string(judgement.flow.local),
                       to_string(judgement.flow.remote), guest::to_string(judgement.owner));
  };
  for (const auto& audited : judgement.decision.audited())
    spdlog::info("{}: audit, {} would {}: {}", config().label(), name_of(audited.line),
                 policy::to_string(audited.verdict), describe());
  if (judgement.decision.log)
    spdlog::info("{}: {} by {}: {}", config().label(), policy::to_string(judgement.decision.verdict),
                 decider(judgement), describe());
}

Result<void> Guard::adopt(GuestFile file, const std::vector<ModuleConfig>& modules) {
  const Config &before = config(), &after = file.config;
  if (after.guest != before.guest || after.tap != before.tap || after.max_flows != before.max_flows)
    return fail(Code::kInvalid, "{}: the guest, its tap and max_flows cannot change while it is guarded",
                before.label());
  HW_TRY(policy::RuleSet rules, file.compile());
  HW_TRY(LoadedModules loaded, load_others(modules));
  HW_OK(rearrange(modules, std::move(loaded)));
  file_ = std::move(file);
  path_.set_default_verdict(default_of(config()));
  return put_in_force(filter::RuleChain(std::move(rules), run_time_, names_of(config())));
}

Result<void> Guard::set_run_time(std::span<const filter::StoredText> rules) {
  run_time_.assign(rules.begin(), rules.end());
  return put_in_force(chain_.rules().with(run_time_, names_of(config())));
}

Result<void> Guard::put_in_force(filter::RuleChain rules) {
  chain_.set_rules(std::move(rules));
  const auto judged = judge_by_others();
  spdlog::info("{}: {} rules are in force", config().label(), this->rules().size());
  return judged;
}

// From set_generation() on no packet passes by the old rules or modules: its flow is held and judged again. Where the
// rules judge alone, judging all flows at once spares them the way through the hold.
Result<void> Guard::judge_by_others() {
  path_.set_generation(++generation_);
  const auto judged = judge_all_again();
  save();
  return judged;
}

Result<void> Guard::judge_all_again() {
  if (!chain_.is_rules_alone()) return {};
  std::vector<std::pair<packet::FlowKey, datapath::Judgement>> judgements;
  filter::GuestView guest = view();
  HW_OK(path_.for_each_flow([&](const datapath::FlowRecord& record) {
    if (record.flow.generation == generation_) return true;
    filter::Judgement judgement = known_before(record.key, record.direction(), record.flow.owner);
    const filter::Question question = filter::question_of(record.key, judgement.flow.direction, HYPERWARD_RULES_CHANGED,
                                                          judgement.owner, nullptr, {});
    judgement.decision = chain_.ask(++last_ticket_, question, guest)->decision;
    judgements.emplace_back(record.key, remembered(judgement));
    return true;
  }));
  for (const auto& [key, judgement] : judgements) {
    const auto judged = path_.rejudge(key, judgement);
    if (!judged && judged.error().code != Code::kNotFound) return judged;
  }
  return {};
}

Result<void> Guard::try_module(const ModuleConfig& module, std::string_view guest) {
  const GuestNow nobody{.label = std::string(guest)};
  HW_OK(load_module(module, nobody));
  return {};
}

Result<Guard::LoadedModules> Guard::load_others(const std::vector<ModuleConfig>& wanted) const {
  const size_t kept = kept_in_order(modules_, wanted);
  LoadedModules loaded;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const bool is_as_it_was = i < kept && std::ranges::find(modules_, wanted[i]) != modules_.end();
    if (is_as_it_was) continue;
    HW_TRY(loaded[wanted[i].name], load_module(wanted[i], *now_));
  }
  return loaded;
}

// Whether flows are to be judged anew. `loaded` has all that load_others() found to be other.
Result<bool> Guard::rearrange(const std::vector<ModuleConfig>& wanted, LoadedModules loaded) {
  const size_t kept = kept_in_order(modules_, wanted);
  const auto staying = std::span(wanted).first(kept);
  for (const ModuleConfig& module : modules_)
    if (std::ranges::find(staying, module.name, &ModuleConfig::name) == staying.end())
      HW_OK(chain_.remove(module.name));
  for (const ModuleConfig& module : staying)
    if (auto swapped = loaded.extract(module.name)) HW_OK(chain_.replace(module.name, std::move(swapped.mapped())));
  for (const ModuleConfig& module : std::span(wanted).subspan(kept))
    HW_OK(chain_.add(module.name, std::move(loaded[module.name])));
  const bool are_others = kept != wanted.size() || kept != modules_.size();
  modules_ = wanted;
  return are_others;
}

Result<void> Guard::set_modules(const std::vector<ModuleConfig>& wanted, const Commit& commit) {
  HW_TRY(LoadedModules loaded, load_others(wanted));
  if (commit) HW_OK(commit());
  HW_TRY(const bool are_others, rearrange(wanted, std::move(loaded)));
  if (!are_others) {
    save();
    return {};
  }
  spdlog::info("{}: {} modules are in force", config().label(), modules_.size());
  return judge_by_others();
}

Result<void> Guard::swap_module(const ModuleConfig& module, const Commit& commit) {
  const auto before = std::ranges::find(modules_, module.name, &ModuleConfig::name);
  if (before == modules_.end()) return fail(Code::kNotFound, "there is no module '{}'", module.name);
  HW_TRY(auto loaded, load_module(module, *now_));
  HW_OK(commit());
  *before = module;
  return chain_.replace(module.name, std::move(loaded));
}

std::vector<Guard::GuardedModule> Guard::modules() const {
  std::vector<GuardedModule> modules;
  for (const ModuleConfig& config : modules_) {
    const filter::Module& module = *chain_.find(config.name)->module;
    modules.push_back({config, module.info(), module.status()});
  }
  return modules;
}

std::string Guard::name_of(uint32_t rule) const {
  for (const filter::Chain::Entry& entry : chain_.modules())
    if (filter::is_of_module(rule) && entry.place == filter::place_of(rule))
      return fmt::format("module {} (code {})", entry.name, filter::code_of(rule));
  return filter::name_of(rule);
}

std::string Guard::decider(const filter::Judgement& judgement) const {
  std::string text = name_of(judgement.decision.rule);
  if (!judgement.reason.empty()) text += fmt::format(": {}", guest::printable(judgement.reason));
  return text;
}

// The table may be older than this guard. Who a flow belongs to was found out in one boot of one virtual machine; the
// guard before has noted which.
Result<void> Guard::take_over_flows() {
  const auto before = load_state(config().label());
  const bool is_same_machine =
      before && before->machine.qemu == qemu_.pid && before->machine.start_time == qemu_.start_time;
  if (!is_same_machine) return forget_flows();
  boot_ = before->machine.boot;
  return judge_all_again();
}

// Of a guest that can be read.
Result<void> Guard::note_boot() {
  if (guest() == nullptr) return {};
  const uint64_t boot = guest()->kernel().boot_identity();
  const uint64_t before = std::exchange(boot_, boot);
  if (before == 0 || before == boot) return {};
  spdlog::info("{}: the guest has booted since: its flows from before are forgotten", config().label());
  return forget_flows();
}

Result<void> Guard::forget_flows() {
  std::vector<packet::FlowKey> keys;
  HW_OK(path_.for_each_flow([&](const datapath::FlowRecord& record) {
    keys.push_back(record.key);
    return true;
  }));
  for (const packet::FlowKey& key : keys) {
    const auto forgotten = path_.forget(key);
    if (!forgotten && forgotten.error().code != Code::kNotFound) return forgotten;
  }
  return {};
}

void Guard::tick() {
  path_.beat();
  datapath::Datapath::Seen seen;
  if (listener_ != nullptr) seen = [this](const datapath::FlowRecord& flow, bool) { listener_->seen(flow); };
  if (const auto swept = path_.sweep(std::chrono::steady_clock::now(), kFlowsSweptPerTick, seen); !swept)
    spdlog::warn("{}: {}", config().label(), swept.error().message);
  if (ticks_++ % kTicksPerLook == 0) look_after_guest();
}

// A reboot moves the kernel to other addresses; the guest is then found anew, beside the frames that wait.
void Guard::look_after_guest() {
  if (guest() != nullptr) {
    if (guest()->kernel().is_running()) return;
    spdlog::warn("{}: the guest's kernel has gone; looking for it again", config().label());
    now_->guest.reset();
    chain_.guest_changed();
    if (listener_ != nullptr) listener_->readable(false);
    if (const auto forgotten = forget_flows(); !forgotten)
      spdlog::warn("{}: {}", config().label(), forgotten.error().message);
    boot_ = 0;
    save();
  }
  if (!attaching_.valid()) {
    attaching_ = std::async(std::launch::async, access_.attach, qemu_, config().guest.access);
    return;
  }
  if (attaching_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return;
  Attached attached = attaching_.get();
  if (!attached) {
    spdlog::debug("{}: {}", config().label(), attached.error().message);
    return;
  }
  now_->found(*std::move(attached));
  chain_.guest_changed();
  if (const auto noted = note_boot(); !noted) spdlog::warn("{}: {}", config().label(), noted.error().message);
  save();
  told_unreadable_ = false;
  spdlog::info("{}: guest runs Linux {}; {} flows have met the default", config().label(), guest()->kernel().release(),
               unreadable_flows_);
  if (listener_ != nullptr) listener_->readable(true);
}

void Guard::save() const {
  std::map<uint32_t, std::string> run_time;
  for (const filter::StoredText& rule : run_time_) run_time.emplace(static_cast<uint32_t>(rule.id), rule.text);
  std::map<uint32_t, std::string> modules;
  for (const filter::Chain::Entry& entry : chain_.modules()) modules.emplace(entry.place, entry.name);
  const GuardState state{.guest = config().label(),
                         .tap = config().tap,
                         .pins = path_.pins(),
                         .config = std::filesystem::absolute(file_.file).string(),
                         .rules = file_.rules,
                         .run_time = std::move(run_time),
                         .modules = std::move(modules),
                         .generation = generation_,
                         .pid = ::getpid(),
                         .machine = {.qemu = qemu_.pid, .start_time = qemu_.start_time, .boot = boot_}};
  if (const auto saved = save_state(state); !saved) spdlog::warn("{}: {}", config().label(), saved.error().message);
}

}  // namespace hyperward::daemon
