// Rules of run time, in the daemon whole.
#include "daemon/daemon_fixture.h"

#include <gmock/gmock.h>

namespace hyperward::daemon {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

TEST_F(DaemonTest, rules_take_hold_of_frames_when_the_call_returns) {
  start_and_guard();
  ASSERT_TRUE(passes(syn(25)));
  const json rule = value_of(daemon->add_rule("web", "deny to tcp port 25"));
  EXPECT_TRUE(is_cut(syn(25))) << "a flow that was allowed";
  EXPECT_TRUE(is_cut(syn(25, kServer, 40001))) << "a new flow";
  EXPECT_TRUE(passes(syn(26)));
  EXPECT_EQ(mistake("Rule", rule), "");

  const json replaced = value_of(daemon->replace_rule("web", rule["id"], "deny to tcp port 26"));
  EXPECT_EQ(replaced["id"], rule["id"]);
  EXPECT_TRUE(passes(syn(25)));
  EXPECT_TRUE(is_cut(syn(26)));

  value_of(daemon->remove_rule("web", rule["id"]));
  EXPECT_TRUE(passes(syn(26)));
  EXPECT_THAT(events("rule-added"), SizeIs(1));
  EXPECT_THAT(events("rule-replaced"), SizeIs(1));
  EXPECT_THAT(events("rule-removed"), SizeIs(1));
}

TEST_F(DaemonTest, a_rule_ends_when_its_time_has_come) {
  start_and_guard();
  value_of(daemon->add_rule("web", "deny to tcp port 25 for 1s"));
  daemon->tick();
  EXPECT_TRUE(is_cut(syn(25)));
  std::this_thread::sleep_for(1s);
  daemon->tick();
  EXPECT_TRUE(eventually([&] { return !events("rule-removed").empty(); }));
  EXPECT_TRUE(passes(syn(25)));
  EXPECT_THAT(value_of(daemon->rules("web"))["run_time"], IsEmpty());
}

TEST_F(DaemonTest, rules_are_in_force_again_after_a_restart_and_those_that_ended_meanwhile_are_not) {
  start_and_guard();
  value_of(daemon->add_rule("web", "deny to tcp port 25"));
  value_of(daemon->add_rule("web", "deny to tcp port 26 for 1s"));
  ASSERT_TRUE(passes(syn(80)));
  daemon.reset();
  EXPECT_TRUE(passes(syn(80))) << "known flows go on without a daemon";
  EXPECT_TRUE(is_cut(syn(81))) << "new ones meet the default";
  std::this_thread::sleep_for(1s);

  start_and_guard();
  EXPECT_TRUE(is_cut(syn(25)));
  EXPECT_TRUE(passes(syn(26)));
  EXPECT_TRUE(passes(syn(81)));
  EXPECT_THAT(value_of(daemon->rules("web"))["run_time"], SizeIs(1));
}

TEST_F(DaemonTest, refuses_what_is_no_rule_of_this_guest_and_changes_nothing) {
  start_and_guard();
  EXPECT_EQ(daemon->add_rule("web", "deny to tcp prt 25").error().code, Code::kInvalid);
  EXPECT_EQ(daemon->add_rule("nobody", "deny to any").error().code, Code::kNotFound);
  write_guest("mail", "none0");
  value_of(daemon->reload());
  const json rule = value_of(daemon->add_rule("web", "deny to tcp port 25"));
  EXPECT_EQ(daemon->remove_rule("mail", rule["id"]).error().code, Code::kNotFound);
  EXPECT_EQ(daemon->replace_rule("mail", rule["id"], "deny to any").error().code, Code::kNotFound);
  EXPECT_TRUE(is_cut(syn(25)));
  EXPECT_TRUE(passes(syn(26)));
}

TEST_F(DaemonTest, a_change_that_is_stored_is_told_of_though_the_guard_does_not_answer) {
  patience = 100ms;
  std::optional<Machine> machine("web");
  machines.run("web", machine->pid());
  start_and_guard();
  const json rule = value_of(daemon->add_rule("web", "deny to tcp port 25"));
  machines.stick("web");
  machine.reset();
  ASSERT_TRUE(eventually([&] { return machines.somebody_waits(); }));
  const auto removed = daemon->remove_rule("web", rule["id"]);
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().message, "the guard of 'web' has not answered within 100 ms");
  EXPECT_THAT(events("rule-removed"), SizeIs(1));
}

TEST_F(DaemonTest, a_guest_that_is_stuck_holds_up_nothing_that_time_asks_for) {
  machines.run("web", std::nullopt);
  start();
  ASSERT_TRUE(eventually([&] { return state_of("web") == "absent"; }));
  value_of(daemon->add_rule("web", "deny to tcp port 25 for 1s"));
  machines.stick("web");
  ASSERT_TRUE(eventually([&] { return machines.somebody_waits(); }));
  std::this_thread::sleep_for(1s);
  const auto began = std::chrono::steady_clock::now();
  daemon->tick();
  EXPECT_LT(std::chrono::steady_clock::now() - began, patience / 2);
  EXPECT_THAT(events("rule-removed"), IsEmpty()) << "it is told of when it is in force no more";
  machines.release();
  EXPECT_TRUE(eventually([&] { return events("rule-removed").size() == 1; }));
}

}  // namespace
}  // namespace hyperward::daemon
