#include "daemon/unix_listener.h"

#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include <gtest/gtest.h>

#include "daemon/test_directory.h"

namespace hyperward::daemon {
namespace {

class UnixListenerTest : public testing::Test {
 protected:
  // A socket's file as a killed process leaves it.
  void leave_behind() {
    const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path.c_str());
    ASSERT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }

  TestDirectory directory;
  std::filesystem::path path = directory.path() / "s";
};

TEST_F(UnixListenerTest, gives_owner_and_group_access_and_nobody_else) {
  const mode_t umask_before = ::umask(0);
  const auto listener = UnixListener::open(path, std::nullopt);
  ::umask(umask_before);
  ASSERT_TRUE(listener) << listener.error().message;
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0660U);
}

TEST_F(UnixListenerTest, belongs_to_the_group_that_is_named) {
  const group* mine = ::getgrgid(::getegid());
  if (mine == nullptr) GTEST_SKIP() << "the group of this process has no name";
  const auto listener = UnixListener::open(path, mine->gr_name);
  ASSERT_TRUE(listener) << listener.error().message;
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_gid, ::getegid());
}

TEST_F(UnixListenerTest, replaces_a_socket_that_was_left_behind) {
  leave_behind();
  const auto listener = UnixListener::open(path, std::nullopt);
  EXPECT_TRUE(listener) << listener.error().message;
}

TEST_F(UnixListenerTest, leaves_a_socket_alone_that_somebody_listens_on) {
  const auto first = UnixListener::open(path, std::nullopt);
  ASSERT_TRUE(first);
  const auto second = UnixListener::open(path, std::nullopt);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kInvalid);
  EXPECT_EQ(second.error().message, "somebody listens on " + path.string() + " already");
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST_F(UnixListenerTest, replaces_a_socket_of_another_type_only_when_it_was_left_behind) {
  leave_behind();
  const auto datagrams = UnixListener::open(path, std::nullopt, UnixListener::Type::kDatagram);
  ASSERT_TRUE(datagrams) << datagrams.error().message;
  const auto stream = UnixListener::open(path, std::nullopt);
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().message, "somebody listens on " + path.string() + " already");
}

TEST_F(UnixListenerTest, touches_nothing_that_is_no_socket) {
  std::ofstream(path) << "precious";
  const auto listener = UnixListener::open(path, std::nullopt);
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().code, Code::kInvalid);
  EXPECT_EQ(std::filesystem::file_size(path), 8U);
}

TEST_F(UnixListenerTest, removes_its_own_file_and_no_other) {
  {
    const auto listener = UnixListener::open(path, std::nullopt);
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  {
    const auto listener = UnixListener::open(path, std::nullopt);
    std::filesystem::remove(path);
    std::ofstream(path) << "another's";
  }
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST_F(UnixListenerTest, says_what_cannot_be) {
  const auto no_group = UnixListener::open(path, "no such group");
  ASSERT_FALSE(no_group);
  EXPECT_EQ(no_group.error().message, "there is no group 'no such group'");
  const auto too_long = UnixListener::open(directory.path() / std::string(120, 'x'), std::nullopt);
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().code, Code::kInvalid);
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

}  // namespace
}  // namespace hyperward::daemon
