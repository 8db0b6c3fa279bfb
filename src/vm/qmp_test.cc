#include "vm/qmp.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <thread>

namespace hyperward::vm {
namespace {

// A monitor that says its lines, one after each message that it gets; the first at once.
class FakeMonitor {
 public:
  explicit FakeMonitor(std::vector<std::string> lines)
      : path_(fmt::format("/tmp/hyperward-qmp-test-{}", ::getpid())),
        listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    ::unlink(path_.c_str());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
    HW_CHECK(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    HW_CHECK(::listen(listener_.get(), 1) == 0);
    thread_ = std::jthread([this, lines = std::move(lines)] { serve(lines); });
  }
  ~FakeMonitor() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    ::unlink(path_.c_str());
  }

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  void serve(const std::vector<std::string>& lines) {
    const Fd client(::accept(listener_.get(), nullptr, nullptr));
    std::array<char, 4096> message;
    for (const std::string& line : lines) {
      if (::write(client.get(), line.data(), line.size()) < 0) return;
      if (::read(client.get(), message.data(), message.size()) <= 0) return;
    }
  }

  std::string path_;
  Fd listener_;
  std::jthread thread_;
};

constexpr const char* kGreeting = "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n";
constexpr const char* kDone = "{\"return\": {}}\n";

TEST(Qmp, answers_a_command_past_the_events_before_it) {
  FakeMonitor monitor({kGreeting, kDone, "{\"event\": \"RESUME\"}\n{\"return\": {\"running\": true}}\n"});
  auto qmp = Qmp::connect(monitor.path());
  ASSERT_TRUE(qmp) << qmp.error().message;
  const auto status = qmp->execute("query-status");
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(status->at("running"), true);
  EXPECT_EQ(qmp->peer_pid(), ::getpid());
}

TEST(Qmp, says_what_the_monitor_refused) {
  FakeMonitor monitor({kGreeting, kDone, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such device\"}}\n"});
  auto qmp = Qmp::connect(monitor.path());
  ASSERT_TRUE(qmp) << qmp.error().message;
  const auto answer = qmp->execute("device_del");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().message, "QMP device_del: no such device");
}

TEST(Qmp, does_not_wait_for_ever_for_a_monitor_that_another_client_holds) {
  FakeMonitor monitor({""});
  const auto qmp = Qmp::connect(monitor.path(), /*timeout_ms=*/50);
  ASSERT_FALSE(qmp);
  EXPECT_EQ(qmp.error().code, Code::kLimit);
}

TEST(Qmp, rejects_what_does_not_speak_it) {
  FakeMonitor monitor({"SSH-2.0-OpenSSH_9.2\n"});
  const auto qmp = Qmp::connect(monitor.path());
  ASSERT_FALSE(qmp);
  EXPECT_EQ(qmp.error().code, Code::kInvalid);
}

TEST(Qmp, names_a_socket_that_is_not_there) {
  const auto qmp = Qmp::connect("/nowhere/qmp.sock");
  ASSERT_FALSE(qmp);
  EXPECT_EQ(qmp.error().message, "/nowhere/qmp.sock: No such file or directory");
}

}  // namespace
}  // namespace hyperward::vm
