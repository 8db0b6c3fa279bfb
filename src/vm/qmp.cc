#include "vm/qmp.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace hyperward::vm {
namespace {

using nlohmann::json;

constexpr size_t kMaxMessageBytes = 16UL << 20;  // `info mtree` of a large machine is some hundred kilobytes
constexpr int kMaxEventsBeforeReply = 1000;

}  // namespace

Result<Qmp> Qmp::connect(const std::string& path, int timeout_ms) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return fail(Code::kInvalid, "{}: too long for a socket's path", path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);

  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return fail_errno(errno, "open a Unix socket");
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    // A full backlog: somebody listens, and others wait before us.
    if (errno == EAGAIN) return fail(Code::kLimit, "{}: another client holds this QMP socket", path);
    return fail_errno(errno, path);
  }

  Qmp qmp(std::move(socket), timeout_ms);
  const auto greeting = qmp.receive();
  if (!greeting && greeting.error().code == Code::kLimit)
    return fail(Code::kLimit, "{}: no greeting; another client may hold this QMP socket", path);
  if (!greeting) return within(greeting.error(), "{}", path);
  if (!greeting->contains("QMP")) return fail(Code::kInvalid, "{}: not a QMP socket", path);
  HW_OK(qmp.execute("qmp_capabilities"));
  return qmp;
}

Result<json> Qmp::execute(std::string_view command, const json& arguments) {
  json message = {{"execute", command}};
  if (!arguments.empty()) message["arguments"] = arguments;
  HW_OK(send(message));
  for (int events = 0; events < kMaxEventsBeforeReply; ++events) {
    HW_TRY(json reply, receive());
    if (reply.contains("return")) return reply["return"];
    if (reply.contains("error"))
      return fail(Code::kInvalid, "QMP {}: {}", command, reply["error"].value("desc", "refused"));
  }
  return fail(Code::kLimit, "QMP {}: no reply among {} events", command, kMaxEventsBeforeReply);
}

Result<std::string> Qmp::human(std::string_view command_line) {
  HW_TRY(const json text, execute("human-monitor-command", {{"command-line", command_line}}));
  if (!text.is_string()) return fail(Code::kInvalid, "QMP human-monitor-command: the answer is no text");
  return text.get<std::string>();
}

Result<int> Qmp::peer_pid() const {
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (::getsockopt(socket_.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
    return fail_errno(errno, "ask for the QMP socket's owner");
  return credentials.pid;
}

Result<void> Qmp::send(const json& message) {
  const std::string text = message.dump() + "\n";
  if (::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size()))
    return fail_errno(errno, "send to the QMP socket");
  return {};
}

Result<json> Qmp::receive() {
  for (;;) {
    const size_t newline = buffer_.find('\n');
    if (newline != std::string::npos) {
      json message = json::parse(buffer_.substr(0, newline), nullptr, /*allow_exceptions=*/false);
      buffer_.erase(0, newline + 1);
      if (!message.is_object()) return fail(Code::kInvalid, "the peer does not speak QMP");
      return message;
    }
    if (buffer_.size() > kMaxMessageBytes)
      return fail(Code::kLimit, "a QMP message is longer than {} bytes", kMaxMessageBytes);

    pollfd poll_entry{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    const int ready = ::poll(&poll_entry, 1, timeout_ms_);
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return fail_errno(errno, "wait for the QMP socket");
    if (ready == 0) return fail(Code::kLimit, "no answer from the QMP socket within {} ms", timeout_ms_);

    std::array<char, 65536> chunk;
    const ssize_t received = ::recv(socket_.get(), chunk.data(), chunk.size(), 0);
    if (received < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (received < 0) return fail_errno(errno, "read from the QMP socket");
    if (received == 0) return fail(Code::kNotFound, "the QMP socket was closed");
    buffer_.append(chunk.data(), static_cast<size_t>(received));
  }
}

}  // namespace hyperward::vm
