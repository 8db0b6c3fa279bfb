// A process held by a pidfd: its number may be given to another one after it has ended, the handle never is.
#pragma once

#include <poll.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"
#include "base/result.h"

namespace hyperward::memory {

class ProcessHandle {
 public:
  [[nodiscard]] static Result<ProcessHandle> open(pid_t pid) {
    // Not pidfd_open(): glibc 2.36 declares it without C linkage.
    Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!fd.valid() && (errno == ESRCH || errno == EINVAL)) return fail(Code::kNotFound, "there is no process {}", pid);
    if (!fd.valid()) return fail_errno(errno, fmt::format("open process {}", pid));
    return ProcessHandle(pid, std::move(fd));
  }

  [[nodiscard]] pid_t pid() const { return pid_; }

  // True as long as pid() means this process. What was read under that number before this says so was its own.
  [[nodiscard]] bool is_alive() const {
    pollfd ended{fd_.get(), POLLIN, 0};
    return ::poll(&ended, 1, 0) == 0;
  }

 private:
  ProcessHandle(pid_t pid, Fd fd) : pid_(pid), fd_(std::move(fd)) {}

  pid_t pid_;
  Fd fd_;
};

}  // namespace hyperward::memory
