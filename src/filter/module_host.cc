#include "filter/module_host.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <variant>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "base/mapping.h"
#include "filter/child_process.h"
#include "filter/loaded_module.h"
#include "filter/module_channel.h"
#include "filter/module_ring.h"
#include "filter/rules_module.h"
#include "filter/sandbox.h"
#include "filter/spin.h"

namespace hyperward::filter {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr uint64_t kOwnBytes = 128 << 20;  // beside the module's: the rings, what is known of the guest's kernel
constexpr auto kWakeInterval = 50us;       // of a sleeping daemon, while one batch is answered
constexpr auto kCountersInterval = 100ms;

// One guest at a time, as the daemon last told.
struct AttachedGuest {
  uint64_t boot = 0;
  std::unique_ptr<guest::Guest> guest;
};

Result<std::unique_ptr<guest::Guest>> attach(GuestMessage message) {
  HW_TRY(auto memory, memory::open(std::move(message.ram)));
  return guest::Guest::attach(std::move(memory));
}

class ModuleHost {
 public:
  ModuleHost(ModuleChannel channel, std::unique_ptr<LoadedModule> module, std::chrono::microseconds spin)
      : channel_(std::move(channel)), module_(std::move(module)), spin_(spin) {}

  Result<void> serve() {
    for (;;) {
      if (answer_all() && spin_until([&] { return ring_->questions_wait(); }, spin_)) continue;
      show_counters();
      HW_TRY(const bool going, sleep());
      if (!going) return {};
    }
  }

 private:
  // True: there was something to answer.
  bool answer_all() {
    if (!ring_) return false;
    bool answered = false;
    auto next_wake = Clock::now() + kWakeInterval;
    while (const auto asked = ring_->next()) {
      ring_->answer(asked->ticket, judge(*asked));
      answered = true;
      if (const auto now = Clock::now(); now >= next_wake) {
        wake_daemon();
        next_wake = now + kWakeInterval;
      }
    }
    if (answered) wake_daemon();
    if (answered && Clock::now() >= next_counters_) show_counters();
    return answered;
  }

  Module::Said judge(const ring::AnsweringEnd::Asked& asked) {
    // The news that this question's guest is another one comes before it, but by the other way.
    while (asked.boot > guest_.boot && message_waits())
      if (const auto taken = take_message(); !taken) break;
    GuestView view(asked.boot == guest_.boot ? guest_.guest.get() : nullptr, asked.boot);
    return module_->judge(asked.question, view);
  }

  void wake_daemon() {
    constexpr uint64_t kOne = 1;
    if (ring_->must_wake()) static_cast<void>(!::write(answers_wake_.get(), &kOne, sizeof(kOne)));
  }

  void show_counters() {
    if (!ring_) return;
    ring_->show(module_->status().counters);
    next_counters_ = Clock::now() + kCountersInterval;
  }

  // Until there is a question or a message. False: the daemon has closed the channel.
  Result<bool> sleep() {
    if (ring_ && !ring_->fall_asleep()) {
      ring_->wake_up();
      return true;
    }
    pollfd waiting[] = {{channel_.fd(), POLLIN, 0}, {questions_wake_.get(), POLLIN, 0}};
    ::poll(waiting, ring_ ? 2 : 1, -1);
    if (ring_) ring_->wake_up();
    uint64_t count = 0;
    if ((waiting[1].revents & POLLIN) != 0) static_cast<void>(!::read(questions_wake_.get(), &count, sizeof(count)));
    if (waiting[0].revents == 0) return true;
    const auto taken = take_message();
    if (!taken && taken.error().code == Code::kNotFound) return false;
    if (!taken) return std::unexpected(taken.error());
    return true;
  }

  [[nodiscard]] bool message_waits() const {
    pollfd waiting{channel_.fd(), POLLIN, 0};
    return ::poll(&waiting, 1, 0) > 0;
  }

  Result<void> take_message() {
    HW_TRY(auto message, channel_.receive());
    if (auto* const ring = std::get_if<RingMessage>(&message)) return open_ring(*ring);
    take_guest(std::get<GuestMessage>(std::move(message)));
    return {};
  }

  Result<void> open_ring(RingMessage& message) {
    HW_TRY(Mapping mapping, Mapping::read_write(message.memory, ring::memory_bytes(message.frame_bytes)));
    memory_ = std::make_unique<Mapping>(std::move(mapping));
    ring_.emplace(memory_->writable(), message.frame_bytes);
    questions_wake_ = std::move(message.questions_wake);
    answers_wake_ = std::move(message.answers_wake);
    return {};
  }

  void take_guest(GuestMessage message) {
    guest_ = {};  // before the next one: both at once may be too much
    guest_.boot = message.boot;
    if (!message.ram.ram.valid()) return;
    auto attached = attach(std::move(message));
    if (attached) {
      guest_.guest = *std::move(attached);
    } else {
      spdlog::warn("cannot read the guest: {}", attached.error().message);
    }
  }

  ModuleChannel channel_;
  std::unique_ptr<LoadedModule> module_;
  std::chrono::microseconds spin_;
  AttachedGuest guest_;
  std::unique_ptr<Mapping> memory_;
  std::optional<ring::AnsweringEnd> ring_;
  Fd questions_wake_, answers_wake_;
  Clock::time_point next_counters_;
};

Result<std::unique_ptr<LoadedModule>> load(const Setup& setup) {
  if (setup.file.empty()) return LoadedModule::make(rules_module(), setup.settings);
  return LoadedModule::load(setup.file, setup.settings);
}

Result<ModuleHost> prepare(ModuleChannel& channel) {
  HW_TRY(const Setup setup, channel.receive_setup());
  const SandboxLimits limits{.module = setup.file, .memory_bytes = setup.memory_bytes + setup.ram_bytes + kOwnBytes};
  HW_TRY(const int landlock, enter_loading(limits, ChildProcess::kChannelFd));
  HW_TRY(auto module, load(setup));
  HW_OK(enter_serving());
  HW_OK(channel.send(Hello{.info = module->info(), .landlock_abi = landlock}));
  return ModuleHost(std::move(channel), std::move(module), std::chrono::microseconds(setup.spin_us));
}

}  // namespace

Result<void> run_module_host() {
  ::tzset();  // reads a file, which it could not later
  // Its lines go to the daemon, which knows when and whose.
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::stderr_sink_st>()));
  spdlog::set_pattern("%v");
  ModuleChannel channel{Fd(ChildProcess::kChannelFd)};
  auto host = prepare(channel);
  if (!host) return channel.send(std::unexpected(std::move(host).error()));
  return host->serve();
}

}  // namespace hyperward::filter
