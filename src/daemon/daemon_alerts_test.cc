// What is found, what IDSs report, and what is done about it, in the daemon whole.
#include "daemon/daemon_fixture.h"

#include <gmock/gmock.h>

namespace hyperward::daemon {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

TEST_F(DaemonTest, a_scan_is_found_and_cut_and_nothing_else_is_until_somebody_undoes_it) {
  start_and_guard();
  scan(22);
  ASSERT_TRUE(eventually([&] { return !value_of(daemon->responses({})).empty(); }));
  const json response = value_of(daemon->response(1));
  EXPECT_EQ(response["rule_text"], "deny log to tcp port 22 from unknown");
  EXPECT_EQ(response["answered"]["kind"], "horizontal-scan");
  EXPECT_EQ(response["state"], "in-force");
  ASSERT_TRUE(eventually([&] { return value_of(daemon->guest("web"))["rules"]["run_time"] == 1; }));
  EXPECT_TRUE(is_cut(syn(22)));
  EXPECT_TRUE(passes(syn(443))) << "what the response does not name goes on";

  EXPECT_EQ(value_of(daemon->undo(1))["state"], "undone");
  EXPECT_TRUE(passes(syn(22)));
  EXPECT_FALSE(daemon->undo(1));
}

TEST_F(DaemonTest, what_was_undone_stays_undone_over_a_reload) {
  start_and_guard();
  scan(22);
  ASSERT_TRUE(eventually([&] { return !value_of(daemon->responses({})).empty(); }));
  value_of(daemon->undo(1));
  value_of(daemon->reload());
  scan(22);
  std::this_thread::sleep_for(1s);
  EXPECT_THAT(value_of(daemon->responses({})), SizeIs(1));
  EXPECT_TRUE(passes(syn(22)));
}

TEST_F(DaemonTest, alerts_of_an_ids_come_in_by_file) {
  const std::filesystem::path file = directory.path() / "eve.json";
  write("hyperward.toml", settings(fmt::format("[[ids]]\nfile = '{}'\n", file.string())));
  start_and_guard();
  daemon->tick();
  ASSERT_TRUE(passes(syn(25)));
  std::ofstream(file) << fmt::format(R"({{"protocol":"tcp","source":"{}:40000","destination":"{}:25","text":"spam"}})",
                                     to_string(kGuest), to_string(kServer))
                      << "\nnonsense\n{\"event_type\":\"stats\"}\n";
  daemon->tick();
  ASSERT_TRUE(eventually([&] { return !value_of(daemon->alerts({})).empty(); }));
  const json alerts = value_of(daemon->alerts({}));
  ASSERT_THAT(alerts, SizeIs(1));
  EXPECT_EQ(alerts[0]["kind"], "ids");
  const std::string metrics = value_of(daemon->metrics());
  for (const char* result : {"alert", "invalid", "other"})
    EXPECT_THAT(metrics, HasSubstr(fmt::format("hyperward_ids_lines_total{{result=\"{}\"}} 1\n", result)));
}

TEST_F(DaemonTest, a_guest_that_is_stuck_holds_up_no_alert_of_another) {
  write_guest("a", "none0");  // the first in every order
  machines.stick("a");
  start_and_guard();
  ASSERT_TRUE(eventually([&] { return machines.somebody_waits(); }));
  ASSERT_TRUE(passes(syn(25)));
  const auto began = std::chrono::steady_clock::now();
  const json taken = value_of(daemon->take_ids_line(
      "", fmt::format(R"({{"protocol":"tcp","source":"{}:40000","destination":"{}:25","text":"spam"}})",
                      to_string(kGuest), to_string(kServer))));
  EXPECT_EQ(taken["alert"]["guest"], "web");
  EXPECT_LT(std::chrono::steady_clock::now() - began, patience / 2);
}

}  // namespace
}  // namespace hyperward::daemon
