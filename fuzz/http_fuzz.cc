// Any bytes as what one client sends to the control interface, over each of its sockets. The operations are examples
// (fake_operations.h): what is held here is what lies before them, and that it asks for no more than it may.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "daemon/fake_operations.h"
#include "daemon/http_exchange.h"
#include "daemon/http_server.h"
#include "daemon/test_directory.h"

using namespace hyperward;  // NOLINT(google-build-using-namespace)

namespace {

constexpr size_t kMaxReplyBytes = 1UL << 20;
constexpr std::chrono::seconds kMaxTime{4};  // a request that has ended is waited for by nobody

struct Daemon {
  Daemon() {
    operations.events().close();  // so that a stream of events ends, as all other answers do
    auto started = daemon::HttpServer::start({.control = control, .read = read}, operations);
    HW_CHECK(started.has_value());
    server = *std::move(started);
  }

  daemon::FakeOperations operations;
  daemon::TestDirectory directory;
  std::filesystem::path control = directory.path() / "control", read = directory.path() / "read";
  std::unique_ptr<daemon::HttpServer> server;
};

// Sends all, says that this is all, and reads to the end.
std::string talk(const std::filesystem::path& socket, std::string_view bytes) {
  const auto begin = std::chrono::steady_clock::now();
  const Fd client = daemon::connect_to(socket);
  HW_CHECK(client.valid());
  while (!bytes.empty()) {
    const ssize_t sent = ::send(client.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      HW_CHECK(errno == EPIPE || errno == ECONNRESET);  // it has heard enough
      break;
    }
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  ::shutdown(client.get(), SHUT_WR);
  std::string answer = daemon::read_until(client);
  HW_CHECK(std::chrono::steady_clock::now() - begin < kMaxTime);
  return answer;
}

// Nothing at all, or one answer, whole, and of the kind that is promised.
void check_answer(std::string_view answer) {
  HW_CHECK(answer.size() <= kMaxReplyBytes);
  constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  if (answer.starts_with(kContinue)) answer.remove_prefix(kContinue.size());
  if (answer.empty()) return;
  const size_t end = answer.find("\r\n\r\n");
  HW_CHECK(answer.starts_with("HTTP/1.1 ") && end != std::string_view::npos);
  const std::string_view head = answer.substr(0, end), body = answer.substr(end + 4);
  const std::string_view status = head.substr(9, 3);
  HW_CHECK(status[0] == '2' || status[0] == '4' || status == "500");
  const auto says = [&](std::string_view header) { return head.find(header) != std::string_view::npos; };
  if (body.empty() || !says("Content-Type: application/json")) return;
  if (says("Content-Encoding: ")) return;  // to who takes that, a Range that httplib itself refuses

  const auto json = nlohmann::json::parse(body, nullptr, /*allow_exceptions=*/false);
  HW_CHECK(!json.is_discarded());
  if (status[0] == '2') return;
  HW_CHECK(json.contains("error") && json["error"]["code"].is_string() && json["error"]["message"].is_string());
}

bool only_looks(std::string_view asked) {
  constexpr std::string_view kChanges[] = {"add_rule", "replace_rule",  "remove_rule",
                                           "undo",     "take_ids_line", "reload"};
  return std::ranges::none_of(kChanges, [&](std::string_view change) { return asked.starts_with(change); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Daemon guarded;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);

  check_answer(talk(guarded.control, bytes));
  HW_CHECK(guarded.operations.take_asked().size() <= 1);

  check_answer(talk(guarded.read, bytes));
  const std::vector<std::string> asked = guarded.operations.take_asked();
  HW_CHECK(asked.size() <= 1 && std::ranges::all_of(asked, only_looks));
  return 0;
}
