#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "daemon/config.h"

namespace hyperward::daemon {
namespace {

using namespace std::chrono_literals;
using detect::Action;
using detect::Kind;

constexpr std::string_view kGuest = "guest.name='web'\nguard={tap='t',rules='r'}\nusers={alice=1000}\n";

Result<Config> parse(std::string_view sections) {
  return parse_config(std::string(kGuest) + std::string(sections), "dir/web.toml");
}

std::string message_of(std::string_view sections) {
  const auto config = parse(sections);
  return config ? "no error" : config.error().message;
}

TEST(DetectionConfig, is_the_detectors_own_where_nothing_is_said) {
  const auto config = parse("");
  ASSERT_TRUE(config) << config.error().message;
  const Detection& detection = config->detection;
  EXPECT_EQ(detection.settings.horizontal_scan.count, detect::Settings().horizontal_scan.count);
  EXPECT_EQ(detection.settings.mail_burst.ports, detect::Settings().mail_burst.ports);
  EXPECT_FALSE(detection.settings.listed);  // there is no list
  EXPECT_EQ(detection.response.actions, detect::ResponsePolicy::defaults().actions);
  EXPECT_EQ(detection.response.durations, detect::ResponsePolicy::defaults().durations);
  EXPECT_FALSE(detection.response.learning);
}

TEST(DetectionConfig, reads_every_detector) {
  const auto config = parse(R"([detect]
learning = true
grace = "250ms"
listed = "drop.txt"
warm_up = "1h"
quiet = "5m"
max_accounts = 100
[detect.horizontal_scan]
count = 30
window = "20s"
[detect.vertical_scan]
enabled = false
[detect.syn_flood]
count = 1000
[detect.udp_flood]
window = "500ms"
[detect.mail_burst]
burst = 5
interval = "1m"
ports = [25]
[detect.login_burst]
enabled = false
)");
  ASSERT_TRUE(config) << config.error().message;
  const detect::Settings& settings = config->detection.settings;
  EXPECT_TRUE(config->detection.response.learning);
  EXPECT_EQ(config->detection.listed_file, "dir/drop.txt");
  EXPECT_TRUE(settings.listed);
  EXPECT_EQ(settings.grace, 250ms);
  EXPECT_EQ(settings.warm_up, 1h);
  EXPECT_EQ(settings.quiet, 5min);
  EXPECT_EQ(settings.max_accounts, 100U);
  EXPECT_EQ(settings.horizontal_scan.count, 30U);
  EXPECT_EQ(settings.horizontal_scan.length, 20s);
  EXPECT_FALSE(settings.vertical_scan.enabled);
  EXPECT_EQ(settings.syn_flood.count, 1000U);
  EXPECT_EQ(settings.udp_flood.length, 500ms);
  EXPECT_EQ(settings.mail_burst.burst, 5U);
  EXPECT_EQ(settings.mail_burst.interval, 1min);
  EXPECT_THAT(settings.mail_burst.ports, testing::ElementsAre(25));
  EXPECT_FALSE(settings.login_burst.enabled);
}

TEST(DetectionConfig, reads_the_response_to_each_kind) {
  const auto config = parse(R"([respond]
scope = "process"
max_rules_per_hour = 3
[respond.mail_burst]
action = "deny-owner"
duration = "2h"
[respond.ids]
action = "audit"
[respond.never]
users = ["alice", 0]
processes = ["sshd"]
ports = [22, 53]
networks = ["10.0.0.0/8", "2001:db8::1"]
)");
  ASSERT_TRUE(config) << config.error().message;
  const detect::ResponsePolicy& response = config->detection.response;
  EXPECT_EQ(response.scope, detect::Scope::kProcess);
  EXPECT_EQ(response.max_rules_per_hour, 3U);
  EXPECT_EQ(response.actions[static_cast<size_t>(Kind::kMailBurst)], Action::kDenyOwner);
  EXPECT_EQ(response.durations[static_cast<size_t>(Kind::kMailBurst)], 2h);
  EXPECT_EQ(response.actions[static_cast<size_t>(Kind::kIds)], Action::kAuditRule);
  EXPECT_THAT(response.never.uids, testing::ElementsAre(1000, 0));
  EXPECT_THAT(response.never.processes, testing::ElementsAre("sshd"));
  EXPECT_THAT(response.never.ports, testing::ElementsAre(22, 53));
  EXPECT_TRUE(response.never.networks.contains(IpAddress::v4(10, 1, 2, 3)));
  EXPECT_FALSE(response.never.networks.contains(IpAddress::v4(11, 1, 2, 3)));
}

TEST(DetectionConfig, says_what_is_wrong_and_where) {
  EXPECT_EQ(message_of("[detect]\nwindow = '1s'").substr(0, 57),
            "dir/web.toml:5:1: unknown key 'window' in [detect]; known");
  EXPECT_EQ(message_of("[detect.horizontal_scan]\ncount = 257"),
            "dir/web.toml:5:9: detect.horizontal_scan.count must be from 2 to 256");
  EXPECT_EQ(
      message_of("[detect.mail_burst]\nwindow = '1s'"),
      "dir/web.toml:5:1: unknown key 'window' in [detect.mail_burst]; known are: enabled, burst, interval, ports");
  EXPECT_EQ(message_of("detect.quiet = 60"), "dir/web.toml:4:16: detect.quiet must be a duration, as \"10s\"");
  EXPECT_EQ(message_of("respond.scope = 'all'"), "dir/web.toml:4:17: respond.scope must be \"user\" or \"process\"");
  EXPECT_EQ(message_of("respond.ids.action = 'drop'"),
            "dir/web.toml:4:22: respond.ids.action must be nothing, alert, audit, deny-port or deny-owner");
  EXPECT_EQ(message_of("respond.ids.duration = '1500ms'"),
            "dir/web.toml:4:24: respond.ids.duration must be whole seconds");
}

TEST(DetectionConfig, protects_only_what_it_understands) {
  EXPECT_EQ(message_of("respond.never.users = ['bob']"), "dir/web.toml:4:24: [users] has no 'bob'");
  EXPECT_EQ(message_of("respond.never.users = [-1]"),
            "dir/web.toml:4:24: a user is a name of [users], or a number from 0 to 4294967294");
  EXPECT_EQ(message_of("respond.never.processes = ['a-very-long-name']"),
            "dir/web.toml:4:27: respond.never.processes has 'a-very-long-name': the kernel keeps 15 bytes of a "
            "process's name");
  for (const char* network : {"'10.0.0.0/33'", "''", "'# all'", "\"10.0.0.1\\n10.0.0.2\"", "10"})
    EXPECT_EQ(message_of(fmt::format("respond.never.networks = [{}]", network)),
              "dir/web.toml:4:27: a network is as \"10.0.0.0/8\"");
}

TEST(LoadListed, names_the_file_and_the_line_of_a_mistake) {
  const std::string path = fmt::format("/tmp/hyperward-listed-test-{}", ::getpid());
  std::ofstream(path) << "10.0.0.0/8\nnonsense\n";
  Detection detection;
  detection.listed_file = path;
  const auto loaded = load_listed(detection);
  std::ofstream(path) << "10.0.0.0/8  # ours\n";
  const auto again = load_listed(detection);
  ::unlink(path.c_str());
  ASSERT_FALSE(loaded);
  EXPECT_THAT(loaded.error().message, testing::StartsWith(path + ": line 2: "));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_TRUE(detection.listed.contains(IpAddress::v4(10, 0, 0, 1)));
}

}  // namespace
}  // namespace hyperward::daemon
