#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/control_fixture.h"

namespace hyperward::cli {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class ControlCommandsTest : public ControlTest {
 protected:
  // What a command that follows prints, until `meanwhile` is over.
  std::string follow(const std::vector<std::string>& words, const std::function<void()>& meanwhile) {
    std::thread other([&] {
      std::this_thread::sleep_for(300ms);
      meanwhile();
      for (daemon::FakeOperations* each : {&operations, &next}) each->fail_with(Error{Code::kInvalid, "enough"});
      serve(operations);
    });
    testing::internal::CaptureStderr();
    std::string printed = run(words);
    other.join();
    complaints = testing::internal::GetCapturedStderr();
    EXPECT_THAT(printed, testing::EndsWith("enough"));
    return printed;
  }

  daemon::FakeOperations next;
  std::string complaints;
};

TEST_F(ControlCommandsTest, status_shows_the_guests) {
  EXPECT_EQ(run({"status"}),
            "hyperward 0.1.0, up 12s, ok\n"
            "GUEST TAP  RULES MODULES FLOWS STATE\n"
            "web   tap0     7       1     3 guarded\n"
            "7 rules; 2 alerts today; 1 responses in force\n");
}

TEST_F(ControlCommandsTest, rule_add_puts_the_words_and_the_duration_together) {
  EXPECT_EQ(run({"rule", "add", "web", "deny", "from", "uid", "1000", "--for", "30m"}),
            "web: rule 5 is in force until 2025-03-01T12:30:00.000Z: deny from uid 1000 to tcp port 25\n");
  EXPECT_THAT(operations.asked(), ElementsAre("add_rule web: deny from uid 1000 for 30m"));
}

TEST_F(ControlCommandsTest, rule_replace_and_rm_name_the_rule) {
  run({"rule", "replace", "web", "5", "allow in"});
  EXPECT_EQ(run({"rule", "rm", "web", "5"}), "web: rule 5 is removed: deny from uid 1000 to tcp port 25\n");
  EXPECT_THAT(operations.asked(), ElementsAre("replace_rule web 5: allow in", "remove_rule web 5"));
}

TEST_F(ControlCommandsTest, rule_ls_shows_rules_of_run_time_before_those_of_the_file) {
  EXPECT_EQ(run({"rule", "ls", "web"}),
            "ID FROM       EXPIRES                  RULE\n"
            " 5 response 3 2025-03-01T12:30:00.000Z deny from uid 1000 to tcp port 25\n"
            " - line 3     -                        deny in\n"
            "default allow\n");
}

TEST_F(ControlCommandsTest, a_mistake_in_a_rule_is_told_as_the_daemon_tells_it) {
  operations.fail_with(Error{Code::kInvalid, "1:6: expected an owner"});
  EXPECT_EQ(run({"rule", "add", "web", "deny from"}), "1:6: expected an owner");
}

TEST_F(ControlCommandsTest, a_guests_words_reach_no_terminal_as_they_are) {
  EXPECT_THAT(run({"alerts"}), HasSubstr("nc\\x1b[2J (pid 412)"));
  EXPECT_THAT(run({"respond", "show", "3"}), Not(HasSubstr("\x1b")));
  EXPECT_THAT(run({"alerts", "--json"}), Not(HasSubstr("\x1b")));
}

TEST_F(ControlCommandsTest, alerts_asks_for_a_guests_newest) {
  run({"alerts", "my web", "-n", "5"});
  EXPECT_THAT(operations.asked(), ElementsAre("alerts 'my web' after 0 limit 5"));
}

size_t count(std::string_view text, std::string_view part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST_F(ControlCommandsTest, alerts_are_followed_without_showing_one_twice) {
  for (const int id : {9, 10})
    operations.events().publish("alert", "web", {{"id", id}, {"guest", "web"}, {"summary", "s"}});
  operations.events().publish("rule-added", "web", {{"id", 11}});
  const std::string printed = follow({"alerts", "-f"}, [&] {
    serve(operations);
    std::this_thread::sleep_for(800ms);
  });
  EXPECT_EQ(count(printed, "web mail-burst: uid 1000"), 1U);
  EXPECT_EQ(count(printed, "web -: s (alert 10)\n"), 1U);
  EXPECT_THAT(printed, Not(HasSubstr("web -: s (alert 9)")));
  EXPECT_THAT(printed, Not(HasSubstr("11")));
}

TEST_F(ControlCommandsTest, events_are_followed_where_the_connection_was_lost) {
  operations.events().publish("first", "web", json::object());
  const std::string printed = follow({"events", "-f"}, [&] {
    serve(operations);
    operations.events().publish("second", "web", json::object());
    std::this_thread::sleep_for(800ms);
  });
  EXPECT_EQ(count(printed, "web first: {}\n"), 1U);
  EXPECT_EQ(count(printed, "web second: {}\n"), 1U);
}

TEST_F(ControlCommandsTest, events_of_another_daemon_are_followed_from_its_first) {
  for (const char* type : {"first", "second"}) operations.events().publish(type, "web", json::object());
  next.started = "2025-03-02T12:00:00.000Z";
  next.events().publish("third", "web", json::object());
  const std::string printed = follow({"events", "-f"}, [&] {
    serve(next);
    std::this_thread::sleep_for(800ms);
  });
  EXPECT_EQ(count(printed, "web second: {}\n"), 1U);
  EXPECT_EQ(count(printed, "web third: {}\n"), 1U);
}

TEST_F(ControlCommandsTest, who_follows_is_told_once_that_the_daemon_has_gone) {
  follow({"events", "-f"}, [&] {
    server.reset();
    std::this_thread::sleep_for(1300ms);
  });
  EXPECT_EQ(count(complaints, "waiting for it to come back"), 1U);
}

TEST_F(ControlCommandsTest, nobody_waits_for_a_daemon_that_was_never_there) {
  server.reset();
  EXPECT_THAT(run({"events", "-f"}), HasSubstr("no hyperward daemon runs"));
}

TEST_F(ControlCommandsTest, events_ends_with_the_last_one_that_there_was) {
  EXPECT_EQ(run({"events"}), "");
  for (const char* guest : {"web", "db", "web"}) operations.events().publish("alert", guest, {{"comm", "\x1b[2J"}});
  operations.last_event_told = 2;
  const std::string printed = run({"events"});
  EXPECT_THAT(printed, HasSubstr(R"( web alert: {"comm":"\u001b[2J"})"));
  EXPECT_THAT(printed, HasSubstr(" db alert: "));
  EXPECT_EQ(std::count(printed.begin(), printed.end(), '\n'), 2);
  EXPECT_THAT(run({"events", "db"}), Not(HasSubstr("web")));
}

TEST_F(ControlCommandsTest, respond_shows_and_undoes) {
  EXPECT_THAT(run({"respond", "ls"}), HasSubstr("in-force"));
  EXPECT_THAT(run({"respond", "show", "3"}), HasSubstr("why       the policy denies the port\n"));
  EXPECT_THAT(run({"respond", "undo", "3"}), HasSubstr("web: response 3 is undone"));
  EXPECT_THAT(operations.asked(), ElementsAre("responses '' after 0 limit 100", "response 3", "undo 3"));
}

TEST_F(ControlCommandsTest, refuses_what_cannot_be_an_id) {
  EXPECT_EQ(run({"respond", "undo", "0"}), "id: '0' is no id");
  EXPECT_EQ(run({"rule", "rm", "web", "all"}), "id: 'all' is no id");
  EXPECT_THAT(operations.asked(), ElementsAre());
}

}  // namespace
}  // namespace hyperward::cli
