// The example modules, as they are loaded, over a guest that is made up.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "fake_host.h"
#include "filter/loaded_module.h"

namespace hyperward::filter {
namespace {

using namespace std::chrono_literals;
using policy::Verdict;
using testing::HasSubstr;

const Endpoint kLocal{IpAddress::v4(10, 9, 0, 2), 43210};
const Endpoint kMail{IpAddress::v4(203, 0, 113, 9), 25};
constexpr uint64_t kTask = 0xffff888000001000, kSocket = 0xffff888000002000;

std::filesystem::path file_of(std::string_view name) {
  return std::filesystem::path(MODULES) / (std::string(name) + ".so");
}

class ExampleModule : public testing::Test {
 protected:
  ~ExampleModule() override {
    module_.reset();
    if (handle_ != nullptr) ::dlclose(handle_);
  }

  // As LoadedModule::load(), but what the module sees is `guest`.
  void load(std::string_view name, const std::string& settings) {
    handle_ = ::dlopen(file_of(name).c_str(), RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(handle_, nullptr) << ::dlerror();
    table_ = *static_cast<const hyperward_module*>(::dlsym(handle_, HYPERWARD_MODULE_SYMBOL));
    real_create_ = table_.create;
    table_.create = [](const hyperward_host*, const char* text, void** instance, char* error, size_t room) {
      return real_create_(&FakeGuest::host(), text, instance, error, room);
    };
    auto module = LoadedModule::make(table_, settings);
    ASSERT_TRUE(module) << module.error().message;
    module_ = *std::move(module);
  }

  Module::Said said() {
    Question question = question_of({.protocol = protocol, .source = kLocal, .destination = remote}, direction,
                                    HYPERWARD_NEW_FLOW, guest::Owner{}, nullptr, {});
    question.packet.time_ns = static_cast<uint64_t>(now.count());
    question.history = history;
    GuestView view(nullptr, 0);
    return module_->judge(question, view);
  }
  Answer ask() { return said().value(); }
  Verdict verdict() { return ask().verdict; }

  uint64_t counter(std::string_view name) {
    for (const ModuleCounter& counter : module_->status().counters)
      if (counter.name == name) return counter.value;
    ADD_FAILURE() << "no counter " << name;
    return 0;
  }

  FakeGuest guest;
  Protocol protocol = Protocol::kTcp;
  policy::Direction direction = policy::Direction::kOut;
  Endpoint remote = kMail;
  std::chrono::nanoseconds now = 1h;
  std::optional<hyperward_history> history;

 private:
  inline static decltype(hyperward_module::create) real_create_ = nullptr;
  void* handle_ = nullptr;
  hyperward_module table_{};
  std::unique_ptr<LoadedModule> module_;
};

std::string refusal_of(std::string_view name, const std::string& settings) {
  auto module = LoadedModule::load(file_of(name), settings);
  return module ? "" : module.error().message;
}

hyperward_socket socket_between(const Endpoint& local, const Endpoint& to, Protocol protocol) {
  auto socket = sized<hyperward_socket>();
  socket.protocol = static_cast<uint8_t>(protocol);
  std::ranges::copy(local.address.bytes(), socket.local_address);
  std::ranges::copy(to.address.bytes(), socket.remote_address);
  socket.local_port = local.port;
  socket.remote_port = to.port;
  return socket;
}

// ---- deny_process

class DenyProcess : public ExampleModule {
 protected:
  void SetUp() override { load("deny_process", R"({"processes": ["sendmail"]})"); }

  // One more process, with an open file that is no socket, and one that is.
  void run(std::string_view comm, const hyperward_socket& socket) {
    const uint64_t n = guest.tasks.size() * 0x100;
    guest.add_task(kTask + n, 100 + static_cast<uint32_t>(n), comm);
    auto plain = sized<hyperward_file>(), open = sized<hyperward_file>();
    open.socket = kSocket + n;
    guest.files[kTask + n] = {plain, open};
    guest.sockets[kSocket + n] = socket;
  }
};

TEST_F(DenyProcess, denies_the_flow_of_a_listed_process) {
  run("sshd", socket_between(kLocal, {kMail.address, 80}, Protocol::kTcp));
  run("sendmail", socket_between(kLocal, kMail, Protocol::kTcp));
  const Answer answer = ask();
  EXPECT_EQ(answer.verdict, Verdict::kDeny);
  EXPECT_EQ(answer.reason, "sendmail (pid 356) is on the list");
  EXPECT_EQ(counter("denied"), 1U);
}

TEST_F(DenyProcess, allows_other_processes) {
  run("curl", socket_between(kLocal, kMail, Protocol::kTcp));
  EXPECT_EQ(verdict(), Verdict::kAllow);
}

TEST_F(DenyProcess, allows_the_flows_that_a_listed_process_does_not_have) {
  run("sendmail", socket_between(kLocal, {kMail.address, 26}, Protocol::kTcp));
  run("sendmail", socket_between(kLocal, kMail, Protocol::kUdp));
  EXPECT_EQ(verdict(), Verdict::kAllow);
}

TEST_F(DenyProcess, denies_a_listed_holder_of_a_socket_that_others_hold_too) {
  run("init", socket_between(kLocal, kMail, Protocol::kTcp));
  run("sendmail", socket_between(kLocal, kMail, Protocol::kTcp));
  EXPECT_EQ(verdict(), Verdict::kDeny);
}

TEST_F(DenyProcess, finds_a_socket_that_listens_on_all_addresses) {
  run("sendmail", socket_between({IpAddress(), kLocal.port}, {}, Protocol::kTcp));
  direction = policy::Direction::kIn;
  EXPECT_EQ(verdict(), Verdict::kDeny);
}

TEST_F(DenyProcess, takes_no_listening_socket_for_the_one_that_connects) {
  run("sendmail", socket_between({IpAddress(), kLocal.port}, {}, Protocol::kTcp));
  EXPECT_EQ(verdict(), Verdict::kAllow);
}

TEST_F(DenyProcess, finds_an_unconnected_udp_socket) {
  protocol = Protocol::kUdp;
  run("sendmail", socket_between({IpAddress(), kLocal.port}, {}, Protocol::kUdp));
  EXPECT_EQ(verdict(), Verdict::kDeny);
}

TEST_F(DenyProcess, passes_over_a_process_that_has_ended_meanwhile) {
  run("sendmail", socket_between(kLocal, {kMail.address, 80}, Protocol::kTcp));
  guest.files.clear();
  EXPECT_EQ(verdict(), Verdict::kAllow);
}

TEST_F(DenyProcess, fails_where_the_guest_cannot_be_walked) {
  guest.broken = HYPERWARD_LIMIT;
  const auto answer = said();
  ASSERT_FALSE(answer.has_value());
  EXPECT_THAT(answer.error().message, HasSubstr("one call may read no more"));
}

TEST(DenyProcessSettings, refuses_what_can_be_no_name) {
  EXPECT_THAT(refusal_of("deny_process", "{}"), HasSubstr("processes"));
  EXPECT_THAT(refusal_of("deny_process", R"({"processes": ["sixteen-letters-"]})"), HasSubstr("1 to 15 bytes"));
}

// ---- connection_rate

class ConnectionRate : public ExampleModule {
 protected:
  void SetUp() override {
    load("connection_rate", R"({"per_second": 10, "burst": 3})");
    guest.own(1000, 7, kTask);
  }
  void use_up() {
    for (int i = 0; i < 3; ++i) EXPECT_EQ(verdict(), Verdict::kAllow);
  }
};

TEST_F(ConnectionRate, denies_what_goes_beyond_the_burst) {
  use_up();
  EXPECT_EQ(verdict(), Verdict::kDeny);
  EXPECT_EQ(counter("denied"), 1U);
}

TEST_F(ConnectionRate, gives_a_token_with_each_interval) {
  use_up();
  now += 99ms;
  EXPECT_EQ(verdict(), Verdict::kDeny);
  now += 1ms;
  EXPECT_EQ(verdict(), Verdict::kAllow);
  EXPECT_EQ(verdict(), Verdict::kDeny);
}

TEST_F(ConnectionRate, saves_up_no_more_than_the_burst) {
  use_up();
  now += 1h;
  use_up();
  EXPECT_EQ(verdict(), Verdict::kDeny);
}

TEST_F(ConnectionRate, denies_until_there_can_be_a_token) {
  use_up();
  now += 40ms;
  const auto lifetime = ask().lifetime;
  EXPECT_GE(lifetime, 60ms);
  EXPECT_LE(lifetime, 61ms);
}

TEST_F(ConnectionRate, counts_each_user_for_himself) {
  use_up();
  guest.owner.uid = 1001;
  EXPECT_EQ(verdict(), Verdict::kAllow);
}

TEST_F(ConnectionRate, counts_the_unknown_together) {
  use_up();
  guest.owner.known = 0;
  use_up();
  EXPECT_EQ(verdict(), Verdict::kDeny);
}

TEST_F(ConnectionRate, takes_no_second_token_for_a_flow_it_has_allowed) {
  use_up();
  history = sized<hyperward_history>();
  history->verdict = HYPERWARD_ALLOW;
  EXPECT_EQ(verdict(), Verdict::kAllow);
}

TEST_F(ConnectionRate, takes_a_token_for_a_flow_that_was_denied) {
  use_up();
  history = sized<hyperward_history>();
  history->verdict = HYPERWARD_DENY;
  EXPECT_EQ(verdict(), Verdict::kDeny);
}

TEST_F(ConnectionRate, leaves_alone_what_begins_outside) {
  use_up();
  direction = policy::Direction::kIn;
  EXPECT_EQ(verdict(), Verdict::kAllow);
}

TEST_F(ConnectionRate, lets_users_without_number_share_one_bucket) {
  for (uint32_t uid = 1; uid <= 256; ++uid) {
    guest.owner.uid = uid;
    EXPECT_EQ(verdict(), Verdict::kAllow);
  }
  for (uint32_t uid = 5001; uid <= 5003; ++uid) {
    guest.owner.uid = uid;
    EXPECT_EQ(verdict(), Verdict::kAllow);
  }
  guest.owner.uid = 5004;
  EXPECT_EQ(verdict(), Verdict::kDeny);
  EXPECT_EQ(counter("crowded"), 4U);
  now += 1s;  // the others' buckets are full again, and make room
  EXPECT_EQ(verdict(), Verdict::kAllow);
  EXPECT_EQ(counter("crowded"), 4U);
}

TEST(ConnectionRateSettings, wants_one_rate) {
  EXPECT_THAT(refusal_of("connection_rate", "{}"), HasSubstr("per_second or per_minute"));
  EXPECT_THAT(refusal_of("connection_rate", R"({"per_second": 1, "per_minute": 1})"), HasSubstr("per_second or"));
  EXPECT_THAT(refusal_of("connection_rate", R"({"per_second": 1, "burst": 0})"), HasSubstr("1 to 1000000"));
  EXPECT_EQ(refusal_of("connection_rate", R"({"per_minute": 60})"), "");
}

// ---- allowed_executables

class AllowedExecutables : public ExampleModule {
 protected:
  void SetUp() override {
    load("allowed_executables", R"({"executables": ["/usr/bin/apt-get"], "own_networks": ["10.0.0.0/8", "fd00::/8"]})");
    guest.own(0, 7, kTask);
    guest.owner.start_time_ns = 1;
    guest.executables[kTask] = "/usr/bin/apt-get";
    guest.fields["task_struct.self_exec_id"] = {.offset_bytes = 64, .size_bytes = 8};
    guest.memory[kTask + 64] = 2;
  }
};

TEST_F(AllowedExecutables, allows_a_listed_executable) {
  EXPECT_EQ(verdict(), Verdict::kAllow);
}

TEST_F(AllowedExecutables, denies_another_and_names_it) {
  guest.executables[kTask] = "/tmp/nc";
  const Answer answer = ask();
  EXPECT_EQ(answer.verdict, Verdict::kDeny);
  EXPECT_EQ(answer.reason, "/tmp/nc may not talk to the outside");
  EXPECT_EQ(answer.lifetime, Answer::kForever);
}

TEST_F(AllowedExecutables, lets_everybody_talk_within_own_networks) {
  guest.executables[kTask] = "/tmp/nc";
  remote.address = IpAddress::v4(10, 200, 0, 1);
  EXPECT_EQ(verdict(), Verdict::kAllow);
  remote.address = IpAddress::v4(11, 0, 0, 1);
  EXPECT_EQ(verdict(), Verdict::kDeny);
}

TEST_F(AllowedExecutables, denies_the_unknown_for_a_while) {
  guest.owner.known = HYPERWARD_KNOWN_UID;
  EXPECT_EQ(ask().verdict, Verdict::kDeny);
  EXPECT_EQ(ask().lifetime, 1s);
}

TEST_F(AllowedExecutables, denies_whose_executable_cannot_be_read) {
  guest.executables.clear();
  EXPECT_EQ(ask().verdict, Verdict::kDeny);
  EXPECT_EQ(ask().lifetime, 1s);
}

TEST_F(AllowedExecutables, looks_a_program_up_once) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(verdict(), Verdict::kAllow);
  EXPECT_EQ(guest.executable_lookups, 1U);
  EXPECT_EQ(counter("cached"), 2U);
}

TEST_F(AllowedExecutables, sees_that_a_process_runs_another_program) {
  EXPECT_EQ(verdict(), Verdict::kAllow);
  guest.executables[kTask] = "/tmp/nc";
  guest.memory[kTask + 64] = 3;
  EXPECT_EQ(verdict(), Verdict::kDeny);
}

TEST_F(AllowedExecutables, sees_another_process_at_the_same_address) {
  EXPECT_EQ(verdict(), Verdict::kAllow);
  guest.executables[kTask] = "/tmp/nc";
  guest.owner.start_time_ns = 2;
  EXPECT_EQ(verdict(), Verdict::kDeny);
}

TEST_F(AllowedExecutables, forgets_what_it_knew_of_another_boot) {
  EXPECT_EQ(verdict(), Verdict::kAllow);
  guest.executables[kTask] = "/tmp/nc";
  guest.boot = 2;
  EXPECT_EQ(verdict(), Verdict::kDeny);
}

TEST_F(AllowedExecutables, keeps_nothing_where_the_kernel_does_not_count_executions) {
  guest.fields.clear();
  EXPECT_EQ(verdict(), Verdict::kAllow);
  guest.executables[kTask] = "/tmp/nc";
  EXPECT_EQ(verdict(), Verdict::kDeny);
}

TEST(AllowedExecutablesSettings, refuses_what_is_no_path_and_no_network) {
  EXPECT_THAT(refusal_of("allowed_executables", "{}"), HasSubstr("executables"));
  EXPECT_THAT(refusal_of("allowed_executables", R"({"executables": ["apt"]})"), HasSubstr("'apt' is no absolute path"));
  EXPECT_THAT(refusal_of("allowed_executables", R"({"executables": [], "own_networks": ["10.0.0.0/33"]})"),
              HasSubstr("'10.0.0.0/33' is no network"));
}

}  // namespace
}  // namespace hyperward::filter
