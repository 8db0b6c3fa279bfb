// For tests of the daemon whole, but for the guests' memory and the control socket: real taps and programs in a network
// of the test's own, with processes that stand for QEMUs. No guest can be read here, so every owner is unknown.
#pragma once

#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "daemon/daemon.h"
#include "daemon/json_schema.h"
#include "daemon/openapi_document.h"
#include "daemon/test_directory.h"
#include "datapath/test_net.h"
#include "packet/build.h"

namespace hyperward::daemon {

namespace build = packet::build;
using namespace std::chrono_literals;
using datapath::test::TestNet;
using nlohmann::json;
using packet::Tcp;

inline const IpAddress kGuest = IpAddress::v4(10, 9, 0, 2), kServer = IpAddress::v4(203, 0, 113, 9);

inline build::Bytes syn(uint16_t port, const IpAddress& to = kServer, uint16_t from_port = 40000) {
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

}  // namespace hyperward::daemon
