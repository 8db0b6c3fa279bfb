#include "guest/types.h"

#include <gtest/gtest.h>

#include "guest/fake_kernel.h"
#include "guest/files.h"

namespace hyperward::guest {
namespace {

TEST(Printable, leaves_text_as_it_is) {
  EXPECT_EQ(printable("nginx: worker"), "nginx: worker");
  EXPECT_EQ(printable("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f");
}

TEST(Printable, escapes_what_a_terminal_would_obey) {
  EXPECT_EQ(printable("\x1b[2J"), "\\x1b[2J");
  EXPECT_EQ(printable("a\nb\\x"), "a\\x0ab\\x5cx");
  EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b");           // the C1 control sequence introducer
  EXPECT_EQ(printable("\xe2\x80\xae"), "\\xe2\\x80\\xae");  // right-to-left override
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
}

TEST(Printable, escapes_what_is_no_utf8) {
  EXPECT_EQ(printable("\xff"), "\\xff");
  EXPECT_EQ(printable("\xc3"), "\\xc3");
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");           // overlong
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // surrogate
}

TEST(Owner, says_who_how_and_why) {
  Owner owner;
  owner.reason = Reason::kTimeWait;
  EXPECT_EQ(to_string(owner), "unknown, by unknown: its socket is closed, the connection lingers in TIME-WAIT");
  owner.how = How::kCredentials;
  owner.reason = Reason::kNone;
  owner.uid = 1000;
  owner.process = ProcessId{412,
                            "n\x1b"
                            "c",
                            5};
  EXPECT_EQ(to_string(owner), "uid 1000, n\\x1bc (pid 412), by credentials fd 0");
}

class FilesTest : public testing::Test {
 protected:
  FakeKernel kernel_;
  Files files_{kernel_, kernel_.layout};
  GuestVirtual task_ = kernel_.add_process(1, "p", 0);
  GuestVirtual table_ = {kernel_.at<FakeKernel::Task>(task_).files};
  FakeKernel::Table& table() { return kernel_.at<FakeKernel::Table>({kernel_.at<FakeKernel::Files>(table_).table}); }
};

TEST_F(FilesTest, finds_a_file_wherever_its_descriptor_is) {
  for (const uint32_t fd : {0U, 5U, FakeKernel::kFds - 1}) {
    const GuestVirtual file = kernel_.put(FakeKernel::File{});
    kernel_.set_fd(task_, fd, file);
    kernel_.at<FakeKernel::Files>(table_).next_fd = 6;
    EXPECT_EQ(files_.find(table_, file), fd);
    EXPECT_TRUE(files_.holds(table_, fd, file));
  }
}

TEST_F(FilesTest, finds_no_file_that_is_not_there) {
  EXPECT_FALSE(files_.find(table_, {FakeKernel::kBase}));
  EXPECT_FALSE(files_.holds(table_, FakeKernel::kFds, {}));
}

TEST_F(FilesTest, bounds_a_table_of_impossible_size) {
  table().capacity = UINT32_MAX;
  EXPECT_EQ(files_.table(table_)->capacity, Files::kMaxFds);
  EXPECT_FALSE(files_.find(table_, {0x123456789}));  // the slots run out of memory
}

}  // namespace
}  // namespace hyperward::guest
