// A process that this one starts, watches and ends: by its pidfd, so that it is never taken for another.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace hyperward::filter {

class ChildProcess {
 public:
  // The descriptor that the program finds its channel at. Of this process's descriptors it gets no other but those it
  // writes lines to.
  static constexpr int kChannelFd = 3;

  // It begins without environment, in a session of its own, with no signals blocked, reads nothing from its standard
  // input, and its standard output and error go to lines().
  [[nodiscard]] static Result<ChildProcess> spawn(const std::filesystem::path& program, const std::string& command,
                                                  const Fd& channel);
  ChildProcess(ChildProcess&&) = default;
  ChildProcess& operator=(ChildProcess&&) = delete;
  ~ChildProcess();  // kills it, and waits until it is gone

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] int pidfd() const { return pidfd_.get(); }  // readable when it has ended
  void kill() const;
  // How it ended, in words: "killed by SIGSEGV"; nothing as long as it runs.
  [[nodiscard]] std::optional<std::string> ended();

  // What it wrote since, whole lines, `max_bytes` at most; what does not fit into the pipe is lost.
  [[nodiscard]] std::vector<std::string> lines(size_t max_bytes);

 private:
  ChildProcess(pid_t pid, Fd pidfd, Fd output) : pid_(pid), pidfd_(std::move(pidfd)), output_(std::move(output)) {}

  pid_t pid_;
  Fd pidfd_;  // invalid: it has ended, and its number may be another's
  Fd output_;
  std::string line_;  // that has no end yet
};

}  // namespace hyperward::filter
