#include "filter/module_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include <spdlog/spdlog.h>

#include "filter/module_host.h"
#include "filter/recording.h"
#include "filter/spin.h"

namespace hyperward::filter {
namespace {

using namespace std::chrono_literals;

// What an event of our epoll is about.
enum Source : uint64_t { kAnswers, kProcess, kChannel, kTimer };

constexpr size_t kOutputBytes = size_t{64} * 1024;  // of a process's lines, read at a time

// That its process maps.
uint64_t ram_bytes_of(const GuestMessage& guest) {
  if (!guest.ram.ram.valid() || guest.ram.pages.valid()) return 0;
  uint64_t end = 0;
  for (const memory::Segment& segment : guest.ram.segments) end = std::max(end, segment.offset + segment.size_bytes);
  return end;
}

void drain(const Fd& counter) {
  uint64_t count = 0;
  static_cast<void>(!::read(counter.get(), &count, sizeof(count)));
}

}  // namespace

Result<std::unique_ptr<ModuleProcess>> ModuleProcess::start(ModuleProcessOptions options) {
  std::unique_ptr<ModuleProcess> module(new ModuleProcess(std::move(options)));
  HW_OK(module->open());
  HW_OK(module->spawn());
  while (module->state_ == State::kStarting) {
    pollfd waiting{module->epoll_.get(), POLLIN, 0};
    ::poll(&waiting, 1, -1);
    module->look();
    module->check_times();
    module->set_timer();
  }
  if (module->state_ == State::kRunning) return module;
  // Ended; or gone already, and then restart() was put off.
  return std::unexpected(module->why_ ? *std::move(module->why_) : Error{Code::kInvalid, module->status_.last_fault});
}

ModuleProcess::~ModuleProcess() = default;

Result<void> ModuleProcess::open() {
  if (!options_.file.empty()) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(options_.file, error))
      return fail(Code::kNotFound, "there is no file {}", options_.file.native());
    options_.file = std::filesystem::absolute(options_.file);
  }
  epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  timer_ = Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!epoll_.valid() || !timer_.valid()) return fail_errno(errno, "watch a module's process");
  watch(timer_.get(), kTimer);
  return {};
}

void ModuleProcess::watch(int fd, uint64_t what) {
  epoll_event event{.events = EPOLLIN, .data = {.u64 = what}};
  HW_CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0);
}

void ModuleProcess::signal_ourselves() const {
  constexpr uint64_t kOne = 1;
  static_cast<void>(!::write(answers_wake_.get(), &kOne, sizeof(kOne)));
}

// -- its life --------------------------------------------------------------------------------------------------

Result<void> ModuleProcess::spawn() {
  process_.reset();
  channel_.reset();
  why_.reset();
  recording_.clear();
  last_line_.clear();
  HW_TRY(auto ends, ModuleChannel::make());
  auto& [channel, inherited] = ends;
  HW_TRY(auto process, ChildProcess::spawn(options_.program, kModuleHostCommand, inherited));
  inherited = Fd();  // the process's alone: it sees when we are gone, and we when it is
  ram_bytes_ = options_.guest ? ram_bytes_of(options_.guest()) : 0;
  HW_OK(channel.send(Setup{.file = options_.file,
                           .settings = options_.settings,
                           .memory_bytes = options_.memory_bytes,
                           .ram_bytes = ram_bytes_,
                           .spin_us = options_.process_spin.count()}));
  process_.emplace(std::move(process));
  channel_.emplace(std::move(channel));
  watch(process_->pidfd(), kProcess);
  watch(channel_->fd(), kChannel);
  state_ = State::kStarting;
  since_ = Clock::now();
  set_timer();
  return {};
}

void ModuleProcess::restart() {
  ++status_.restarts;
  const auto spawned = spawn();
  if (!spawned) gone(spawned.error().message);
}

void ModuleProcess::greet() {
  auto hello = channel_->receive_hello();
  if (!hello && hello.error().code == Code::kNotFound) return;  // the process tells why
  const auto taken = hello ? take_up(*std::move(hello)) : std::unexpected(std::move(hello).error());
  if (!taken) end(taken.error());
}

Result<void> ModuleProcess::take_up(Hello hello) {
  // From now on nothing that comes from there is read.
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, channel_->fd(), nullptr);
  info_ = std::move(hello.info);
  landlock_abi_ = hello.landlock_abi;
  if (landlock_abi_ == 0 && status_.restarts == 0)
    spdlog::warn("{}: module {} could read files while it was loaded: this kernel has no Landlock", options_.label,
                 info_.name);

  HW_TRY(Fd memory, ring::make_memory(info_.frame_bytes));
  HW_TRY(Mapping mapping, Mapping::read_write(memory, ring::memory_bytes(info_.frame_bytes)));
  answers_wake_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  questions_wake_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!answers_wake_.valid() || !questions_wake_.valid()) return fail_errno(errno, "make an eventfd");
  const auto copy = [](const Fd& fd) { return Fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)); };
  HW_OK(send_guest());
  HW_OK(channel_->send(RingMessage{.frame_bytes = info_.frame_bytes,
                                   .memory = std::move(memory),
                                   .questions_wake = copy(questions_wake_),
                                   .answers_wake = copy(answers_wake_)}));
  ring_.reset();
  memory_.emplace(std::move(mapping));
  ring_.emplace(memory_->writable(), info_.frame_bytes);
  watch(answers_wake_.get(), kAnswers);
  state_ = State::kRunning;
  since_ = Clock::now();
  idle_wakes_ = 0;
  took_ = false;
  return {};
}

Result<void> ModuleProcess::send_guest() {
  const GuestMessage guest = options_.guest ? options_.guest() : GuestMessage();
  if (const uint64_t bytes = ram_bytes_of(guest); bytes > ram_bytes_)
    return fail(Code::kLimit, "the guest has {} MiB now, its process was made for {}", bytes >> 20, ram_bytes_ >> 20);
  return channel_->send(guest);
}

void ModuleProcess::guest_changed() {
  // Otherwise it is told when it has been loaded.
  if (state_ != State::kRunning) return;
  if (const auto sent = send_guest(); !sent) end(sent.error());
}

void ModuleProcess::end(Error why) {
  if (state_ == State::kEnding || state_ == State::kWaiting) return;
  process_->kill();
  state_ = State::kEnding;
  lose(why.message);
  why_ = std::move(why);
}

void ModuleProcess::gone(std::string how) {
  if (state_ == State::kRunning) take();  // what it answered before
  log_lines(true);
  if (why_) {
    how = why_->message;
  } else if (!last_line_.empty()) {
    how += fmt::format(" ({})", last_line_);
  }
  lose(how);
  const auto now = Clock::now();
  const ModuleEnd event{.why = how, .restart_in = pause_, .recording = std::move(recording_)};
  status_.last_fault = std::move(how);
  process_.reset();
  channel_.reset();
  state_ = State::kWaiting;
  restart_at_ = now + pause_;
  pause_ = pause_ == 0ms ? kFirstPause : std::min(pause_ * 2, kLongestPause);
  if (info_.name.empty()) return;  // the first start: start() tells
  const std::string recorded =
      event.recording.empty() ? "" : fmt::format("; what it had in hand is in {}", event.recording.native());
  spdlog::warn("{}: module {} has ended: {}; it starts again in {} ms{}", options_.label, info_.name, event.why,
               event.restart_in.count(), recorded);
  if (options_.ended) options_.ended(event);
}

void ModuleProcess::lose(const std::string& why) {
  if (!ring_) return;
  if (Clock::now() - since_ >= kHealthy) pause_ = 0ms;
  const size_t sent = ring_->in_hand() - ring_->not_sent();
  if (sent != 0 && !options_.recordings.empty()) {
    auto saved = record(options_.recordings, info_, options_.settings, *ring_, sent);
    if (saved) {
      recording_ = *std::move(saved);
    } else {
      spdlog::warn("{}: module {}: {}", options_.label, info_.name, saved.error().message);
    }
  }
  for (size_t i = 0; i < ring_->in_hand(); ++i) {
    ++status_.faults;
    ready_.push_back({ring_->asked(i).ticket, fail(Code::kInvalid, "module {}: {}", info_.name, why)});
  }
  ring_.reset();
}

// -- questions and answers -------------------------------------------------------------------------------------

std::optional<Module::Said> ModuleProcess::ask(uint64_t ticket, const Question& question, GuestView& view) {
  ++status_.asked;
  if (state_ != State::kRunning || ring_->full()) {
    ++status_.faults;
    return fail(Code::kLimit, "module {}: {}", info_.name,
                state_ == State::kRunning ? "it has more questions in hand than it may" : "its process does not run");
  }
  if (options_.batch_wait != 0us && ring_->not_sent() == 0) first_not_sent_ = Clock::now();
  ring_->put(ticket, question, view.boot());
  if (ring_->not_sent() >= options_.batch) send();
  return std::nullopt;
}

void ModuleProcess::send() {
  constexpr uint64_t kOne = 1;
  if (ring_->send(Clock::now())) static_cast<void>(!::write(questions_wake_.get(), &kOne, sizeof(kOne)));
}

void ModuleProcess::flush() {
  if (state_ != State::kRunning || ring_->in_hand() == 0) return;
  if (ring_->not_sent() != 0 && (options_.batch_wait == 0us || Clock::now() >= first_not_sent_ + options_.batch_wait))
    send();
  const bool sent_some = ring_->not_sent() < ring_->in_hand();
  if (sent_some && spin_until([&] { return ring_->all_answered(); }, options_.spin)) {
    signal_ourselves();
    return;
  }
  if (!ring_->fall_asleep()) signal_ourselves();
  set_timer();
}

void ModuleProcess::take() {
  if (!ring_) return;
  const size_t before = ready_.size();
  const auto taken = ring_->take(ready_);
  for (size_t i = before; i < ready_.size(); ++i)
    if (ready_[i].said->verdict == policy::Verdict::kDeny) ++status_.denied;
  took_ = took_ || ready_.size() != before;
  if (!taken) end(taken.error());
}

void ModuleProcess::collect(std::vector<Answered>& answered) {
  if (state_ == State::kRunning) take();
  look();
  check_times();
  // Who was woken for the first answer wants to be for the next.
  while (state_ == State::kRunning && ring_->not_sent() < ring_->in_hand() && !ring_->fall_asleep()) take();
  set_timer();
  std::ranges::move(ready_, std::back_inserter(answered));
  ready_.clear();
}

// Whatever our descriptors say.
void ModuleProcess::look() {
  std::array<epoll_event, 4> events{};
  const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (const epoll_event& event : std::span(events).first(static_cast<size_t>(std::max(count, 0)))) {
    switch (static_cast<Source>(event.data.u64)) {
      case kAnswers:
        drain(answers_wake_);
        if (state_ != State::kRunning) break;
        ring_->wake_up();
        take();
        idle_wakes_ = took_ ? 0 : idle_wakes_ + 1;
        took_ = false;
        if (idle_wakes_ > kIdleWakesMax) end({Code::kInvalid, "it wakes the daemon for nothing"});
        break;
      case kChannel:
        if (state_ == State::kStarting) greet();
        break;
      case kProcess:
        if (auto how = process_ ? process_->ended() : std::nullopt) gone(*std::move(how));
        break;
      case kTimer:
        drain(timer_);
        timer_at_ = Clock::time_point::max();
        break;
    }
  }
  if (process_) log_lines(false);
}

void ModuleProcess::check_times() {
  const auto now = Clock::now();
  if (state_ == State::kStarting && now - since_ > kStartDeadline)
    end({Code::kLimit, fmt::format("it was not loaded within {} s", kStartDeadline / 1s)});
  if (state_ == State::kRunning && ring_->in_hand() != 0) {
    if (ring_->not_sent() != 0 && options_.batch_wait != 0us && now >= first_not_sent_ + options_.batch_wait) send();
    if (ring_->not_sent() < ring_->in_hand() && now - ring_->asked(0).sent_at > options_.deadline)
      end({Code::kLimit, fmt::format("it did not answer within {} ms", options_.deadline.count())});
  }
  if (state_ == State::kWaiting && now >= restart_at_ && !info_.name.empty()) restart();
}

// One that goes off too early costs less than to set it for each question: it is then set anew.
void ModuleProcess::set_timer() {
  auto at = Clock::time_point::max();
  if (state_ == State::kStarting) at = since_ + kStartDeadline;
  if (state_ == State::kWaiting) at = restart_at_;
  if (state_ == State::kRunning && ring_->in_hand() != 0) {
    if (ring_->not_sent() < ring_->in_hand()) at = ring_->asked(0).sent_at + options_.deadline;
    if (ring_->not_sent() != 0 && options_.batch_wait != 0us) at = std::min(at, first_not_sent_ + options_.batch_wait);
  }
  if (at >= timer_at_) return;
  timer_at_ = at;
  const auto ns = std::chrono::nanoseconds(at.time_since_epoch()) + 1us;
  itimerspec setting{};
  setting.it_value.tv_sec = ns / 1s;
  setting.it_value.tv_nsec = (ns % 1s).count();
  HW_CHECK(::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &setting, nullptr) == 0);
}

// -- what is told of it ----------------------------------------------------------------------------------------

void ModuleProcess::log_lines(bool all) {
  const auto now = Clock::now();
  if (!process_) return;
  if (now - lines_since_ >= 1s) {
    if (lines_left_out_ != 0)
      spdlog::warn("{}: module {}: {} lines left out", options_.label, info_.name, lines_left_out_);
    lines_since_ = now;
    lines_ = lines_left_out_ = 0;
  } else if (!all && lines_ >= kLinesPerSecond) {
    return;  // they wait; a full pipe loses them
  }
  for (const std::string& line : process_->lines(kOutputBytes)) {
    last_line_ = guest::printable(line);
    if (++lines_ <= kLinesPerSecond) {
      spdlog::info("{}: module {}: {}", options_.label, info_.name, last_line_);
    } else {
      ++lines_left_out_;
    }
  }
}

ModuleStatus ModuleProcess::status() const {
  ModuleStatus status = status_;
  status.running = state_ == State::kRunning;
  status.pid = status.running ? process_->pid() : 0;
  if (ring_) status.counters = ring_->counters();
  return status;
}

}  // namespace hyperward::filter
