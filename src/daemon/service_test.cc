#include "daemon/service.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/fd.h"
#include "daemon/test_directory.h"

namespace hyperward::daemon {
namespace {

using namespace std::chrono_literals;
using testing::MatchesRegex;

class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) { ::setenv(name, value.c_str(), 1); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { ::unsetenv(name_); }

 private:
  const char* name_;
};

// What systemd would hear.
class Systemd {
 public:
  Systemd() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path().c_str(), sizeof(address.sun_path) - 1);
    HW_CHECK(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  }

  [[nodiscard]] std::string path() const { return directory_.path() / "notify"; }
  [[nodiscard]] std::string heard() const {
    std::array<char, 4096> text{};
    const ssize_t size = ::recv(socket_.get(), text.data(), text.size(), MSG_DONTWAIT);
    return size < 0 ? "nothing" : std::string(text.data(), static_cast<size_t>(size));
  }

 private:
  TestDirectory directory_;
  Fd socket_{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
};

TEST(Service, tells_systemd_of_its_life) {
  const Systemd systemd;
  const Variable listens("NOTIFY_SOCKET", systemd.path());
  const Service service;
  service.ready("guards 2 guests");
  EXPECT_EQ(systemd.heard(), "READY=1\nSTATUS=guards 2 guests");
  service.reloading();
  EXPECT_THAT(systemd.heard(), MatchesRegex("RELOADING=1\nMONOTONIC_USEC=[0-9]+"));
  service.status("one guest cannot be read");
  EXPECT_EQ(systemd.heard(), "STATUS=one guest cannot be read");
  service.stopping();
  EXPECT_EQ(systemd.heard(), "STOPPING=1");
}

TEST(Service, lets_no_status_speak_for_itself) {
  const Systemd systemd;
  const Variable listens("NOTIFY_SOCKET", systemd.path());
  Service().status("guest a\nMAINPID=1");
  EXPECT_EQ(systemd.heard(), "STATUS=guest a MAINPID=1");
}

TEST(Service, is_silent_where_nobody_listens) {
  Service service;
  service.ready("");
  service.alive(Service::Clock::time_point{});
  EXPECT_FALSE(service.sign_interval());
}

TEST(Service, gives_a_sign_of_life_every_half_of_the_time_that_systemd_waits) {
  const Systemd systemd;
  const Variable listens("NOTIFY_SOCKET", systemd.path());
  const Variable waits("WATCHDOG_USEC", "20000000");
  Service service;
  const Service::Clock::time_point start{1000s};
  service.alive(start);
  EXPECT_EQ(systemd.heard(), "WATCHDOG=1");
  service.alive(start + 9999ms);
  EXPECT_EQ(systemd.heard(), "nothing");
  service.alive(start + 10s);
  EXPECT_EQ(systemd.heard(), "WATCHDOG=1");
}

TEST(Service, gives_none_when_systemd_waits_for_another_process) {
  const Variable waits("WATCHDOG_USEC", "20000000");
  const Variable whose("WATCHDOG_PID", "1");
  EXPECT_FALSE(Service().sign_interval());
}

std::string logged(LogForm form, spdlog::level::level_enum level, std::string_view text) {
  spdlog::memory_buf_t line;
  log_formatter(form)->format({"hyperward", level, {text.data(), text.size()}}, line);
  return {line.data(), line.size()};
}

TEST(Log, begins_each_line_for_the_journal_with_its_priority) {
  EXPECT_EQ(logged(LogForm::kJournal, spdlog::level::info, "guards web"), "<6>guards web\n");
  EXPECT_EQ(logged(LogForm::kJournal, spdlog::level::err, "one\n  two\n"), "<3>one\n<3>  two\n");
  EXPECT_EQ(logged(LogForm::kJournal, spdlog::level::debug, ""), "<7>\n");
}

TEST(Log, tells_the_time_where_nobody_else_does) {
  EXPECT_THAT(logged(LogForm::kPlain, spdlog::level::warn, "hold is full"),
              MatchesRegex("[0-9]+-[0-9]+-[0-9]+ [0-9:.]+ warning  hold is full\n"));
}

TEST(Log, knows_the_journal_by_its_stream_and_not_by_the_variable_alone) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const Fd read(ends[0]), write(ends[1]);
  struct stat file{};
  ASSERT_EQ(::fstat(write.get(), &file), 0);
  {
    const Variable journal("JOURNAL_STREAM", fmt::format("{}:{}", file.st_dev, file.st_ino));
    EXPECT_EQ(log_form(write.get()), LogForm::kJournal);
  }
  const Variable elsewhere("JOURNAL_STREAM", fmt::format("{}:{}", file.st_dev, file.st_ino + 1));
  EXPECT_EQ(log_form(write.get()), LogForm::kPlain);
}

TEST(Log, knows_a_terminal) {
  const Fd terminal(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal.valid()) GTEST_SKIP() << "NOT TESTED: the log on a terminal. There is no /dev/ptmx.";
  EXPECT_EQ(log_form(terminal.get()), LogForm::kTerminal);
}

}  // namespace
}  // namespace hyperward::daemon
