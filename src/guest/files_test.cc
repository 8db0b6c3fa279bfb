#include "guest/files.h"

#include <gtest/gtest.h>

#include "guest/fake_kernel.h"

namespace hyperward::guest {
namespace {

class OpenFilesTest : public testing::Test {
 protected:
  GuestVirtual sock_of(GuestVirtual file) { return files_.sock_of(file, files_.read(file).value()); }

  FakeKernel kernel_;
  Files files_{kernel_, kernel_.layout};
  GuestVirtual task_ = kernel_.add_process(7, "nc", 1000);
  GuestVirtual sock_ = kernel_.add_sock(kernel_.roots.init_net, {}, {}, TcpState::kClose);
  GuestVirtual file_ = kernel_.open_socket(sock_, task_, 8123);
};

TEST_F(OpenFilesTest, knows_the_sock_and_the_inode_of_a_socket) {
  EXPECT_EQ(sock_of(file_), sock_);
  EXPECT_EQ(files_.inode_number(files_.read(file_).value()), 8123U);
}

TEST_F(OpenFilesTest, takes_no_other_file_for_a_socket) {
  auto plain = kernel_.at<FakeKernel::File>(file_);
  const GuestVirtual copy = kernel_.put(plain);  // its socket points back at another file
  EXPECT_TRUE(sock_of(copy).is_null());
  plain.private_data = 0;
  EXPECT_TRUE(sock_of(kernel_.put(plain)).is_null());
  plain.private_data = 0x1234;
  EXPECT_TRUE(sock_of(kernel_.put(plain)).is_null());
}

TEST_F(OpenFilesTest, takes_no_sock_that_belongs_to_another_socket) {
  kernel_.at<FakeKernel::Sock>(sock_).socket = 0x1234;
  EXPECT_TRUE(sock_of(file_).is_null());
}

}  // namespace
}  // namespace hyperward::guest
