#include "cli/waiting.h"

#include <condition_variable>
#include <mutex>

#include <fmt/format.h>

namespace hyperward::cli {
namespace {

constexpr std::string_view kWipe = "\r\x1b[K";  // ECMA-48: to the line's begin, erase to its end

void put(int fd, std::string_view text) {
  static_cast<void>(!::write(fd, text.data(), text.size()));  // a terminal that has gone needs no words
}

void tell(const std::stop_token& done, const std::string& what, int fd) {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any woken;
  for (auto time = Waiting::kStep;; time += Waiting::kStep) {
    woken.wait_for(lock, done, Waiting::kStep, [] { return false; });
    if (done.stop_requested()) return put(fd, time > Waiting::kStep ? kWipe : "");
    put(fd, fmt::format("{}hyperward: {} ({} s)", kWipe, what, time.count()));
  }
}

}  // namespace

Waiting::Waiting(std::string what, int fd) {
  if (::isatty(fd) != 1) return;
  thread_ = std::jthread([what = std::move(what), fd](const std::stop_token& done) { tell(done, what, fd); });
}

}  // namespace hyperward::cli
