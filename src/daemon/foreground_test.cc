// What goes before a guard that runs; how one runs and ends is tests/e2e/test_guard.py's.
#include "daemon/foreground.h"

#include <pthread.h>
#include <signal.h>

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/test_directory.h"

namespace hyperward::daemon {
namespace {

// The signals that a test blocks are its own matter.
class ForegroundTest : public testing::Test {
 protected:
  ForegroundTest() { ::pthread_sigmask(SIG_SETMASK, nullptr, &before_); }
  ~ForegroundTest() override { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  [[nodiscard]] Error mistake(const std::string& name) const {
    const auto guarded = guard_in_foreground(directory_.path() / name);
    return guarded ? Error{Code::kSystem, "it guarded, and ended"} : guarded.error();
  }
  void write(const std::string& name, std::string_view text) const { std::ofstream(directory_.path() / name) << text; }

  TestDirectory directory_;

 private:
  sigset_t before_{};
};

TEST_F(ForegroundTest, reads_each_signal_once_instead_of_dying_of_it) {
  const auto signals = watch_signals();
  ASSERT_TRUE(signals) << signals.error().message;
  EXPECT_EQ(next_signal(*signals), 0);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    ASSERT_EQ(::pthread_kill(::pthread_self(), signal), 0);
    EXPECT_EQ(next_signal(*signals), signal);
    EXPECT_EQ(next_signal(*signals), 0);
  }
}

TEST_F(ForegroundTest, says_which_file_is_missing) {
  EXPECT_THAT(mistake("web.toml").message, testing::HasSubstr("web.toml: No such file"));
  write("web.toml", "guest.name = 'web'\nguard = {tap = 'none0', rules = 'web.rules'}\n");
  EXPECT_THAT(mistake("web.toml").message, testing::HasSubstr("web.rules: No such file"));
}

TEST_F(ForegroundTest, tells_of_a_mistake_in_the_rules_before_it_looks_for_the_guest) {
  write("web.toml", "guest.name = 'web'\nguard = {tap = 'none0', rules = 'web.rules'}\n");
  write("web.rules", "default allow\ndeny to tcp prt 25\n");
  EXPECT_THAT(mistake("web.toml").message, testing::HasSubstr("web.rules:2:13"));
}

TEST_F(ForegroundTest, says_that_its_guest_does_not_run) {
  write("web.toml", "guest.name = 'nobody-has-this-name'\nguard = {tap = 'none0', rules = 'web.rules'}\n");
  write("web.rules", "default allow\n");
  const Error error = mistake("web.toml");
  EXPECT_EQ(error.code, Code::kNotFound);
  EXPECT_THAT(error.message, testing::HasSubstr("nobody-has-this-name"));
}

}  // namespace
}  // namespace hyperward::daemon
