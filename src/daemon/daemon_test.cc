// The daemon whole: what it says, and all at a time.
#include "daemon/daemon_fixture.h"

#include <gmock/gmock.h>

namespace hyperward::daemon {
namespace {

using testing::HasSubstr;

TEST_F(DaemonTest, all_that_it_says_is_as_the_interface_describes_it) {
  machines.run("mail", std::nullopt);
  write_guest("mail", "none0");
  start_and_guard();
  scan(22);
  ASSERT_TRUE(eventually([&] { return !value_of(daemon->responses({})).empty(); }));
  const std::string line = fmt::format(
      R"({{"protocol":"tcp","source":"{}:25","destination":"{}:40000","text":"a \u001b[2Jname","severity":1}})",
      to_string(kServer), to_string(kGuest));
  ASSERT_TRUE(passes(syn(25)));
  const json taken = value_of(daemon->take_ids_line("", line));
  EXPECT_FALSE(taken["alert"].is_null()) << "the table knows the flow";
  EXPECT_FALSE(daemon->take_ids_line("", "no alert"));

  EXPECT_EQ(mistake("TakenAlert", taken), "");
  EXPECT_EQ(mistake("Status", value_of(daemon->status())), "");
  EXPECT_EQ(mistake("Rules", value_of(daemon->rules("web"))), "");
  EXPECT_EQ(mistake("ResponseWithAlert", value_of(daemon->response(1))), "");
  EXPECT_EQ(mistake("Reloaded", value_of(daemon->reload())), "");
  const auto check_all = [&](const char* schema, const json& values) {
    EXPECT_FALSE(values.empty()) << schema;
    for (const json& value : values) EXPECT_EQ(mistake(schema, value), "") << value;
  };
  check_all("Guest", value_of(daemon->guests()));
  check_all("Flow", value_of(daemon->flows("web", false, 1000)));
  check_all("Alert", value_of(daemon->alerts({})));
  check_all("Response", value_of(daemon->responses({})));
  for (const Event& event : daemon->events().after(0, 0ms).events) {
    EXPECT_EQ(mistake("Event", to_json(event)), "");
    std::string schema;
    if (event.type == "alert") schema = "Alert";
    if (event.type == "response") schema = "Response";
    if (event.type.starts_with("rule-")) schema = "Rule";
    if (!schema.empty()) {
      EXPECT_EQ(mistake(schema, event.data), "");
    }
  }

  const std::string metrics = value_of(daemon->metrics());
  EXPECT_THAT(metrics, HasSubstr("hyperward_findings_total{guest=\"web\",kind=\"horizontal-scan\"} 1\n"));
  EXPECT_THAT(metrics, HasSubstr("hyperward_guest_state{guest=\"mail\",state=\"absent\"} 1\n"));
  EXPECT_THAT(metrics, HasSubstr("hyperward_ids_lines_total{result=\"alert\"} 1\n"));
  EXPECT_THAT(metrics, HasSubstr("hyperward_ids_lines_total{result=\"invalid\"} 1\n"));
  EXPECT_THAT(metrics, HasSubstr("hyperward_ids_lines_total{result=\"other\"} 0\n"));
}

// For a sanitizer, mostly: everything at a time, until the daemon ends.
TEST_F(DaemonTest, bears_requests_reloads_and_frames_at_a_time) {
  const Fd other = value_of(datapath::test::make_tap("other0"));
  start_and_guard();
  std::atomic<bool> going = true;
  std::vector<std::jthread> clients;
  clients.emplace_back([&] {
    while (going) {
      for (const auto& answer :
           {daemon->status(), daemon->guests(), daemon->rules("web"), daemon->flows("web", false, 9)})
        EXPECT_TRUE(answer || answer.error().code != Code::kInvalid);
      EXPECT_TRUE(daemon->metrics());
    }
  });
  clients.emplace_back([&] {
    while (going)
      if (const auto rule = daemon->add_rule("web", "deny to tcp port 25 for 1s"))
        static_cast<void>(daemon->remove_rule("web", (*rule)["id"]));
  });
  clients.emplace_back([&] {
    for (bool there = false; going; there = !there) {
      write_guest("web", there ? TestNet::kTap : "other0");
      EXPECT_TRUE(daemon->reload());
      std::this_thread::sleep_for(100ms);
    }
  });
  clients.emplace_back([&] {
    for (uint64_t last = 0; going;)
      for (const Event& event : daemon->events().after(last, 50ms).events) last = event.id;
  });
  for (uint16_t port = 1; port < 200; ++port) {
    net->guest_sends(syn(port, IpAddress::v4(198, 18, 0, static_cast<uint8_t>(port))));
    daemon->tick();
    std::this_thread::sleep_for(10ms);
  }
  going = false;
  clients.clear();
  daemon.reset();
}

}  // namespace
}  // namespace hyperward::daemon
