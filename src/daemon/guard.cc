#include "daemon/guard.h"

#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
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

// The verdict of other rules about an owner that is known already.
filter::Judgement judge_again(const filter::RuleChain& rules, const packet::FlowKey& key, datapath::Direction direction,
                              const hw_owner& packed) {
  filter::Judgement judgement;
  judgement.owner = unpack(packed);
  judgement.flow = {
      .direction = direction == datapath::Direction::kIn ? policy::Direction::kIn : policy::Direction::kOut,
      .protocol = key.protocol,
      .local = key.source,
      .remote = key.destination};
  judgement.decision = rules.decide(judgement.flow, filter::subject_of(judgement.owner));
  return judgement;
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

  const uint32_t generation = first_generation();
  datapath::Options options;
  options.tap = config.tap;
  options.default_verdict = default_of(config);
  options.max_flows = config.max_flows;
  options.generation = generation;
  options.pin_root = setup.access.pin_root;
  HW_TRY(datapath::Datapath path, datapath::Datapath::attach(options));
  std::unique_ptr<Guard> guard(
      new Guard(std::move(setup), std::move(qemu), std::move(rules), std::move(path), generation));
  const std::string label = guard->config().label();
  for (const auto& skipped : guard->rules_.skipped())
    spdlog::warn("{}: rule {} is not in force: {}", label, skipped.id, skipped.mistake.message);
  if (guest) {
    guard->guest_ = *std::move(guest);
    spdlog::info("{}: guest runs Linux {}", label, guard->guest_->kernel().release());
  } else {
    spdlog::warn("{}: the guest cannot be read yet ({})", label, guest.error().message);
  }
  if (guard->listener_ != nullptr) guard->listener_->readable(guard->guest_ != nullptr);
  if (guard->path_.took_over()) HW_OK(guard->take_over_flows());
  HW_OK(guard->note_boot());
  HW_OK(guard->watch());
  guard->save();
  spdlog::info("{}: guarding {} with {} rules", label, guard->config().tap, guard->rules_.size());
  return guard;
}

Guard::Guard(Setup setup, vm::Qemu qemu, policy::RuleSet rules, datapath::Datapath path, uint32_t generation)
    : file_(std::move(setup.file)),
      qemu_(std::move(qemu)),
      access_(std::move(setup.access)),
      listener_(setup.listener),
      run_time_(std::move(setup.run_time)),
      rules_(std::move(rules), run_time_, names_of(config())),
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
  for (const int fd : {path_.hold_fd(), timer_.get(), guest_process_.get()}) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    if (::epoll_ctl(poll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return fail_errno(errno, "wait for events");
  }
  return {};
}

Result<bool> Guard::turn(std::chrono::milliseconds patience) {
  std::array<epoll_event, 3> events;
  const int ready = ::epoll_wait(poll_.get(), events.data(), events.size(), static_cast<int>(patience.count()));
  if (ready < 0 && errno != EINTR) return fail_errno(errno, "wait for events");
  for (int i = 0; i < ready; ++i) {
    HW_TRY(const bool goes_on, handle(events[static_cast<size_t>(i)].data.fd));
    if (!goes_on) return false;
  }
  return true;
}

Result<bool> Guard::handle(int fd) {
  if (fd == path_.hold_fd()) {
    HW_OK(judge_held());
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

Result<void> Guard::judge(const datapath::Held& held) {
  filter::Judgement judgement;
  if (held.reason == datapath::Reason::kRulesChanged) {
    judgement = judge_again(rules_, held.key, held.direction, held.known->owner);
  } else {
    if (guest_ == nullptr && rules_.needs_readable_guest()) return meet_default(held);
    judgement = filter::judge(rules_, guest_.get(), held.key.protocol, held.key.source, held.key.destination,
                              began(held.direction));
  }
  log(judgement);
  if (listener_ != nullptr && held.reason != datapath::Reason::kRulesChanged)
    interrupted_ = listener_->judged(held.key, judgement);

  const datapath::Judgement stored = remembered(judgement);
  // Memory that contradicted itself is no ground for a lasting verdict: the next packet asks again.
  const bool lasting = judgement.owner.reason != guest::Reason::kInconsistent;
  if (lasting) HW_OK(path_.store(held, stored));
  return stored.verdict == datapath::Verdict::kAllow ? path_.reinject(held) : path_.drop(held);
}

// Nobody can say whose this flow is, and the rules ask. Nothing is stored: the next packet tries again.
Result<void> Guard::meet_default(const datapath::Held& held) {
  ++unreadable_flows_;
  if (!std::exchange(told_unreadable_, true)) {
    spdlog::warn("{}: the guest cannot be read; its flows are {} by default", config().label(),
                 config().default_allow ? "allowed" : "denied");
  }
  return config().default_allow ? path_.reinject(held) : path_.drop(held);
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
    spdlog::info("{}: audit, {} would {}: {}", config().label(), filter::name_of(audited.line),
                 policy::to_string(audited.verdict), describe());
  if (judgement.decision.log)
    spdlog::info("{}: {} by {}: {}", config().label(), policy::to_string(judgement.decision.verdict),
                 filter::name_of(judgement.decision.rule), describe());
}

Result<void> Guard::adopt(GuestFile file) {
  const Config &before = config(), &after = file.config;
  if (after.guest != before.guest || after.tap != before.tap || after.max_flows != before.max_flows)
    return fail(Code::kInvalid, "{}: the guest, its tap and max_flows cannot change while it is guarded",
                before.label());
  HW_TRY(policy::RuleSet rules, file.compile());
  file_ = std::move(file);
  path_.set_default_verdict(default_of(config()));
  return put_in_force(filter::RuleChain(std::move(rules), run_time_, names_of(config())));
}

Result<void> Guard::set_run_time(std::span<const filter::StoredText> rules) {
  run_time_.assign(rules.begin(), rules.end());
  return put_in_force(rules_.with(run_time_, names_of(config())));
}

// From set_generation() on no packet passes by the old rules: its flow is held and judged again. Judging them all at
// once spares them the way through the hold.
Result<void> Guard::put_in_force(filter::RuleChain rules) {
  rules_ = std::move(rules);
  path_.set_generation(++generation_);
  const auto judged = judge_all_again();
  save();
  spdlog::info("{}: {} rules are in force", config().label(), rules_.size());
  return judged;
}

Result<void> Guard::judge_all_again() {
  std::vector<std::pair<packet::FlowKey, datapath::Judgement>> judgements;
  HW_OK(path_.for_each_flow([&](const datapath::FlowRecord& record) {
    if (record.flow.generation != generation_) {
      const auto judgement = judge_again(rules_, record.key, record.direction(), record.flow.owner);
      judgements.emplace_back(record.key, remembered(judgement));
    }
    return true;
  }));
  for (const auto& [key, judgement] : judgements) {
    const auto judged = path_.rejudge(key, judgement);
    if (!judged && judged.error().code != Code::kNotFound) return judged;
  }
  return {};
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
  if (guest_ == nullptr) return {};
  const uint64_t boot = guest_->kernel().boot_identity();
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
  if (guest_ != nullptr) {
    if (guest_->kernel().is_running()) return;
    spdlog::warn("{}: the guest's kernel has gone; looking for it again", config().label());
    guest_.reset();
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
  guest_ = *std::move(attached);
  if (const auto noted = note_boot(); !noted) spdlog::warn("{}: {}", config().label(), noted.error().message);
  save();
  told_unreadable_ = false;
  spdlog::info("{}: guest runs Linux {}; {} flows have met the default", config().label(), guest_->kernel().release(),
               unreadable_flows_);
  if (listener_ != nullptr) listener_->readable(true);
}

void Guard::save() const {
  std::map<uint32_t, std::string> run_time;
  for (const filter::StoredText& rule : run_time_) run_time.emplace(static_cast<uint32_t>(rule.id), rule.text);
  const GuardState state{.guest = config().label(),
                         .tap = config().tap,
                         .pins = path_.pins(),
                         .config = std::filesystem::absolute(file_.file).string(),
                         .rules = file_.rules,
                         .run_time = std::move(run_time),
                         .generation = generation_,
                         .pid = ::getpid(),
                         .machine = {.qemu = qemu_.pid, .start_time = qemu_.start_time, .boot = boot_}};
  if (const auto saved = save_state(state); !saved) spdlog::warn("{}: {}", config().label(), saved.error().message);
}

}  // namespace hyperward::daemon
