// Guests that come and go, are found, and are read anew, in the daemon whole.
#include "daemon/daemon_fixture.h"

#include <gmock/gmock.h>

namespace hyperward::daemon {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

TEST_F(DaemonTest, a_guest_that_ends_and_comes_back_is_guarded_again_without_its_old_flows) {
  std::optional<Machine> machine("web");
  machines.run("web", machine->pid());
  start_and_guard();
  ASSERT_TRUE(passes(syn(25)));
  EXPECT_EQ(value_of(daemon->guest("web"))["qemu_pid"], machine->pid());

  machines.run("web", std::nullopt);
  machine.reset();
  ASSERT_TRUE(eventually([&] { return state_of("web") == "absent"; }));
  EXPECT_TRUE(value_of(daemon->guest("web"))["qemu_pid"].is_null());
  EXPECT_THAT(events("guest-gone"), SizeIs(1));

  machine.emplace("web");
  machines.run("web", machine->pid());
  ASSERT_TRUE(is_guarded("web"));
  EXPECT_THAT(value_of(daemon->flows("web", false, 10)), IsEmpty());
  EXPECT_TRUE(passes(syn(26)));
  EXPECT_THAT(events("guest-guarded"), SizeIs(2));
}

TEST_F(DaemonTest, a_guest_that_nobody_wrote_a_file_for_is_found_guarded_and_forgotten) {
  write("found.toml", "guard = {rules = 'web.rules'}\n");
  write("hyperward.toml", settings("[find]\nqemu_taps = ['found*']\ntemplate = 'found.toml'\n"));
  const Fd tap = value_of(datapath::test::make_tap("found0"));
  std::optional<Machine> machine(std::in_place, "db", tap);
  start_and_guard();
  ASSERT_TRUE(is_guarded("db"));
  EXPECT_EQ(value_of(daemon->guest("db"))["default"], "deny");

  write("found.toml", "guard = {rules = 'web.rules', default = 'allow'}\n");
  value_of(daemon->reload());
  EXPECT_EQ(value_of(daemon->guest("db"))["default"], "allow") << "another template holds for guests found before";

  write("hyperward.toml", settings());
  value_of(daemon->reload());
  EXPECT_THAT(names(), ElementsAre("web"));
  write("hyperward.toml", settings("[find]\nqemu_taps = ['found*']\ntemplate = 'found.toml'\n"));
  value_of(daemon->reload());
  ASSERT_TRUE(is_guarded("db")) << "it is found again";

  machine.reset();
  EXPECT_TRUE(eventually([&] { return names() == std::vector<std::string>{"web"}; }));
}

TEST_F(DaemonTest, a_guest_that_was_found_becomes_that_of_the_file_that_names_it) {
  write("found.toml", "guard = {rules = 'web.rules'}\n");
  write("hyperward.toml", settings("[find]\nqemu_taps = ['found*']\ntemplate = 'found.toml'\n"));
  const Fd tap = value_of(datapath::test::make_tap("found0"));
  std::optional<Machine> machine(std::in_place, "db", tap);
  machines.run("database", machine->pid());
  machines.run("db", machine->pid());
  start_and_guard();
  ASSERT_TRUE(is_guarded("db"));

  write_guest("database", "found0");  // by its tap
  value_of(daemon->reload());
  EXPECT_THAT(names(), ElementsAre("database", "web"));
  ASSERT_TRUE(is_guarded("database"));
  std::filesystem::remove(directory.path() / "guests.d/database.toml");
  write_guest("db", "found0");  // by its name
  value_of(daemon->reload());
  EXPECT_THAT(names(), ElementsAre("db", "web"));
  ASSERT_TRUE(is_guarded("db"));

  machines.run("db", std::nullopt);
  machine.reset();
  ASSERT_TRUE(eventually([&] { return state_of("db") == "absent"; }));
  std::this_thread::sleep_for(1500ms);  // somebody looks for guests meanwhile
  EXPECT_THAT(names(), ElementsAre("db", "web")) << "it is configured, whether it runs or not";
}

TEST_F(DaemonTest, fifty_guests_are_told_of_and_reloaded) {
  constexpr int kGuests = 50;
  std::vector<Fd> taps;
  for (int i = 1; i <= kGuests; ++i) taps.push_back(value_of(datapath::test::make_tap(fmt::format("many{}", i))));
  for (int i = 1; i < kGuests; ++i) write_guest(fmt::format("g{}", i), fmt::format("many{}", i));
  start();
  for (const std::string& name : names()) ASSERT_TRUE(is_guarded(name)) << name;
  ASSERT_THAT(names(), SizeIs(kGuests));

  const auto began = std::chrono::steady_clock::now();
  const json status = value_of(daemon->status());
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
  fmt::print("status() of {} guests took {:.2f} ms\n", status["guests"].size(), took.count());
  EXPECT_THAT(status["guests"], SizeIs(kGuests));

  write("g2.rules", "default allow\ndeny to tcp port 25\n");
  write_guest("g2", "many2", "g2.rules");
  write_guest("g50", "many50");
  std::filesystem::remove(directory.path() / "guests.d/g1.toml");
  EXPECT_EQ(value_of(daemon->reload()), (json{{"guests", kGuests}, {"rules", 1}}));
  EXPECT_FALSE(daemon->guest("g1"));
  EXPECT_TRUE(is_guarded("g50"));
  EXPECT_THAT(value_of(daemon->rules("g2"))["file"], SizeIs(1));

  const json before = value_of(daemon->guests());
  write("g2.rules", "default deny\n");
  write("guests.d/g3.toml", "[guest\n");
  std::filesystem::remove(directory.path() / "guests.d/g4.toml");
  EXPECT_FALSE(daemon->reload());
  EXPECT_THAT(names(), SizeIs(kGuests));
  EXPECT_THAT(value_of(daemon->rules("g2"))["file"], SizeIs(1)) << "one broken file changes nothing";
}

TEST_F(DaemonTest, a_guest_whose_tap_is_another_is_guarded_anew_at_once) {
  const Fd other = value_of(datapath::test::make_tap("other0"));
  start_and_guard();
  value_of(daemon->add_rule("web", "deny to tcp port 25"));
  write_guest("web", "other0");
  value_of(daemon->reload());
  ASSERT_TRUE(is_guarded("web"));
  EXPECT_EQ(value_of(daemon->guest("web"))["rules"]["run_time"], 1);
  std::filesystem::rename(directory.path() / "guests.d/web.toml", directory.path() / "guests.d/old");
  write_guest("mail", "other0");  // another name for what is guarded
  value_of(daemon->reload());
  EXPECT_TRUE(eventually([&] { return state_of("mail") != "absent"; }));
  EXPECT_EQ(state_of("mail"), "unreadable") << "the guard before has left the tap";
}

}  // namespace
}  // namespace hyperward::daemon
