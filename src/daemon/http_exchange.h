// For tests: one request over a Unix socket, byte for byte, and what comes back.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/result.h"

namespace hyperward::daemon {

[[nodiscard]] inline Fd connect_to(const std::filesystem::path& socket) {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  HW_CHECK(socket.native().size() < sizeof(address.sun_path));
  std::memcpy(address.sun_path, socket.c_str(), socket.native().size());
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) return {};
  return fd;
}

// What can be read before the other side closes, `text` has come, or ten seconds have gone.
[[nodiscard]] inline std::string read_until(const Fd& fd, std::optional<std::string_view> text = std::nullopt) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  std::string got;
  std::array<char, 65536> buffer{};
  while ((!text || got.find(*text) == std::string::npos) && std::chrono::steady_clock::now() < deadline) {
    pollfd ready{.fd = fd.get(), .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, 100) == 0) continue;
    const ssize_t size = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (size <= 0) break;
    got.append(buffer.data(), static_cast<size_t>(size));
  }
  return got;
}

struct HttpReply {
  int status = 0;
  std::string head;
  std::string body;

  [[nodiscard]] nlohmann::json json() const { return nlohmann::json::parse(body, nullptr, false); }
};

[[nodiscard]] inline HttpReply exchange_raw(const std::filesystem::path& socket, std::string_view request) {
  const Fd fd = connect_to(socket);
  if (!fd.valid()) return {};
  while (!request.empty()) {
    const ssize_t sent = ::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL);
    if (sent <= 0) break;
    request.remove_prefix(static_cast<size_t>(sent));
  }
  const std::string got = read_until(fd);
  const size_t end = got.find("\r\n\r\n");
  if (end == std::string::npos || got.size() < 12) return {};
  return {.status = std::atoi(got.c_str() + 9), .head = got.substr(0, end + 2), .body = got.substr(end + 4)};
}

[[nodiscard]] inline HttpReply exchange(const std::filesystem::path& socket, std::string_view method,
                                        std::string_view target, std::string_view body = "") {
  return exchange_raw(socket, fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{}", method,
                                          target, body.size(), body));
}

}  // namespace hyperward::daemon
