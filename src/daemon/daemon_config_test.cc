#include "daemon/daemon_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <tuple>

namespace hyperward::daemon {
namespace {

namespace fs = std::filesystem;

// A configuration folder with what the test writes into it.
class DaemonConfigTest : public testing::Test {
 protected:
  DaemonConfigTest() : folder_(fmt::format("/tmp/hyperward-config-test-{}", ::getpid())) {
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "guests.d");
    write("web.rules", "default allow\n");
  }
  ~DaemonConfigTest() override { fs::remove_all(folder_); }

  void write(const char* name, std::string_view text) const { std::ofstream(folder_ / name) << text; }
  void write_guest(const char* name, std::string_view guest, std::string_view tap) const {
    write(name, fmt::format("guest.name='{}'\nguard={{tap='{}',rules='../web.rules'}}\n", guest, tap));
  }
  [[nodiscard]] Result<DaemonConfig> load(std::string_view text) const {
    write("hyperward.toml", text);
    return load_daemon_config(folder_ / "hyperward.toml");
  }
  // Without the folder's name.
  [[nodiscard]] std::string message_of(std::string_view text) const {
    const auto config = load(text);
    if (config) return "no error";
    std::string message = config.error().message;
    const std::string prefix = folder_.string() + "/";
    for (size_t at = message.find(prefix); at != std::string::npos; at = message.find(prefix))
      message.erase(at, prefix.size());
    return message;
  }

  fs::path folder_;
};

TEST_F(DaemonConfigTest, an_empty_file_guards_nothing_and_serves_the_usual_socket) {
  const auto config = load("");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->socket, "/run/hyperward/control.sock");
  EXPECT_TRUE(config->read_socket.empty());
  EXPECT_EQ(config->database, "/var/lib/hyperward/hyperward.db");
  EXPECT_EQ(config->log_level, spdlog::level::info);
  EXPECT_TRUE(config->guests.empty());
  EXPECT_FALSE(config->find);
}

TEST_F(DaemonConfigTest, reads_a_whole_file_with_its_guests) {
  write_guest("guests.d/b.toml", "mail", "tap1");
  write_guest("guests.d/a.toml", "web", "tap0");
  write("guests.d/.a.toml.swp.toml", "[nonsense");
  write("guests.d/c.toml.example", "[nonsense");
  write("found.toml", "guard = {rules='web.rules', default='allow'}\n");
  const auto config = load(R"([daemon]
socket = "/run/x/control.sock"
socket_group = "hyperward"
read_socket = "/run/x/read.sock"
read_group = "adm"
database = "/var/lib/x.db"
guests = "guests.d"
log_level = "warning"
[find]
qemu_taps = ["vnet*", "tap[0-9]"]
libvirt = "qemu:///system"
template = "found.toml"
[[ids]]
file = "/var/log/suricata/eve.json"
[[ids]]
socket = "/run/x/eve.sock"
socket_type = "datagram"
guest = "web"
)");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->socket_group, "hyperward");
  EXPECT_EQ(config->read_group, "adm");
  EXPECT_EQ(config->log_level, spdlog::level::warn);
  ASSERT_EQ(config->guests.size(), 2U);
  EXPECT_EQ(config->guests[0].config.tap, "tap0");
  EXPECT_EQ(config->guests[0].rules, "default allow\n");
  EXPECT_EQ(config->guests[1].config.label(), "mail");
  ASSERT_TRUE(config->find);
  EXPECT_TRUE(config->find->matches("vnet17"));
  EXPECT_TRUE(config->find->matches("tap3"));
  EXPECT_FALSE(config->find->matches("tapX"));
  ASSERT_EQ(config->ids.size(), 2U);
  EXPECT_EQ(config->ids[0].file, "/var/log/suricata/eve.json");
  EXPECT_TRUE(config->ids[1].datagram);
}

TEST_F(DaemonConfigTest, a_found_guest_is_guarded_as_the_template_says) {
  write("found.toml", "guard = {rules='web.rules', default='allow'}\nusers={alice=1000}\n");
  const auto config = load("find = {libvirt='qemu:///system', template='found.toml'}");
  ASSERT_TRUE(config) << config.error().message;
  const GuestFile guest = config->find->guest("web", 4711, "vnet0");
  EXPECT_EQ(guest.config.label(), "web");
  EXPECT_EQ(guest.config.guest.pid, 4711);
  EXPECT_EQ(guest.config.tap, "vnet0");
  EXPECT_TRUE(guest.config.default_allow);
  EXPECT_EQ(guest.config.users.at("alice"), 1000U);
  EXPECT_EQ(guest.rules, "default allow\n");
}

TEST_F(DaemonConfigTest, refuses_two_guests_of_one_name_or_one_tap) {
  write_guest("guests.d/a.toml", "web", "tap0");
  write_guest("guests.d/b.toml", "web", "tap1");
  EXPECT_EQ(message_of(""), "guests.d/b.toml: guests.d/a.toml is a guest named 'web' already");
  write_guest("guests.d/b.toml", "mail", "tap0");
  EXPECT_EQ(message_of(""), "guests.d/b.toml: the tap 'tap0' is that of guests.d/a.toml already");
}

TEST_F(DaemonConfigTest, one_wrong_guest_or_rule_is_a_mistake_of_the_whole) {
  write_guest("guests.d/a.toml", "web", "tap0");
  write("guests.d/b.toml", "guest.nam = 'x'");
  EXPECT_THAT(message_of(""), testing::StartsWith("guests.d/b.toml:1:7: unknown key 'nam' in [guest]"));
  write_guest("guests.d/b.toml", "mail", "tap1");
  write("web.rules", "default allow\ndeny to tcp prt 25\n");
  EXPECT_THAT(message_of(""), testing::HasSubstr("web.rules:2:13"));
  fs::remove(folder_ / "web.rules");
  EXPECT_THAT(message_of(""), testing::HasSubstr("web.rules: No such file"));
}

TEST_F(DaemonConfigTest, a_wrong_template_is_a_mistake_before_any_guest_is_found) {
  write("found.toml", "guard = {rules='web.rules', tap='t'}\n");
  EXPECT_THAT(message_of("find = {qemu_taps=['tap*'], template='found.toml'}"),
              testing::StartsWith("found.toml:1:29: unknown key 'tap' in [guard]"));
}

TEST_F(DaemonConfigTest, a_folder_that_is_named_must_be_there) {
  EXPECT_EQ(message_of("daemon.guests = 'none.d'"), "read the folder none.d: No such file or directory");
  fs::remove_all(folder_ / "guests.d");
  EXPECT_EQ(message_of(""), "no error");
}

TEST_F(DaemonConfigTest, says_what_is_wrong_and_where) {
  EXPECT_EQ(message_of("[deamon]"), "hyperward.toml:1:2: unknown section 'deamon'; known are: daemon, find, ids");
  EXPECT_EQ(message_of("[daemon]\nsocket = 'x.sock'"), "hyperward.toml:2:10: daemon.socket must be an absolute path");
  EXPECT_EQ(message_of(fmt::format("daemon.socket = '/{}'", std::string(107, 'x'))),
            "hyperward.toml:1:17: daemon.socket is longer than 107 bytes, which no socket's path may be");
  EXPECT_EQ(message_of("daemon.log_level = 'loud'"),
            "hyperward.toml:1:20: daemon.log_level must be trace, debug, info, warning or error");
  EXPECT_EQ(message_of("daemon.read_group = 'adm'"), "hyperward.toml:1:21: daemon.read_group needs a read_socket");
  EXPECT_EQ(message_of("[find]\ntemplate = 'x'"), "hyperward.toml:1:1: [find] needs qemu_taps or libvirt");
  EXPECT_EQ(message_of("[find]\nqemu_taps = ['x']"), "hyperward.toml:1:1: [find] needs a template");
  EXPECT_EQ(message_of("[[ids]]"), "hyperward.toml:1:1: [ids] needs a file or a socket");
  EXPECT_EQ(message_of("[[ids]]\nfile = '/x'\nsocket = '/y'"),
            "hyperward.toml:3:10: ids.socket must not stand beside a file: write two [[ids]]");
  EXPECT_EQ(message_of("[[ids]]\nsocket = '/run/hyperward/control.sock'"),
            "hyperward.toml:2:10: ids.socket is the daemon's own");
  EXPECT_EQ(message_of("[[ids]]\nfile = '/x'\nguest = 'web'"),
            "hyperward.toml:3:9: ids.guest is none of the guests of guests.d");
}

// What the packages install as /etc/hyperward, and as examples beside it.
TEST(PackagedConfig, is_taken_as_it_is_and_guards_nothing_yet) {
  const auto config = load_daemon_config(fs::path(HYPERWARD_SOURCE_DIR) / "packaging/hyperward.toml");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_TRUE(config->guests.empty());
  EXPECT_FALSE(config->find);
  EXPECT_TRUE(config->ids.empty());
}

// A comment that shows a setting starts with "#" and no space; all of them at once are a configuration too.
std::string without_marks(const fs::path& file) {
  std::ifstream stream(file);
  std::string text;
  for (std::string line; std::getline(stream, line);)
    text += (line.size() > 1 && line[0] == '#' && line[1] != ' ' ? line.substr(1) : line) + "\n";
  return text;
}

TEST_F(DaemonConfigTest, takes_every_setting_that_the_packaged_files_show) {
  const fs::path packaged = fs::path(HYPERWARD_SOURCE_DIR) / "packaging";
  write("guests.d/web.toml", without_marks(packaged / "guests.d/web.toml.example"));
  write("found.toml", without_marks(packaged / "found.toml.example"));
  for (const char* rules : {"guests.d/web.rules", "found.rules"})
    write(rules, without_marks(packaged / (std::string(rules) + ".example")));
  write("guests.d/drop.txt", "192.0.2.0/24\n");
  const auto config = load(without_marks(packaged / "hyperward.toml"));
  ASSERT_TRUE(config) << config.error().message;
  ASSERT_EQ(config->guests.size(), 1U);
  EXPECT_EQ(config->guests[0].config.label(), "web");
  EXPECT_TRUE(config->guests[0].config.detection.response.learning);
  ASSERT_TRUE(config->find);
  EXPECT_EQ(config->find->libvirt, "qemu:///system");
  EXPECT_EQ(config->ids.size(), 2U);
}

auto parts(const detect::Window& window) {
  return std::tuple(window.enabled, window.count, window.length);
}
auto parts(const detect::Bucket& bucket) {
  return std::tuple(bucket.enabled, bucket.burst, bucket.interval, bucket.ports);
}

TEST(PackagedConfig, shows_the_defaults_as_they_are) {
  const fs::path file = fs::path(HYPERWARD_SOURCE_DIR) / "packaging/guests.d/web.toml.example";
  const auto config = parse_config(without_marks(file), file);
  ASSERT_TRUE(config) << config.error().message;
  const detect::Settings& shown = config->detection.settings;
  const detect::Settings defaults;
  EXPECT_EQ(config->max_flows, Config().max_flows);
  EXPECT_EQ(shown.grace, defaults.grace);
  EXPECT_EQ(shown.warm_up, defaults.warm_up);
  EXPECT_EQ(shown.quiet, defaults.quiet);
  EXPECT_EQ(shown.max_accounts, defaults.max_accounts);
  EXPECT_EQ(parts(shown.horizontal_scan), parts(defaults.horizontal_scan));
  EXPECT_EQ(parts(shown.vertical_scan), parts(defaults.vertical_scan));
  EXPECT_EQ(parts(shown.syn_flood), parts(defaults.syn_flood));
  EXPECT_EQ(parts(shown.udp_flood), parts(defaults.udp_flood));
  EXPECT_EQ(parts(shown.mail_burst), parts(defaults.mail_burst));
  EXPECT_EQ(parts(shown.login_burst), parts(defaults.login_burst));
  const detect::ResponsePolicy& response = config->detection.response;
  EXPECT_EQ(response.actions, detect::ResponsePolicy::defaults().actions);
  EXPECT_EQ(response.durations, detect::ResponsePolicy::defaults().durations);
  EXPECT_EQ(response.max_rules_per_hour, detect::ResponsePolicy::defaults().max_rules_per_hour);
}

}  // namespace
}  // namespace hyperward::daemon
