// The daemon as a service: what it tells systemd, and how its log looks to the journal, on a terminal, in a file.
//
// Whatever starts it, it behaves the same: systemd is told only when it listens ($NOTIFY_SOCKET), and waits for a sign
// of life only when the unit says so ($WATCHDOG_USEC).
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <spdlog/common.h>
#include <spdlog/formatter.h>

#include "base/result.h"

namespace hyperward::daemon {

// sd_notify(3). What cannot be told is logged once per message, and nothing else comes of it.
class Service {
 public:
  using Clock = std::chrono::steady_clock;

  Service();  // asks the environment

  void ready(std::string_view status) const;     // after the start, and again after each reload
  void reloading() const;                        // before each
  void stopping() const;                         // once, before things are taken down
  void status(std::string_view sentence) const;  // what `systemctl status` shows
  // Called with each turn of the main loop: so a loop that stands still is noticed. Tells it every half of the time
  // that systemd waits.
  void alive(Clock::time_point now);

  [[nodiscard]] std::optional<Clock::duration> sign_interval() const { return sign_interval_; }

 private:
  std::optional<Clock::duration> sign_interval_;  // nothing: nobody waits for signs of life
  std::optional<Clock::time_point> last_sign_;
};

enum class LogForm : uint8_t {
  kJournal,   // each line with its priority, without time: the journal has its own
  kTerminal,  // with time, in colours unless $NO_COLOR is set
  kPlain,     // with time
};

// Of what is written to that descriptor; the journal is known by $JOURNAL_STREAM.
[[nodiscard]] LogForm log_form(int fd);
[[nodiscard]] std::unique_ptr<spdlog::formatter> log_formatter(LogForm form);

// From now on everything that is logged goes to standard error, in the form that suits it.
void set_up_log(spdlog::level::level_enum level);

}  // namespace hyperward::daemon
