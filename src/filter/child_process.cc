#include "filter/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

namespace hyperward::filter {
namespace {

constexpr size_t kLineMaxBytes = 512;
constexpr int kAboveStandard = 10;  // where descriptors wait until they are put in their places

std::string how_it_ended(const siginfo_t& status) {
  if (status.si_code == CLD_EXITED) return fmt::format("ended with status {}", status.si_status);
  const char* const name = ::sigabbrev_np(status.si_status);
  std::string text = fmt::format("killed by SIG{}", name == nullptr ? std::to_string(status.si_status) : name);
  if (status.si_status == SIGSYS) text += ", for a system call that no module needs";
  return text;
}

}  // namespace

Result<ChildProcess> ChildProcess::spawn(const std::filesystem::path& program, const std::string& command,
                                         const Fd& channel) {
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC | O_NONBLOCK) != 0) return fail_errno(errno, "make a pipe");
  Fd output(pipe[0]), written(pipe[1]);
  const Fd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const Fd inherited(::fcntl(channel.get(), F_DUPFD_CLOEXEC, kAboveStandard));
  const Fd errors(::fcntl(written.get(), F_DUPFD_CLOEXEC, kAboveStandard));
  const Fd input(::fcntl(nothing.get(), F_DUPFD_CLOEXEC, kAboveStandard));
  if (!inherited.valid() || !errors.valid() || !input.valid()) return fail_errno(errno, "copy descriptors");

  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  HW_CHECK(::posix_spawn_file_actions_init(&files) == 0 && ::posix_spawnattr_init(&attributes) == 0);
  ::posix_spawn_file_actions_adddup2(&files, input.get(), STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, errors.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, errors.get(), STDERR_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, inherited.get(), kChannelFd);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);

  std::string name = "hyperward", argument = command;
  std::array<char*, 3> arguments{name.data(), argument.data(), nullptr};
  std::array<char*, 1> environment{nullptr};
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, program.c_str(), &files, &attributes, arguments.data(), environment.data());
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) return fail_errno(error, fmt::format("start {}", program.native()));

  Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.valid()) {
    const int failed = errno;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return fail_errno(failed, "watch a module's process");
  }
  return ChildProcess(pid, std::move(pidfd), std::move(output));
}

ChildProcess::~ChildProcess() {
  if (!pidfd_.valid()) return;
  kill();
  siginfo_t status{};
  while (::waitid(P_PID, static_cast<id_t>(pid_), &status, WEXITED) != 0 && errno == EINTR) {
  }
}

void ChildProcess::kill() const {
  if (pidfd_.valid()) ::kill(pid_, SIGKILL);
}

std::optional<std::string> ChildProcess::ended() {
  siginfo_t status{};
  if (!pidfd_.valid()) return "ended before";
  if (::waitid(P_PID, static_cast<id_t>(pid_), &status, WEXITED | WNOHANG) != 0 || status.si_pid == 0)
    return std::nullopt;
  pidfd_ = Fd();
  return how_it_ended(status);
}

std::vector<std::string> ChildProcess::lines(size_t max_bytes) {
  std::vector<std::string> lines;
  std::array<char, 4096> buffer;
  while (max_bytes > 0) {
    const ssize_t length = ::read(output_.get(), buffer.data(), std::min(buffer.size(), max_bytes));
    if (length <= 0) break;
    max_bytes -= static_cast<size_t>(length);
    for (const char c : std::string_view(buffer.data(), static_cast<size_t>(length))) {
      if (c != '\n') {
        if (line_.size() < kLineMaxBytes) line_ += c;
      } else if (!line_.empty()) {
        lines.push_back(std::move(line_));
        line_.clear();
      }
    }
  }
  return lines;
}

}  // namespace hyperward::filter
