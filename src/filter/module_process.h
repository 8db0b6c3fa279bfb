// A module in a process of its own, which may crash, hang, or answer nonsense: the daemon's side of it.
//
// Theory of operation
//
//   starting ──hello──▶ running ──crash, deadline, nonsense──▶ ending ──gone──▶ waiting ──pause over──▶ starting
//
// Questions go by rings in shared memory (module_ring.h). ask() leaves one there; when a batch is full, or at flush(),
// the process is shown them, and woken if it sleeps. Whatever ends the process, everything in hand is a fault, what was
// in hand is recorded, and a new process is started: the first time at once, then after a pause that doubles; who ran
// well for a while starts over at once. While no process runs, to ask is a fault at once. No answer is ever made up.
//
// Time. To wake a sleeping process takes 30 to 50 us here and as much back, so both sides look for a bounded while
// before they sleep: the process for `process_spin` after its last question, this side in flush() for `spin`. That
// costs a core each as long as it lasts: while packets come one by one, at most what the module computes anyway and
// process_spin more per packet; an idle module costs nothing. With one core nobody spins.
//
// Trust. See module_ring.h and module_channel.h for what the process may write. It can also make its eventfd readable
// for nothing: kIdleWakesMax in a row end it. Its lines for the log are bounded in length and number.
//
// Not for several threads. The process ends with the thread that called start() (PR_SET_PDEATHSIG knows threads): that
// must be the one that goes on asking.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mapping.h"
#include "filter/child_process.h"
#include "filter/module.h"
#include "filter/module_channel.h"
#include "filter/module_ring.h"

namespace hyperward::filter {

// How a module's process ended.
struct ModuleEnd {
  std::string why;  // a sentence
  std::chrono::milliseconds restart_in{0};
  std::filesystem::path recording;  // of what was in hand; "": nothing was, or it was not to be recorded
};

struct ModuleProcessOptions {
  std::string label;                // of the log: "web"
  std::filesystem::path file = {};  // of the module; "": the built-in rules
  std::string settings = "{}";

  uint32_t batch = 32;                      // questions that are worth to be sent before flush()
  std::chrono::microseconds batch_wait{0};  // that flush() may wait for a batch to fill
  std::chrono::milliseconds deadline{200};  // for the oldest question that was sent
  std::chrono::microseconds spin{50};       // of flush(), for answers
  std::chrono::microseconds process_spin{100};
  uint64_t memory_bytes = 256ULL << 20;  // of the module

  // The guest of this moment; without RAM when it cannot be read. Asked at each start, and by guest_changed().
  std::function<GuestMessage()> guest = nullptr;
  std::filesystem::path recordings = {};  // a folder; "": nothing is recorded
  std::function<void(const ModuleEnd&)> ended = nullptr;
  std::filesystem::path program = "/proc/self/exe";  // which runs run_module_host()
};

class ModuleProcess final : public Module {
 public:
  static constexpr std::chrono::milliseconds kStartDeadline{10'000};  // until hello
  static constexpr std::chrono::milliseconds kFirstPause{100}, kLongestPause{10'000};
  static constexpr std::chrono::seconds kHealthy{60};  // after which the next restart is at once again
  static constexpr uint32_t kIdleWakesMax = 256;
  static constexpr uint32_t kLinesPerSecond = 10;

  // Waits until the module is loaded. Its own errors are as LoadedModule's; kLimit: not within kStartDeadline.
  [[nodiscard]] static Result<std::unique_ptr<ModuleProcess>> start(ModuleProcessOptions options);
  ~ModuleProcess() override;  // ends the process

  [[nodiscard]] const ModuleInfo& info() const override { return info_; }
  [[nodiscard]] std::optional<Said> ask(uint64_t ticket, const Question& question, GuestView& view) override;
  void flush() override;
  void collect(std::vector<Answered>& answered) override;
  [[nodiscard]] int fd() const override { return epoll_.get(); }
  void guest_changed() override;
  [[nodiscard]] ModuleStatus status() const override;

  // Of the sandbox; 0: this kernel has none.
  [[nodiscard]] int landlock_abi() const { return landlock_abi_; }

 private:
  using Clock = std::chrono::steady_clock;
  enum class State : uint8_t { kStarting, kRunning, kEnding, kWaiting };

  explicit ModuleProcess(ModuleProcessOptions options) : options_(std::move(options)) {}
  [[nodiscard]] Result<void> open();
  void watch(int fd, uint64_t what);
  void signal_ourselves() const;

  [[nodiscard]] Result<void> spawn();
  void restart();
  void greet();
  [[nodiscard]] Result<void> take_up(Hello hello);
  [[nodiscard]] Result<void> send_guest();

  void send();
  void take();
  void look();
  void check_times();
  void set_timer();
  void end(Error why);
  void gone(std::string how);
  void lose(const std::string& why);
  void log_lines(bool all);

  ModuleProcessOptions options_;
  ModuleInfo info_;
  int landlock_abi_ = 0;
  ModuleStatus status_;

  Fd epoll_, timer_, answers_wake_, questions_wake_;
  Clock::time_point timer_at_ = Clock::time_point::max();  // max: it is not set

  State state_ = State::kWaiting;
  std::optional<ChildProcess> process_;
  std::optional<ModuleChannel> channel_;
  std::optional<Mapping> memory_;
  std::optional<ring::AskingEnd> ring_;  // in `memory_`
  uint64_t ram_bytes_ = 0;               // that the process may map
  std::optional<Error> why_;             // it is ended, by us
  Clock::time_point since_, restart_at_, first_not_sent_;
  std::chrono::milliseconds pause_{0};  // before the next restart
  std::filesystem::path recording_;     // of this end
  std::string last_line_;               // it wrote
  Clock::time_point lines_since_;
  uint32_t lines_ = 0, lines_left_out_ = 0;

  std::vector<Answered> ready_;  // for collect()
  uint32_t idle_wakes_ = 0;      // in a row
  bool took_ = false;            // answers, since the last wake
};

}  // namespace hyperward::filter
