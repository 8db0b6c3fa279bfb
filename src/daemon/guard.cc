#include "daemon/guard.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
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
constexpr int kFramesPerTurn = 256;  // then signals and the tick get their turn

Result<std::unique_ptr<guest::Guest>> attach_guest(const vm::Qemu& qemu, Access access) {
  HW_TRY(auto memory, open_memory(qemu, access));
  return guest::Guest::attach(std::move(memory));
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

Result<std::unique_ptr<Guard>> Guard::start(const std::filesystem::path& config_file) {
  HW_TRY(Config config, load_config(config_file));
  HW_TRY(std::string rules_text, read_file(config.rules, policy::kTextMaxBytes));
  HW_TRY(policy::RuleSet rules, load_rules(config.rules, names_of(config)));
  HW_TRY(vm::Qemu qemu, find_qemu(config.guest));

  // A guest that runs can be read before its first frame is judged; one that boots will be read later.
  auto guest = attach_guest(qemu, config.guest.access);
  if (!guest && guest.error().code != Code::kNotFound && guest.error().code != Code::kInconsistent)
    return std::unexpected(std::move(guest).error());

  const uint32_t generation = first_generation();
  datapath::Options options;
  options.tap = config.tap;
  options.default_verdict = config.default_allow ? datapath::Verdict::kAllow : datapath::Verdict::kDeny;
  options.max_flows = config.max_flows;
  options.generation = generation;
  HW_TRY(datapath::Datapath path, datapath::Datapath::attach(options));
  std::unique_ptr<Guard> guard(new Guard(std::filesystem::absolute(config_file), std::move(config), std::move(qemu),
                                         std::move(rules), std::move(rules_text), std::move(path)));
  guard->generation_ = generation;
  if (guest) {
    guard->guest_ = *std::move(guest);
    spdlog::info("{}: guest runs Linux {}", guard->config_.label(), guard->guest_->kernel().release());
  } else {
    spdlog::warn("{}: the guest cannot be read yet ({})", guard->config_.label(), guest.error().message);
  }
  if (guard->path_.took_over()) HW_OK(guard->judge_all_again());
  HW_OK(guard->watch());
  guard->save();
  return guard;
}

Guard::Guard(std::filesystem::path config_file, Config config, vm::Qemu qemu, policy::RuleSet rules,
             std::string rules_text, datapath::Datapath path)
    : config_file_(std::move(config_file)),
      config_(std::move(config)),
      qemu_(std::move(qemu)),
      rules_(std::move(rules)),
      rules_text_(std::move(rules_text)),
      generation_(0),
      path_(std::move(path)) {}

Result<void> Guard::watch() {
  sigset_t wanted;
  sigemptyset(&wanted);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&wanted, signal);
  if (::sigprocmask(SIG_BLOCK, &wanted, nullptr) != 0) return fail_errno(errno, "block signals");
  signals_ = Fd(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_.valid()) return fail_errno(errno, "wait for signals");

  timer_ = Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  const timespec beat{.tv_sec = 0, .tv_nsec = std::chrono::nanoseconds(datapath::kBeat).count()};
  const itimerspec every_beat{.it_interval = beat, .it_value = beat};
  if (!timer_.valid() || ::timerfd_settime(timer_.get(), 0, &every_beat, nullptr) != 0)
    return fail_errno(errno, "set a timer");

  guest_process_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, qemu_.pid, 0)));
  if (!guest_process_.valid()) return fail_errno(errno, fmt::format("watch QEMU process {}", qemu_.pid));

  poll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!poll_.valid()) return fail_errno(errno, "wait for events");
  for (const int fd : {path_.hold_fd(), signals_.get(), timer_.get(), guest_process_.get()}) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    if (::epoll_ctl(poll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return fail_errno(errno, "wait for events");
  }
  return {};
}

Result<void> Guard::run() {
  spdlog::info("{}: guarding {} with {} rules", config_.label(), config_.tap, rules_.size());
  for (bool going = true; going;) {
    std::array<epoll_event, 4> events;
    const int ready = ::epoll_wait(poll_.get(), events.data(), events.size(), -1);
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return fail_errno(errno, "wait for events");
    for (int i = 0; i < ready && going; ++i) {
      HW_TRY(going, handle(events[static_cast<size_t>(i)].data.fd));
    }
  }
  path_.retire();
  spdlog::info("{}: {} stays guarded: known flows go on, new ones are {}; `hyperward detach {}` removes the guard",
               config_.label(), config_.tap, config_.default_allow ? "allowed" : "denied", config_.label());
  return {};
}

Result<bool> Guard::handle(int fd) {
  if (fd == path_.hold_fd()) {
    HW_OK(judge_held());
  } else if (fd == timer_.get()) {
    uint64_t expirations = 0;
    if (::read(fd, &expirations, sizeof(expirations)) == sizeof(expirations)) tick();
  } else if (fd == signals_.get()) {
    signalfd_siginfo signal{};
    if (::read(fd, &signal, sizeof(signal)) != sizeof(signal)) return true;
    if (signal.ssi_signo != SIGHUP) return false;
    reload();
  } else if (fd == guest_process_.get()) {
    spdlog::info("{}: QEMU process {} has ended", config_.label(), qemu_.pid);
    return false;
  }
  return true;
}

Result<void> Guard::judge_held() {
  for (int frame = 0; frame < kFramesPerTurn; ++frame) {
    HW_TRY(const auto held, path_.next());
    if (!held) return {};
    HW_OK(judge(*held));
  }
  return {};
}

Result<void> Guard::judge(const datapath::Held& held) {
  filter::Judgement judgement;
  if (held.reason == datapath::Reason::kRulesChanged) {
    judgement = judge_again(rules_, held.key, held.direction, held.known->owner);
  } else {
    if (guest_ == nullptr && rules_.needs_owner()) return meet_default(held);
    judgement = filter::judge(rules_, guest_.get(), held.key.protocol, held.key.source, held.key.destination,
                              began(held.direction));
  }
  log(judgement);

  const datapath::Judgement stored = remembered(judgement);
  // Memory that contradicted itself is no ground for a lasting verdict: the next packet asks again.
  const bool lasting = judgement.owner.reason != guest::Reason::kInconsistent;
  if (lasting) HW_OK(path_.store(held, stored));
  return stored.verdict == datapath::Verdict::kAllow ? path_.reinject(held) : path_.drop(held);
}

// Nobody can say whose this flow is, and the rules ask. Nothing is stored: the next packet tries again.
Result<void> Guard::meet_default(const datapath::Held& held) {
  if (unreadable_flows_++ == 0) {
    spdlog::warn("{}: the guest cannot be read; its flows are {} by default", config_.label(),
                 config_.default_allow ? "allowed" : "denied");
  }
  return config_.default_allow ? path_.reinject(held) : path_.drop(held);
}

datapath::Judgement Guard::remembered(const filter::Judgement& judgement) const {
  return {.verdict = to_datapath(judgement.decision.verdict),
          .direction = to_datapath(judgement.flow.direction),
          .generation = generation_,
          .owner = pack(judgement.owner, judgement.decision.rule)};
}

void Guard::log(const filter::Judgement& judgement) const {
  const auto describe = [&] {
    return fmt::format("{} {} {} -> {} from {}", policy::to_string(judgement.flow.direction),
                       to_string(judgement.flow.protocol), to_string(judgement.flow.local),
                       to_string(judgement.flow.remote), guest::to_string(judgement.owner));
  };
  for (const auto& audited : judgement.decision.audited())
    spdlog::info("{}: audit, {} would {}: {}", config_.label(), filter::name_of(audited.line),
                 policy::to_string(audited.verdict), describe());
  if (judgement.decision.log)
    spdlog::info("{}: {} by {}: {}", config_.label(), policy::to_string(judgement.decision.verdict),
                 filter::name_of(judgement.decision.rule), describe());
}

void Guard::reload() {
  auto text = read_file(config_.rules, policy::kTextMaxBytes);
  auto rules = load_rules(config_.rules, names_of(config_));
  if (!text || !rules) {
    spdlog::error("{}: the rules stay as they are: {}", config_.label(),
                  text ? rules.error().message : text.error().message);
    return;
  }
  rules_ = filter::RuleChain(*std::move(rules));
  rules_text_ = *std::move(text);
  // From here on no packet passes by the old rules: its flow is held and judged again. Judging them all at once
  // spares them the way through the hold.
  path_.set_generation(++generation_);
  if (const auto judged = judge_all_again(); !judged) spdlog::warn("{}: {}", config_.label(), judged.error().message);
  save();
  spdlog::info("{}: {} rules are in force", config_.label(), rules_.size());
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

void Guard::tick() {
  path_.beat();
  if (const auto swept = path_.sweep(std::chrono::steady_clock::now(), kFlowsSweptPerTick); !swept)
    spdlog::warn("{}: {}", config_.label(), swept.error().message);
  if (ticks_++ % kTicksPerLook == 0) look_after_guest();
}

// A reboot moves the kernel to other addresses; the guest is then found anew, beside the frames that wait.
void Guard::look_after_guest() {
  if (guest_ != nullptr) {
    if (guest_->kernel().is_running()) return;
    spdlog::warn("{}: the guest's kernel has gone; looking for it again", config_.label());
    guest_.reset();
  }
  if (!attaching_.valid()) {
    attaching_ = std::async(std::launch::async, attach_guest, qemu_, config_.guest.access);
    return;
  }
  if (attaching_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return;
  Attached attached = attaching_.get();
  if (!attached) {
    spdlog::debug("{}: {}", config_.label(), attached.error().message);
    return;
  }
  guest_ = *std::move(attached);
  spdlog::info("{}: guest runs Linux {}; {} flows met the default before", config_.label(), guest_->kernel().release(),
               std::exchange(unreadable_flows_, 0));
}

void Guard::save() const {
  const GuardState state{.guest = config_.label(),
                         .tap = config_.tap,
                         .pins = path_.pins(),
                         .config = config_file_.string(),
                         .rules = rules_text_,
                         .generation = generation_,
                         .pid = ::getpid()};
  if (const auto saved = save_state(state); !saved) spdlog::warn("{}: {}", config_.label(), saved.error().message);
}

}  // namespace hyperward::daemon
