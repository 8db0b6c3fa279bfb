// Lines of IDSs by file and by socket, from senders that keep to nothing.
#include "daemon/ids_intake.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/test_directory.h"
#include "detect/ids_alert.h"

namespace hyperward::daemon {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class IdsIntakeTest : public testing::Test {
 protected:
  void open(IdsSource source) {
    intake.reset();
    auto opened = IdsIntake::open({std::move(source)});
    ASSERT_TRUE(opened) << opened.error().message;
    intake.emplace(*std::move(opened));
  }
  void open_stream() { open({.file = {}, .socket = socket, .datagram = false, .guest = "web"}); }
  void open_datagram() { open({.file = {}, .socket = socket, .datagram = true, .guest = "web"}); }

  std::vector<std::string> read() {
    std::vector<std::string> lines;
    intake->read([&](const std::string& guest, std::string_view line) {
      EXPECT_EQ(guest, "web");
      lines.emplace_back(line);
    });
    return lines;
  }

  [[nodiscard]] Fd connect(int type = SOCK_STREAM) const {
    Fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, socket.c_str());
    HW_CHECK(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    return fd;
  }
  // As much as fits; the rest is returned.
  static std::string_view send(const Fd& fd, std::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = ::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) break;
      text.remove_prefix(static_cast<size_t>(sent));
    }
    return text;
  }
  static bool hung_up(const Fd& fd) {
    char byte = 0;
    return ::recv(fd.get(), &byte, 1, 0) == 0;
  }

  TestDirectory directory;
  std::filesystem::path socket = directory.path() / "eve.sock";
  std::optional<IdsIntake> intake;
};

// -- a file --

TEST_F(IdsIntakeTest, reads_what_is_appended_to_a_file_and_not_what_was_there) {
  const std::filesystem::path file = directory.path() / "eve.json";
  std::ofstream stream(file);
  stream << "old\n" << std::flush;
  open({.file = file, .socket = {}, .guest = "web"});
  EXPECT_THAT(read(), IsEmpty());
  stream << "one\ntwo\nthr" << std::flush;
  EXPECT_THAT(read(), ElementsAre("one", "two"));
  stream << "ee\n" << std::flush;
  EXPECT_THAT(read(), ElementsAre("three"));
}

TEST_F(IdsIntakeTest, waits_for_a_file_that_is_not_there_yet) {
  const std::filesystem::path file = directory.path() / "eve.json";
  open({.file = file, .socket = {}, .guest = "web"});
  EXPECT_THAT(read(), IsEmpty());
  std::ofstream(file) << "first\n";
  EXPECT_THAT(read(), ElementsAre("first"));
}

TEST_F(IdsIntakeTest, counts_lines_of_a_file_that_are_too_long) {
  const std::filesystem::path file = directory.path() / "eve.json";
  open({.file = file, .socket = {}, .guest = "web"});
  EXPECT_THAT(read(), IsEmpty());
  std::ofstream(file) << std::string(detect::kMaxAlertLineBytes + 1, 'x') << "\nshort\n";
  EXPECT_THAT(read(), ElementsAre("short"));
  EXPECT_EQ(intake->dropped(), 1U);
}

// -- a stream socket --

TEST_F(IdsIntakeTest, gives_whole_lines_of_several_senders_however_they_are_cut) {
  open_stream();
  const Fd first = connect(), second = connect();
  send(first, "{\"a\":");
  send(second, "one\n\ntwo\nthr");
  EXPECT_THAT(read(), ElementsAre("one", "two"));
  send(first, "1}\n");
  send(second, "ee\n");
  EXPECT_THAT(read(), ElementsAre("{\"a\":1}", "three"));
  EXPECT_EQ(intake->dropped(), 0U);
}

TEST_F(IdsIntakeTest, gives_what_was_whole_before_the_sender_hung_up_and_counts_the_rest) {
  open_stream();
  send(connect(), "whole\nhalf");
  EXPECT_THAT(read(), ElementsAre("whole"));
  EXPECT_EQ(intake->dropped(), 1U);
  send(connect(), "another\n");
  EXPECT_THAT(read(), ElementsAre("another"));
}

TEST_F(IdsIntakeTest, drops_and_counts_a_line_without_measure_and_goes_on_behind_it) {
  open_stream();
  const Fd sender = connect();
  const std::string text = std::string(3 * detect::kMaxAlertLineBytes, 'x') + "\nshort\n";
  std::vector<std::string> lines;
  for (std::string_view rest = text; lines.empty();) {
    rest = send(sender, rest);
    lines = read();
  }
  EXPECT_THAT(lines, ElementsAre("short"));
  EXPECT_EQ(intake->dropped(), 1U);
}

TEST_F(IdsIntakeTest, takes_a_line_of_the_greatest_length_and_none_that_is_a_byte_longer) {
  open_stream();
  const Fd sender = connect();
  const std::string longest(detect::kMaxAlertLineBytes, 'x');
  const std::string text = longest + "\n" + longest + "x\nend\n";
  std::vector<std::string> lines;
  for (std::string_view rest = text; lines.empty() || lines.back() != "end";) {
    rest = send(sender, rest);
    for (std::string& line : read()) lines.push_back(std::move(line));
  }
  ASSERT_THAT(lines, SizeIs(2));
  EXPECT_EQ(lines[0], longest);
  EXPECT_EQ(intake->dropped(), 1U);
}

TEST_F(IdsIntakeTest, hangs_up_on_one_sender_too_many_until_another_has_gone) {
  open_stream();
  std::vector<Fd> senders;
  for (size_t i = 0; i < IdsIntake::kMaxSenders; ++i) senders.push_back(connect());
  Fd one_more = connect();
  EXPECT_THAT(read(), IsEmpty());
  EXPECT_TRUE(hung_up(one_more));
  EXPECT_FALSE(hung_up(senders.back()));

  senders.pop_back();
  EXPECT_THAT(read(), IsEmpty());
  one_more = connect();
  send(one_more, "hello\n");
  EXPECT_THAT(read(), ElementsAre("hello"));
}

TEST_F(IdsIntakeTest, a_sender_without_end_leaves_the_others_their_share) {
  open_stream();
  const Fd busy = connect(), quiet = connect();
  std::string flood;
  for (size_t i = 0; i < 2 * IdsIntake::kMaxLinesPerRead; ++i) flood += "x\n";
  ASSERT_EQ(send(busy, flood), "");
  send(quiet, "mine\n");
  const auto lines = read();
  EXPECT_THAT(lines, testing::Contains("mine"));
  EXPECT_LE(lines.size(), IdsIntake::kMaxLinesPerRead);
  size_t total = lines.size();
  while (const size_t more = read().size()) total += more;
  EXPECT_EQ(total, 2 * IdsIntake::kMaxLinesPerRead + 1) << "what was beyond the share was read later";
}

TEST_F(IdsIntakeTest, a_sender_of_no_line_at_all_holds_up_nothing) {
  open_stream();
  const Fd sender = connect();
  const std::string chunk(64UL << 10, 'x');
  size_t sent = 0;
  // As it would send while it is read: a receiver that read on would never come to an end.
  for (int i = 0; i < 200; ++i) {
    sent += chunk.size() - send(sender, chunk).size();
    EXPECT_THAT(read(), IsEmpty());
  }
  EXPECT_GT(sent, detect::kMaxAlertLineBytes);
  EXPECT_EQ(intake->dropped(), 1U);
}

// -- a datagram socket --

TEST_F(IdsIntakeTest, takes_a_datagram_for_a_line) {
  open_datagram();
  const Fd sender = connect(SOCK_DGRAM);
  for (const char* text : {"one", "two\n", "\n", ""}) send(sender, text);
  EXPECT_THAT(read(), ElementsAre("one", "two"));
  EXPECT_EQ(intake->dropped(), 0U);
}

TEST_F(IdsIntakeTest, drops_and_counts_a_datagram_without_measure) {
  open_datagram();
  const Fd sender = connect(SOCK_DGRAM);
  const int room = 4 << 20;  // by root beyond the limit of others
  if (::setsockopt(sender.get(), SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) != 0)
    GTEST_SKIP() << "NOT TESTED: datagrams beyond the system's usual size, which take root to send";
  ASSERT_EQ(send(sender, std::string(detect::kMaxAlertLineBytes + 1, 'x')), "");
  send(sender, "short");
  EXPECT_THAT(read(), ElementsAre("short"));
  EXPECT_EQ(intake->dropped(), 1U);
}

// -- the socket's file --

TEST_F(IdsIntakeTest, lets_its_group_send_and_nobody_else) {
  for (const bool datagram : {false, true}) {
    const mode_t before = ::umask(0);
    open({.file = {}, .socket = socket, .datagram = datagram, .guest = ""});
    ::umask(before);
    struct stat status{};
    ASSERT_EQ(::stat(socket.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0660U);
  }
}

TEST_F(IdsIntakeTest, replaces_a_socket_that_a_killed_daemon_left) {
  for (const bool datagram : {false, true}) {
    {
      const Fd left(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      std::strcpy(address.sun_path, socket.c_str());
      ASSERT_EQ(::bind(left.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    }
    open({.file = {}, .socket = socket, .datagram = datagram, .guest = "web"});
    intake.reset();
    EXPECT_FALSE(std::filesystem::exists(socket)) << "it goes with the intake";
  }
}

TEST_F(IdsIntakeTest, leaves_alone_what_is_somebody_elses) {
  open_datagram();
  for (const bool datagram : {false, true}) {
    const auto second = IdsIntake::open({{.file = {}, .socket = socket, .datagram = datagram, .guest = ""}});
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, Code::kInvalid);
  }
  send(connect(SOCK_DGRAM), "still here");
  EXPECT_THAT(read(), ElementsAre("still here"));

  const std::filesystem::path file = directory.path() / "precious";
  std::ofstream(file) << "precious";
  EXPECT_FALSE(IdsIntake::open({{.file = {}, .socket = file, .datagram = true, .guest = ""}}));
  EXPECT_EQ(std::filesystem::file_size(file), 8U);
}

TEST_F(IdsIntakeTest, keeps_its_socket_when_it_is_moved) {
  open_stream();
  IdsIntake elsewhere = *std::move(intake);
  intake.reset();
  ASSERT_TRUE(std::filesystem::exists(socket));
  intake.emplace(std::move(elsewhere));
  send(connect(), "hello\n");
  EXPECT_THAT(read(), ElementsAre("hello"));
}

}  // namespace
}  // namespace hyperward::daemon
