// Modules of the file and of run time, in the daemon whole.
#include "daemon/daemon_fixture.h"

#include <gmock/gmock.h>

namespace hyperward::daemon {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

ModuleConfig denies(int port, std::string name = "gate") {
  return {.name = std::move(name),
          .file = DENY_PORT_MODULE,
          .run = ModuleConfig::Run::kDaemon,
          .settings = fmt::format(R"({{"port":{}}})", port)};
}

json on_port(int port) {
  return {{"settings", {{"port", port}}}};
}

class DaemonModulesTest : public DaemonTest {
 protected:
  void write_guest_with(const std::string& modules) const {
    write("guests.d/web.toml",
          fmt::format("guest.name = 'web'\n[guard]\ntap = '{}'\nrules = '../web.rules'\n{}", TestNet::kTap, modules));
  }
  static std::string of_file(int port, std::string_view name = "gate") {
    return fmt::format("[[module]]\nname = '{}'\nfile = '{}'\nrun = 'daemon'\nsettings.port = {}\n", name,
                       DENY_PORT_MODULE, port);
  }
  [[nodiscard]] std::vector<std::string> modules() const {
    std::vector<std::string> all;
    for (const json& module : value_of(daemon->modules("web")))
      all.push_back(fmt::format("{} of {}", module["name"].get<std::string>(), module["origin"].get<std::string>()));
    return all;
  }
};

TEST_F(DaemonModulesTest, judge_when_the_call_returns_and_no_more_when_they_are_unloaded) {
  start_and_guard();
  ASSERT_TRUE(passes(syn(25)));
  const json module = value_of(daemon->load_module("web", denies(25)));
  EXPECT_EQ(mistake("Module", module), "");
  EXPECT_TRUE(is_cut(syn(25))) << "a flow that was allowed";
  EXPECT_TRUE(is_cut(syn(25, kServer, 40001))) << "a new flow";
  EXPECT_TRUE(passes(syn(26)));
  EXPECT_THAT(modules(), testing::ElementsAre("gate of run-time"));

  value_of(daemon->unload_module("web", "gate"));
  EXPECT_TRUE(passes(syn(25, kServer, 40002)));
  EXPECT_THAT(modules(), IsEmpty());
  for (const char* type : {"module-loaded", "module-unloaded"}) EXPECT_THAT(events(type), SizeIs(1)) << type;
}

TEST_F(DaemonModulesTest, name_themselves_where_flows_are_shown) {
  start_and_guard();
  value_of(daemon->load_module("web", denies(25)));
  ASSERT_TRUE(is_cut(syn(25)));
  const json flow = value_of(daemon->flows("web", true, 10))[0];
  EXPECT_EQ(mistake("Flow", flow), "");
  EXPECT_EQ(flow["rule"]["module"], "gate");
  EXPECT_EQ(flow["rule"]["code"], 1);
  ASSERT_THAT(events("flow-denied"), SizeIs(1));
  EXPECT_EQ(events("flow-denied")[0].data["rule"], "module gate (code 1): port 25");
}

TEST_F(DaemonModulesTest, that_are_swapped_leave_flows_their_verdicts) {
  start_and_guard();
  value_of(daemon->load_module("web", denies(25)));
  ASSERT_TRUE(passes(syn(26)));
  ASSERT_TRUE(is_cut(syn(25)));
  const json swapped = value_of(daemon->swap_module("web", "gate", on_port(26)));
  EXPECT_EQ(swapped["settings"]["port"], 26);
  EXPECT_TRUE(passes(syn(26)));
  EXPECT_TRUE(is_cut(syn(25)));
  EXPECT_TRUE(is_cut(syn(26, kServer, 40001))) << "a new flow";
  EXPECT_TRUE(passes(syn(25, kServer, 40001)));
  EXPECT_THAT(events("module-swapped"), SizeIs(1));
}

TEST_F(DaemonModulesTest, that_do_not_load_change_nothing_and_say_why) {
  start_and_guard();
  value_of(daemon->load_module("web", denies(25)));
  ModuleConfig portless = denies(26, "second");
  portless.settings = "{}";
  const auto refused = daemon->load_module("web", portless);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalid);
  EXPECT_THAT(refused.error().message, HasSubstr("module deny_port refuses its settings: it wants a port"));
  ModuleConfig nowhere = denies(26, "second");
  nowhere.file = "/nowhere.so";
  EXPECT_EQ(daemon->load_module("web", nowhere).error().code, Code::kInvalid);
  EXPECT_EQ(daemon->swap_module("web", "gate", {{"settings", json::object()}}).error().code, Code::kInvalid);
  EXPECT_TRUE(is_cut(syn(25)));
  EXPECT_THAT(modules(), testing::ElementsAre("gate of run-time"));
  daemon.reset();
  start_and_guard();
  EXPECT_EQ(value_of(daemon->modules("web"))[0]["settings"], json({{"port", 25}}));
}

TEST_F(DaemonModulesTest, of_run_time_judge_again_after_a_restart_behind_those_of_the_file) {
  write_guest_with(of_file(25));
  start_and_guard();
  EXPECT_TRUE(is_cut(syn(25)));
  value_of(daemon->load_module("web", denies(26, "second")));
  value_of(daemon->load_module("web", denies(27, "third")));
  value_of(daemon->swap_module("web", "second", on_port(28)));
  daemon.reset();

  start_and_guard();
  EXPECT_THAT(modules(), testing::ElementsAre("gate of file", "second of run-time", "third of run-time"));
  for (const uint16_t port : {uint16_t{25}, uint16_t{27}, uint16_t{28}}) EXPECT_TRUE(is_cut(syn(port))) << port;
  EXPECT_TRUE(passes(syn(26)));
}

TEST_F(DaemonModulesTest, of_the_file_change_with_it_alone) {
  write_guest_with(of_file(25));
  start_and_guard();
  EXPECT_EQ(daemon->unload_module("web", "gate").error().message,
            "module 'gate' is of the guest's file: change it there, and reload");
  EXPECT_EQ(daemon->swap_module("web", "gate", on_port(26)).error().code, Code::kInvalid);
  EXPECT_EQ(daemon->load_module("web", denies(26)).error().message, "'web' has a module 'gate' already");
  EXPECT_EQ(daemon->unload_module("web", "other").error().code, Code::kNotFound);

  write_guest_with(of_file(26) + of_file(27, "second"));
  value_of(daemon->reload());
  EXPECT_TRUE(passes(syn(25)));
  EXPECT_TRUE(is_cut(syn(26)));
  EXPECT_TRUE(is_cut(syn(27)));
  write_guest_with("");
  value_of(daemon->reload());
  EXPECT_TRUE(passes(syn(26, kServer, 40001)));
  EXPECT_THAT(modules(), IsEmpty());
}

TEST_F(DaemonModulesTest, with_a_mistake_leave_all_as_it_was_when_files_are_reloaded) {
  write_guest_with(of_file(25));
  start_and_guard();
  write("web.rules", "default deny\n");
  write_guest_with(of_file(25) + "[[module]]\nfile = '/nowhere.so'\n");
  EXPECT_THAT(daemon->reload().error().message, HasSubstr("module 'nowhere': there is no file /nowhere.so"));
  EXPECT_TRUE(is_cut(syn(25)));
  EXPECT_TRUE(passes(syn(26)));

  value_of(daemon->load_module("web", denies(27, "second")));
  write_guest_with(of_file(25) + of_file(26, "second"));
  EXPECT_THAT(daemon->reload().error().message,
              HasSubstr("'second' is in the guest's file and was loaded at run time"));
  EXPECT_TRUE(passes(syn(26)));
}

TEST_F(DaemonModulesTest, of_a_guest_that_does_not_run_are_tried_and_judge_when_it_does) {
  machines.run("web", std::nullopt);
  start();
  ASSERT_TRUE(eventually([&] { return state_of("web") == "absent"; }));
  ModuleConfig portless = denies(25, "second");
  portless.settings = "{}";
  EXPECT_EQ(daemon->load_module("web", portless).error().code, Code::kInvalid);
  const json module = value_of(daemon->load_module("web", denies(25)));
  EXPECT_EQ(mistake("Module", module), "");
  EXPECT_EQ(module["status"], nullptr);
  machines.run("web", ::getpid());
  ASSERT_TRUE(is_guarded("web"));
  EXPECT_TRUE(is_cut(syn(25)));
  EXPECT_TRUE(passes(syn(26)));
}

// Without its modules a guest would be open where it was not.
TEST_F(DaemonModulesTest, that_are_gone_at_the_start_keep_the_guest_from_being_guarded_until_they_are_unloaded) {
  const std::filesystem::path file = directory.path() / "gone.so";
  std::filesystem::copy_file(DENY_PORT_MODULE, file);
  start_and_guard();
  ModuleConfig module = denies(25);
  module.file = file;
  value_of(daemon->load_module("web", module));
  daemon.reset();
  std::filesystem::remove(file);
  start();
  ASSERT_TRUE(eventually([&] { return state_of("web") == "failed"; }));
  EXPECT_THAT(value_of(daemon->guest("web"))["problem"], HasSubstr("web: module 'gate': there is no file"));
  value_of(daemon->unload_module("web", "gate"));
  EXPECT_TRUE(is_guarded("web"));
}

TEST_F(DaemonModulesTest, are_counted) {
  start_and_guard();
  value_of(daemon->load_module("web", denies(25)));
  ASSERT_TRUE(is_cut(syn(25)));
  ASSERT_TRUE(passes(syn(26)));
  EXPECT_TRUE(eventually([&] {
    const std::string metrics = value_of(daemon->metrics());
    return metrics.find("hyperward_module_asked_total{guest=\"web\",module=\"gate\"} 2\n") != metrics.npos &&
           metrics.find("hyperward_module_denied_total{guest=\"web\",module=\"gate\"} 1\n") != metrics.npos &&
           metrics.find("hyperward_module_events_total{guest=\"web\",module=\"gate\",counter=\"passed\"} 1\n") !=
               metrics.npos;
  }));
  EXPECT_EQ(value_of(daemon->status())["guests"][0]["modules"], 1);
  EXPECT_EQ(mistake("Status", value_of(daemon->status())), "");
  EXPECT_EQ(mistake("Guest", value_of(daemon->guest("web"))), "");
}

}  // namespace
}  // namespace hyperward::daemon
