#include "daemon/foreground.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>

#include <spdlog/spdlog.h>

#include "daemon/guard.h"

namespace hyperward::daemon {
namespace {

Result<void> reload(Guard& guard, const std::filesystem::path& config_file) {
  HW_TRY(GuestFile file, load_guest_file(config_file));
  const std::vector<ModuleConfig> modules = file.config.modules;
  return guard.adopt(std::move(file), modules);
}

}  // namespace

Result<Fd> watch_signals() {
  sigset_t wanted;
  sigemptyset(&wanted);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&wanted, signal);
  if (const int error = ::pthread_sigmask(SIG_BLOCK, &wanted, nullptr); error != 0)
    return fail_errno(error, "block signals");
  Fd signals(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals.valid()) return fail_errno(errno, "wait for signals");
  return signals;
}

int next_signal(const Fd& signals) {
  signalfd_siginfo signal{};
  if (::read(signals.get(), &signal, sizeof(signal)) != sizeof(signal)) return 0;
  return static_cast<int>(signal.ssi_signo);
}

Result<void> guard_in_foreground(const std::filesystem::path& config_file) {
  HW_TRY(const Fd signals, watch_signals());
  HW_TRY(GuestFile file, load_guest_file(config_file));
  spdlog::info("{}: looking for the guest and its kernel", file.config.label());  // large memory takes seconds
  std::vector<ModuleConfig> modules = file.config.modules;
  HW_TRY(const auto guard, Guard::start({.file = std::move(file), .modules = std::move(modules)}));
  for (bool going = true; going;) {
    pollfd waiting[] = {{signals.get(), POLLIN, 0}, {guard->fd(), POLLIN, 0}};
    if (::poll(waiting, std::size(waiting), -1) < 0 && errno != EINTR) return fail_errno(errno, "wait for events");
    if (const int signal = next_signal(signals); signal == SIGHUP) {
      if (const auto reloaded = reload(*guard, config_file); !reloaded)
        spdlog::error("{}: all stays as it is: {}", guard->config().label(), reloaded.error().message);
    } else if (signal != 0) {
      break;
    }
    HW_TRY(going, guard->turn(std::chrono::milliseconds(0)));
  }
  return {};
}

}  // namespace hyperward::daemon
