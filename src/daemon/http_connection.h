// One client's connection, as httplib reads and writes it: bounded in size and time, and cut when the server stops.
//
// httplib itself would take a head, or a body in chunks, without end, and would wait for as long as each byte comes in
// time. Here all bytes of a request have one deadline, and so have all of its answer.
#pragma once

#include <httplib.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

#include "base/fd.h"

namespace hyperward::daemon {

constexpr size_t kMaxHeadBytes = 32UL << 10;
constexpr size_t kMaxBodyBytes = 1UL << 20;

class HttpConnection : public httplib::Stream {
 public:
  // `client` does not block; `stop` becomes readable when the connection shall be cut.
  HttpConnection(Fd client, int stop);

  // The head has been read: a body of so many bytes may follow, and then the answer.
  void head_is_done(size_t body_bytes);
  // The answer has no end of its own. Each part of it must still be taken in time.
  void answer_is_endless() { endless_ = true; }

  [[nodiscard]] bool is_readable() const override;
  // Whether the client is still there, and shall be served.
  [[nodiscard]] bool is_writable() const override;
  ssize_t read(char* to, size_t size) override;
  ssize_t write(const char* from, size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  [[nodiscard]] socket_t socket() const override { return client_.get(); }

 private:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] bool wait(short events, Clock::time_point deadline) const;
  [[nodiscard]] bool fill();

  Fd client_;
  int stop_;
  Clock::time_point deadline_;
  size_t bytes_left_ = kMaxHeadBytes;  // that may still be read
  bool endless_ = false;
  std::array<char, 4096> buffer_{};
  size_t begin_ = 0, end_ = 0;  // of what is in the buffer
};

}  // namespace hyperward::daemon
