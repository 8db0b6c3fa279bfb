#include "cli/waiting.h"

#include <fcntl.h>
#include <stdlib.h>

#include <array>

#include <gtest/gtest.h>

#include "base/fd.h"

namespace hyperward::cli {
namespace {

using namespace std::chrono_literals;

class WaitingTest : public testing::Test {
 protected:
  void SetUp() override {
    screen = Fd(::posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK));
    ASSERT_TRUE(screen.valid());
    ASSERT_EQ(::grantpt(screen.get()), 0);
    ASSERT_EQ(::unlockpt(screen.get()), 0);
    std::array<char, 64> name{};
    ASSERT_EQ(::ptsname_r(screen.get(), name.data(), name.size()), 0);
    terminal = Fd(::open(name.data(), O_RDWR | O_NOCTTY));
    ASSERT_TRUE(terminal.valid());
  }
  [[nodiscard]] std::string shown() const {
    std::array<char, 4096> text{};
    const ssize_t size = ::read(screen.get(), text.data(), text.size());
    return {text.data(), size < 0 ? 0 : static_cast<size_t>(size)};
  }

  Fd screen, terminal;
};

TEST_F(WaitingTest, says_what_takes_longer_than_a_second_and_wipes_it_out) {
  {
    const Waiting waiting("reading a dump", terminal.get());
    std::this_thread::sleep_for(1500ms);
    EXPECT_EQ(shown(), "\r\x1b[Khyperward: reading a dump (1 s)");
  }
  EXPECT_EQ(shown(), "\r\x1b[K");
}

TEST_F(WaitingTest, says_nothing_of_what_is_done_soon) {
  {
    const Waiting waiting("reading a dump", terminal.get());
  }
  EXPECT_EQ(shown(), "");
}

TEST(Waiting, says_nothing_to_what_is_no_terminal) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
  const Fd reading(ends[0]), writing(ends[1]);
  {
    const Waiting waiting("reading a dump", writing.get());
    std::this_thread::sleep_for(1200ms);
  }
  char text = 0;
  EXPECT_EQ(::read(reading.get(), &text, 1), -1);
}

}  // namespace
}  // namespace hyperward::cli
