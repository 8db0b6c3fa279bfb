#include "daemon/service.h"

#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace hyperward::daemon {
namespace {

void notify(const std::string& message) {
  const int sent = ::sd_notify(/*unset_environment=*/0, message.c_str());
  if (sent < 0) spdlog::warn("tell systemd {}: {}", message.substr(0, message.find('\n')), std::strerror(-sent));
}

// A line begins another message: the words of a status may not hold any.
std::string on_one_line(std::string_view text) {
  std::string line(text);
  std::ranges::replace_if(line, [](char c) { return c == '\n' || c == '\0'; }, ' ');
  return line;
}

uint64_t monotonic_us() {
  timespec now{};
  HW_CHECK(::clock_gettime(CLOCK_MONOTONIC, &now) == 0);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000 + static_cast<uint64_t>(now.tv_nsec) / 1'000;
}

std::optional<Service::Clock::duration> watchdog_time() {
  uint64_t time_us = 0;
  if (::sd_watchdog_enabled(/*unset_environment=*/0, &time_us) <= 0) return std::nullopt;
  return std::chrono::microseconds(time_us);
}

// syslog(3).
int priority_of(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::critical: return 2;
    case spdlog::level::err: return 3;
    case spdlog::level::warn: return 4;
    case spdlog::level::info: return 6;
    default: return 7;
  }
}

// sd-daemon(3): the journal takes each line as an entry of its own, so each has the priority in front.
class JournalFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& to) override {
    std::string_view text(message.payload.data(), message.payload.size());
    while (text.ends_with('\n')) text.remove_suffix(1);
    for (;;) {
      const std::string_view line = text.substr(0, text.find('\n'));
      fmt::format_to(std::back_inserter(to), "<{}>{}\n", priority_of(message.level), line);
      if (line.size() == text.size()) return;
      text.remove_prefix(line.size() + 1);
    }
  }
  [[nodiscard]] std::unique_ptr<formatter> clone() const override { return std::make_unique<JournalFormatter>(); }
};

}  // namespace

Service::Service() {
  if (const auto time = watchdog_time()) sign_interval_ = *time / 2;
}

void Service::ready(std::string_view sentence) const {
  notify(fmt::format("READY=1\nSTATUS={}", on_one_line(sentence)));
}

void Service::reloading() const {
  notify(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", monotonic_us()));
}

void Service::stopping() const {
  notify("STOPPING=1");
}

void Service::status(std::string_view sentence) const {
  notify("STATUS=" + on_one_line(sentence));
}

void Service::alive(Clock::time_point now) {
  if (!sign_interval_ || (last_sign_ && now - *last_sign_ < *sign_interval_)) return;
  last_sign_ = now;
  notify("WATCHDOG=1");
}

LogForm log_form(int fd) {
  struct stat file{};
  const char* const journal = std::getenv("JOURNAL_STREAM");
  // Whoever redirects a service's output leaves the variable: it must be this very stream (systemd.exec(5)).
  if (journal != nullptr && ::fstat(fd, &file) == 0 && journal == fmt::format("{}:{}", file.st_dev, file.st_ino))
    return LogForm::kJournal;
  return ::isatty(fd) == 1 ? LogForm::kTerminal : LogForm::kPlain;
}

std::unique_ptr<spdlog::formatter> log_formatter(LogForm form) {
  if (form == LogForm::kJournal) return std::make_unique<JournalFormatter>();
  return std::make_unique<spdlog::pattern_formatter>("%Y-%m-%d %H:%M:%S.%e %^%-8l%$ %v");
}

void set_up_log(spdlog::level::level_enum level) {
  const LogForm form = log_form(STDERR_FILENO);
  const bool in_colours = form == LogForm::kTerminal && std::getenv("NO_COLOR") == nullptr;
  const auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>(in_colours ? spdlog::color_mode::always
                                                                                     : spdlog::color_mode::never);
  auto logger = std::make_shared<spdlog::logger>("hyperward", sink);
  logger->set_formatter(log_formatter(form));
  logger->set_level(level);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace hyperward::daemon
