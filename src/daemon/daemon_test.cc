// The daemon whole, but for the guests' memory and the control socket: real taps and programs in a network of the
// test's own, with processes that stand for QEMUs. No guest can be read here, so every owner is unknown.
#include "daemon/daemon.h"

#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <latch>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/json_schema.h"
#include "daemon/openapi_document.h"
#include "daemon/test_directory.h"
#include "datapath/test_net.h"
#include "packet/build.h"

namespace hyperward::daemon {
namespace {

namespace build = packet::build;
using namespace std::chrono_literals;
using datapath::test::TestNet;
using nlohmann::json;
using packet::Tcp;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

const IpAddress kGuest = IpAddress::v4(10, 9, 0, 2), kServer = IpAddress::v4(203, 0, 113, 9);

build::Bytes syn(uint16_t port, const IpAddress& to = kServer, uint16_t from_port = 40000) {
  return build::ethernet(build::ip(kGuest, to, build::tcp(from_port, port, Tcp::kSyn, 1000)));
}

// A process that ends when the test ends it, with a QEMU's command line and a tap, as vm::all_qemus() sees it.
class Machine {
 public:
  explicit Machine(const std::string& name, const Fd& tap = Fd()) {
    constexpr int kTapInChild = 50;
    const char* arguments[] = {"qemu-system-x86_64", "-c", "kill -STOP $$", "-name", name.c_str(), nullptr};
    posix_spawn_file_actions_t actions;
    HW_CHECK(::posix_spawn_file_actions_init(&actions) == 0);
    if (tap.valid()) HW_CHECK(::posix_spawn_file_actions_adddup2(&actions, tap.get(), kTapInChild) == 0);
    HW_CHECK(::posix_spawn(&pid_, "/bin/sh", &actions, nullptr, const_cast<char**>(arguments), environ) == 0);
    ::posix_spawn_file_actions_destroy(&actions);
  }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  ~Machine() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
};

// Which process is which guest; every one that is not named is this process.
class Machines {
 public:
  void run(const std::string& name, std::optional<pid_t> pid) {
    const std::lock_guard lock(mutex_);
    pids_[name] = pid;
  }
  // Who looks for this one waits, from the next time on, until the test releases all.
  void stick(const std::string& name) {
    const std::lock_guard lock(mutex_);
    stuck_ = name;
  }
  void release() {
    {
      const std::lock_guard lock(mutex_);
      stuck_.reset();
    }
    released_.notify_all();
  }
  [[nodiscard]] bool somebody_waits() const { return waiting_ > 0; }

  [[nodiscard]] Result<vm::Qemu> find(const GuestSource& source) const {
    std::unique_lock lock(mutex_);
    if (stuck_ == source.name) {
      ++waiting_;
      released_.wait(lock, [&] { return stuck_ != source.name; });
      --waiting_;
    }
    vm::Qemu qemu;
    qemu.pid = source.pid != 0 ? source.pid : ::getpid();
    qemu.name = source.name;
    if (const auto known = pids_.find(source.name); source.pid == 0 && known != pids_.end()) {
      if (!known->second) return fail(Code::kNotFound, "no QEMU is named '{}'", source.name);
      qemu.pid = *known->second;
    }
    return qemu;
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable released_;
  mutable std::atomic<int> waiting_ = 0;
  std::optional<std::string> stuck_;
  std::map<std::string, std::optional<pid_t>> pids_;
};

template <typename T>
T value_of(Result<T> result) {
  HW_CHECK(result || (fmt::print(stderr, "{}\n", result.error().message), false));
  return *std::move(result);
}

template <typename Holds>
testing::AssertionResult eventually(Holds holds) {
  const auto deadline = std::chrono::steady_clock::now() + 10s;
  while (!holds())
    if (std::chrono::steady_clock::now() > deadline)
      return testing::AssertionFailure() << "it never came true";
    else
      std::this_thread::sleep_for(10ms);
  return testing::AssertionSuccess();
}

class DaemonTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = TestNet::make();
    if (!made) GTEST_SKIP() << "NOT TESTED: the daemon on real taps. " << made.error().message;
    net.emplace(std::move(*made));
    static const bool hidden = ::mount("tmpfs", "/run", "tmpfs", 0, nullptr) == 0;  // where guards leave their state
    HW_CHECK(hidden);
    std::filesystem::create_directory(directory.path() / "guests.d");
    write("hyperward.toml", settings());
    write("web.rules", "default allow\n");
    write_guest("web", TestNet::kTap);
  }

  void TearDown() override { machines.release(); }

  [[nodiscard]] std::string settings(std::string_view more = "") const {
    return fmt::format("[daemon]\ndatabase = '{0}/db/state.db'\nsocket = '{0}/control.sock'\nlog_level = 'error'\n{1}",
                       directory.path().string(), more);
  }
  void write(const std::string& name, std::string_view text) const { std::ofstream(directory.path() / name) << text; }
  void write_guest(const std::string& name, std::string_view tap, std::string_view rules = "web.rules") const {
    write(fmt::format("guests.d/{}.toml", name),
          fmt::format("guest.name = '{}'\n[guard]\ntap = '{}'\nrules = '../{}'\n", name, tap, rules));
  }

  void start() {
    GuestAccess access{.find = [this](const GuestSource& source) { return machines.find(source); },
                       .attach = [](const vm::Qemu&, Access) -> Result<std::unique_ptr<guest::Guest>> {
                         return fail(Code::kNotFound, "there is no kernel in a test");
                       },
                       .libvirt_uri = {},
                       .pin_root = net->pin_root(),
                       .patience = patience};
    const std::filesystem::path file = directory.path() / "hyperward.toml";
    daemon = value_of(Daemon::start(file, value_of(load_daemon_config(file)), std::move(access)));
  }
  void start_and_guard() {
    start();
    ASSERT_TRUE(is_guarded("web"));
  }
  [[nodiscard]] std::string state_of(std::string_view name) const {
    const auto guest = daemon->guest(name);
    return guest ? (*guest)["state"].get<std::string>() : "none";
  }
  [[nodiscard]] testing::AssertionResult is_guarded(std::string_view name) const {
    return eventually([&] { return state_of(name) == "unreadable"; });
  }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const json& guest : value_of(daemon->guests())) all.push_back(guest["name"]);
    return all;
  }

  [[nodiscard]] bool passes(const build::Bytes& frame) const {
    net->guest_sends(frame);
    const auto arrived = net->world_receives();
    return arrived && arrived->bytes == frame;
  }
  [[nodiscard]] bool is_cut(const build::Bytes& frame) const {
    net->guest_sends(frame);
    return net->world_receives_nothing();
  }
  // Of addresses that do not answer; nobody waits for what is cut in its course.
  void scan(uint16_t port) const {
    for (uint8_t i = 1; i <= 30; ++i) {
      net->guest_sends(syn(port, IpAddress::v4(198, 18, 0, i)));
      std::this_thread::sleep_for(10ms);
    }
    while (!net->world_receives_nothing()) {
    }
  }

  [[nodiscard]] std::string mistake(const std::string& schema, const json& value) const {
    return schemas.mistake(document["components"]["schemas"][schema], value);
  }
  [[nodiscard]] std::vector<Event> events(std::string_view type) const {
    std::vector<Event> found;
    for (Event& event : daemon->events().after(0, 0ms).events)
      if (event.type == type) found.push_back(std::move(event));
    return found;
  }

  const json document = json::parse(openapi_document());
  const JsonSchema schemas{document};
  TestDirectory directory;
  Machines machines;
  std::chrono::milliseconds patience{10'000};
  std::optional<TestNet> net;
  std::unique_ptr<Daemon> daemon;  // goes first
};

// -- rules of run time --

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

// -- detection and response --

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

// -- guests that come and go --

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
