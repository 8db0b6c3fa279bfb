#include "daemon/http_connection.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace hyperward::daemon {
namespace {

constexpr std::chrono::seconds kHeadTimeout{5};
constexpr std::chrono::seconds kAnswerTimeout{30};  // from the head's end to the answer's
constexpr std::chrono::seconds kEndlessWriteTimeout{5};

}  // namespace

HttpConnection::HttpConnection(Fd client, int stop)
    : client_(std::move(client)), stop_(stop), deadline_(Clock::now() + kHeadTimeout) {}

void HttpConnection::head_is_done(size_t body_bytes) {
  // A part of the body may be in the buffer already.
  const size_t buffered = end_ - begin_;
  bytes_left_ = body_bytes - std::min(body_bytes, buffered);
  deadline_ = Clock::now() + kAnswerTimeout;
}

bool HttpConnection::is_readable() const {
  return begin_ < end_ || wait(POLLIN, Clock::now());
}

bool HttpConnection::is_writable() const {
  std::array<pollfd, 2> fds{
      {{.fd = client_.get(), .events = 0, .revents = 0}, {.fd = stop_, .events = POLLIN, .revents = 0}}};
  return ::poll(fds.data(), fds.size(), 0) == 0;  // a hang-up is told unasked
}

ssize_t HttpConnection::read(char* to, size_t size) {
  if (begin_ == end_ && !fill()) return -1;
  const size_t taken = std::min(size, end_ - begin_);
  std::memcpy(to, buffer_.data() + begin_, taken);
  begin_ += taken;
  return static_cast<ssize_t>(taken);
}

// At the end of the stream nothing is in the buffer, which read() gives as 0.
bool HttpConnection::fill() {
  const size_t wanted = std::min(buffer_.size(), bytes_left_);
  if (wanted == 0) return false;
  for (;;) {
    const ssize_t got = ::recv(client_.get(), buffer_.data(), wanted, 0);
    if (got >= 0) {
      begin_ = 0;
      end_ = static_cast<size_t>(got);
      bytes_left_ -= end_;
      return true;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN || !wait(POLLIN, deadline_)) return false;
  }
}

ssize_t HttpConnection::write(const char* from, size_t size) {
  const auto deadline = endless_ ? Clock::now() + kEndlessWriteTimeout : deadline_;
  for (;;) {
    const ssize_t sent = ::send(client_.get(), from, size, MSG_NOSIGNAL);
    if (sent >= 0) return sent;
    if (errno == EINTR) continue;
    if (errno != EAGAIN || !wait(POLLOUT, deadline)) return -1;
  }
}

// False: not in time, or the server stops.
bool HttpConnection::wait(short events, Clock::time_point deadline) const {
  std::array<pollfd, 2> fds{
      {{.fd = client_.get(), .events = events, .revents = 0}, {.fd = stop_, .events = POLLIN, .revents = 0}}};
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    const int ready = ::poll(fds.data(), fds.size(), static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (ready > 0) return fds[1].revents == 0;
    if (ready == 0 || errno != EINTR) return false;
  }
}

void HttpConnection::get_remote_ip_and_port(std::string& ip, int& port) const {
  ip.clear();
  port = 0;
}

void HttpConnection::get_local_ip_and_port(std::string& ip, int& port) const {
  get_remote_ip_and_port(ip, port);
}

}  // namespace hyperward::daemon
