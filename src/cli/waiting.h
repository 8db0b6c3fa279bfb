// For who waits at a terminal.
#pragma once

#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

namespace hyperward::cli {

// While it lives, and once that is a second, a line on `fd` says what the command is at and for how long; it is wiped
// out at the end. Says nothing to what is no terminal.
class Waiting {
 public:
  static constexpr std::chrono::seconds kStep{1};

  explicit Waiting(std::string what, int fd = STDERR_FILENO);

 private:
  std::jthread thread_;
};

}  // namespace hyperward::cli
