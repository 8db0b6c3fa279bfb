// The C++ face of the module interface, over a host that is made up.
#include "hyperward/module.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "fake_host.h"

namespace hyperward::module {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StrEq;

constexpr uint64_t kTask = 0xffff888000001000;

// Says what a test makes it say.
class Puppet {
 public:
  inline static std::function<Answer(const View&, const Packet&)> act;
  inline static std::string settings;
  explicit Puppet(std::string_view text) : settings_(text) { settings = text; }
  Answer judge(const View& view, const Packet& packet) { return act(view, packet); }
  [[nodiscard]] std::vector<Counter> counters() const { return {{"settings_bytes", settings_.size()}, {"second", 2}}; }

 private:
  std::string settings_;
};

class Face : public testing::Test {
 protected:
  // What the module answers, in a host of today unless the test has another.
  hyperward_answer ask(std::function<Answer(const View&, const Packet&)> act) {
    static constexpr hyperward_module kTable = table<Puppet>("puppet", "1.0", "does as it is told");
    Puppet::act = std::move(act);
    void* instance = nullptr;
    EXPECT_EQ(kTable.create(&host, "{}", &instance, error.data(), error.size()), 0) << error.data();
    auto answer = sized<hyperward_answer>();
    answer.lifetime_ms = HYPERWARD_FOREVER;
    kTable.judge(instance, nullptr, &packet, &answer);
    kTable.destroy(instance);
    return answer;
  }
  // For what is seen during judge().
  void look(const std::function<void(const View&, const Packet&)>& see) {
    const hyperward_answer answer = ask([&](const View& view, const Packet& seen) {
      see(view, seen);
      return allow();
    });
    EXPECT_EQ(answer.verdict, HYPERWARD_ALLOW) << answer.reason;
  }

  FakeGuest guest;
  hyperward_host host = FakeGuest::host();
  hyperward_packet packet = sized<hyperward_packet>();
  std::array<char, 64> error{};
};

// ---- Answers

TEST_F(Face, allows_as_long_as_the_flow_lives) {
  const hyperward_answer answer = ask([](const View&, const Packet&) { return allow(); });
  EXPECT_EQ(answer.verdict, HYPERWARD_ALLOW);
  EXPECT_EQ(answer.lifetime_ms, HYPERWARD_FOREVER);
  EXPECT_THAT(answer.reason, StrEq(""));
}

TEST_F(Face, hands_on_all_that_an_answer_says) {
  const hyperward_answer answer =
      ask([](const View&, const Packet&) { return deny("too much").code(3).for_ms(1000).logged(); });
  EXPECT_EQ(answer.verdict, HYPERWARD_DENY);
  EXPECT_THAT(answer.reason, StrEq("too much"));
  EXPECT_EQ(answer.code, 3U);
  EXPECT_EQ(answer.lifetime_ms, 1000U);
  EXPECT_EQ(answer.log, 1U);
}

TEST_F(Face, answers_for_one_packet) {
  EXPECT_EQ(ask([](const View&, const Packet&) { return allow().once(); }).lifetime_ms, 0U);
}

TEST_F(Face, cuts_a_long_reason_and_ends_it) {
  const hyperward_answer answer = ask([](const View&, const Packet&) { return deny(std::string(200, 'x')); });
  EXPECT_EQ(std::string(answer.reason), std::string(HYPERWARD_REASON_BYTES - 1, 'x'));
}

TEST_F(Face, makes_an_exception_a_fault_that_is_explained) {
  const hyperward_answer answer =
      ask([](const View&, const Packet&) -> Answer { throw std::runtime_error("lost my way"); });
  EXPECT_EQ(answer.verdict, 0U);
  EXPECT_THAT(answer.reason, StrEq("lost my way"));
  EXPECT_EQ(ask([](const View&, const Packet&) -> Answer { throw 7; }).verdict, 0U);
}

TEST_F(Face, fills_no_more_of_an_answer_than_there_is) {
  auto answer = sized<hyperward_answer>();
  answer.size = offsetof(hyperward_answer, lifetime_ms);
  answer.lifetime_ms = 77;
  deny("x").code(3).for_ms(5).write(answer);
  EXPECT_EQ(answer.code, 3U);
  EXPECT_EQ(answer.lifetime_ms, 77U);
  EXPECT_EQ(answer.size, offsetof(hyperward_answer, lifetime_ms));
}

// ---- Packets

TEST_F(Face, shows_the_flow) {
  packet.direction = HYPERWARD_IN;
  packet.why = HYPERWARD_EXPIRED;
  packet.protocol = IPPROTO_TCP;
  packet.remote_port = 25;
  const Address remote("203.0.113.9");
  std::copy(remote.bytes().begin(), remote.bytes().end(), packet.remote_address);
  look([](const View&, const Packet& seen) {
    EXPECT_EQ(seen.direction, Direction::kIn);
    EXPECT_EQ(seen.why, Why::kExpired);
    EXPECT_TRUE(seen.is_tcp());
    EXPECT_FALSE(seen.is_udp());
    EXPECT_EQ(to_string(seen.remote), "203.0.113.9:25");
    EXPECT_FALSE(seen.history.has_value());
    EXPECT_EQ(seen.frame.size, 0U);
  });
}

TEST_F(Face, shows_the_frame_as_far_as_it_was_captured) {
  const std::array<uint8_t, 3> frame{1, 2, 3};
  packet.frame = frame.data();
  packet.captured_bytes = frame.size();
  packet.frame_bytes = 60;
  look([](const View&, const Packet& seen) {
    EXPECT_THAT(std::vector<uint8_t>(seen.frame.begin(), seen.frame.end()), ElementsAre(1, 2, 3));
    EXPECT_EQ(seen.frame_bytes, 60U);
  });
}

TEST_F(Face, shows_what_is_known_of_the_flow) {
  auto history = sized<hyperward_history>();
  history.verdict = HYPERWARD_DENY;
  history.packets[1] = 4;
  packet.history = &history;
  look([](const View&, const Packet& seen) {
    ASSERT_TRUE(seen.history.has_value());
    EXPECT_EQ(seen.history->verdict, Verdict::kDeny);
    EXPECT_EQ(seen.history->packets[1], 4U);
  });
}

TEST_F(Face, takes_what_an_old_host_does_not_know_for_nothing) {
  packet.history = reinterpret_cast<const hyperward_history*>(1);
  packet.size = offsetof(hyperward_packet, history);
  look([](const View&, const Packet& seen) { EXPECT_FALSE(seen.history.has_value()); });
}

// ---- The guest

TEST_F(Face, knows_of_the_owner_what_is_known) {
  guest.own(1000, 7, kTask);
  std::strcpy(guest.owner.comm, "scan");
  look([](const View& view, const Packet&) {
    const Owner owner = view.owner();
    EXPECT_EQ(owner.uid, 1000U);
    EXPECT_EQ(owner.gid, std::nullopt);
    EXPECT_EQ(owner.pid, 7U);
    EXPECT_EQ(owner.comm, "scan");
    EXPECT_EQ(owner.task, kTask);
  });
}

TEST_F(Face, knows_no_owner_who_is_unknown) {
  guest.owner.how = HYPERWARD_NOT_FOUND_OUT;
  look([](const View& view, const Packet&) {
    EXPECT_EQ(view.owner().how, How::kNotFound);
    EXPECT_EQ(view.owner().uid, std::nullopt);
    EXPECT_EQ(view.owner().pid, std::nullopt);
  });
}

TEST_F(Face, lists_tasks_and_their_files) {
  guest.add_task(kTask, 1, "init");
  guest.add_task(kTask + 1, 2, "sixteen-bytes-is");
  auto file = sized<hyperward_file>();
  file.fd = 5;
  guest.files[kTask] = {file};
  look([](const View& view, const Packet&) {
    const std::vector<Task> tasks = view.tasks().value();
    ASSERT_EQ(tasks.size(), 2U);
    EXPECT_EQ(tasks[0].comm, "init");
    EXPECT_EQ(tasks[1].comm, "sixteen-bytes-i");
    EXPECT_EQ(view.files(tasks[0].address).value().at(0).fd, 5U);
    EXPECT_THAT(*view.files(tasks[1].address), IsEmpty());
    EXPECT_EQ(view.task_by_pid(2)->address, kTask + 1);
    EXPECT_EQ(view.task_at(kTask)->pid, 1U);
    EXPECT_EQ(view.task_by_pid(3).error(), Error::kNotFound);
  });
}

TEST_F(Face, tells_why_there_is_no_result) {
  guest.broken = HYPERWARD_LIMIT;
  look([](const View& view, const Packet&) {
    EXPECT_EQ(view.tasks().error(), Error::kLimit);
    EXPECT_EQ(view.files(kTask).error(), Error::kLimit);
    EXPECT_EQ(view.executable(kTask).error(), Error::kLimit);
    EXPECT_EQ(view.read<uint32_t>(kTask).error(), Error::kLimit);
    EXPECT_FALSE(view.socket_at(1));
  });
}

TEST_F(Face, makes_a_value_that_is_not_there_a_fault) {
  guest.broken = HYPERWARD_UNREADABLE;
  const hyperward_answer answer =
      ask([](const View& view, const Packet&) { return view.tasks().value().empty() ? allow() : deny("crowded"); });
  EXPECT_EQ(answer.verdict, 0U);
  EXPECT_THAT(answer.reason, StrEq("the guest cannot be read there"));
}

TEST_F(Face, gives_paths) {
  guest.executables[kTask] = "/usr/bin/curl";
  guest.cgroups[kTask] = "/system.slice/cron.service";
  look([](const View& view, const Packet&) {
    EXPECT_EQ(*view.executable(kTask), "/usr/bin/curl");
    EXPECT_EQ(*view.cgroup(kTask), "/system.slice/cron.service");
  });
}

TEST_F(Face, reads_members_by_their_names) {
  guest.fields["task_struct.loginuid.val"] = {.offset_bytes = 16, .size_bytes = 4};
  guest.memory[kTask + 16] = 1000;
  look([](const View& view, const Packet&) {
    Field loginuid{"task_struct", "loginuid.val"};
    EXPECT_EQ(*view.read<uint32_t>(kTask, loginuid), 1000U);
    EXPECT_EQ(view.read<uint64_t>(kTask, loginuid).error(), Error::kUnsupported);
  });
}

TEST_F(Face, finds_a_field_once_in_a_boot) {
  guest.fields["task_struct.pid"] = {.offset_bytes = 16, .size_bytes = 4};
  guest.memory[kTask + 16] = 7;
  guest.memory[kTask + 24] = 8;
  look([this](const View& view, const Packet&) {
    Field pid{"task_struct", "pid"};
    EXPECT_EQ(*view.read<uint32_t>(kTask, pid), 7U);
    EXPECT_EQ(*view.read<uint32_t>(kTask, pid), 7U);
    EXPECT_EQ(guest.field_lookups, 1U);
    guest.boot = 2;
    guest.fields["task_struct.pid"].offset_bytes = 24;
    EXPECT_EQ(*view.read<uint32_t>(kTask, pid), 8U);
    EXPECT_EQ(guest.field_lookups, 2U);
  });
}

TEST_F(Face, looks_again_for_a_field_that_was_not_found) {
  look([this](const View& view, const Packet&) {
    Field pid{"task_struct", "pid"};
    EXPECT_EQ(view.read<uint32_t>(kTask, pid).error(), Error::kNotFound);
    guest.fields["task_struct.pid"] = {.offset_bytes = 16, .size_bytes = 4};
    guest.memory[kTask + 16] = 7;
    EXPECT_EQ(*view.read<uint32_t>(kTask, pid), 7U);
  });
}

TEST_F(Face, remarks_and_logs) {
  look([](const View& view, const Packet&) {
    view.remark(Verdict::kDeny, 4);
    view.log("one line");
  });
  EXPECT_THAT(guest.remarks, ElementsAre(std::pair<uint8_t, uint32_t>(HYPERWARD_DENY, 4)));
  EXPECT_THAT(guest.log, ElementsAre("one line"));
}

TEST_F(Face, does_without_functions_that_an_old_host_lacks) {
  host.size = offsetof(hyperward_host, socket_at);
  look([](const View& view, const Packet&) {
    EXPECT_EQ(view.socket_at(1).error(), Error::kUnsupported);
    EXPECT_EQ(view.cgroup(kTask).error(), Error::kUnsupported);
    view.log("to nobody");
  });
  EXPECT_THAT(guest.log, IsEmpty());
}

// ---- Addresses

TEST(Addresses, are_written_as_they_are_read) {
  for (const char* text : {"10.0.0.1", "2001:db8::1", "::", "0.0.0.0"}) EXPECT_EQ(to_string(Address(text)), text);
  EXPECT_EQ(to_string(Endpoint{Address("2001:db8::1"), 443}), "[2001:db8::1]:443");
  EXPECT_THROW(Address("10.0.0"), std::invalid_argument);
}

TEST(Addresses, are_unspecified_in_both_families) {
  EXPECT_TRUE(Address("::").is_unspecified());
  EXPECT_TRUE(Address("0.0.0.0").is_unspecified());
  EXPECT_FALSE(Address("0.0.0.1").is_unspecified());
}

TEST(Networks, hold_the_addresses_of_their_prefix) {
  EXPECT_TRUE(Network("10.0.0.0/8").contains(Address("10.255.0.1")));
  EXPECT_FALSE(Network("10.0.0.0/8").contains(Address("11.0.0.1")));
  EXPECT_TRUE(Network("172.16.0.0/12").contains(Address("172.31.255.255")));
  EXPECT_FALSE(Network("172.16.0.0/12").contains(Address("172.32.0.0")));
  EXPECT_TRUE(Network("192.0.2.1").contains(Address("192.0.2.1")));
  EXPECT_FALSE(Network("192.0.2.1").contains(Address("192.0.2.0")));
  EXPECT_TRUE(Network("fd00::/7").contains(Address("fc00::1")));
  EXPECT_TRUE(Network("::1/128").contains(Address("::1")));
}

TEST(Networks, hold_no_address_of_the_other_family) {
  EXPECT_FALSE(Network("::/0").contains(Address("10.0.0.1")));
  EXPECT_FALSE(Network("0.0.0.0/0").contains(Address("fd00::1")));
}

TEST(Networks, refuse_what_is_none) {
  for (const char* text : {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/8x", "fd00::/129", "ten", ""})
    EXPECT_THROW(Network{text}, std::invalid_argument) << text;
}

// ---- Tables

struct Silent {
  Answer judge(const View&, const Packet&) { return allow(); }
};

struct Picky {
  explicit Picky(std::string_view settings) { throw std::invalid_argument("no: " + std::string(settings)); }
  Answer judge(const View&, const Packet&) { return allow(); }
};

template <typename Class>
std::string refusal_of(const char* settings, size_t room = 64) {
  FakeGuest guest;
  const hyperward_module made = table<Class>("made", "1.0", "");
  std::array<char, 64> error{};
  error.fill('#');
  void* instance = nullptr;
  if (made.create(&FakeGuest::host(), settings, &instance, error.data(), room) != 0) return error.data();
  made.destroy(instance);
  return "";
}

TEST(Tables, say_what_they_are_told) {
  constexpr hyperward_module kMade = table<Silent>("silent", "2.1", "says nothing", needs_guest() | needs_frame(96));
  EXPECT_EQ(kMade.size, sizeof(hyperward_module));
  EXPECT_EQ(kMade.abi, HYPERWARD_ABI);
  EXPECT_THAT(kMade.name, StrEq("silent"));
  EXPECT_EQ(kMade.needs, HYPERWARD_NEEDS_GUEST | HYPERWARD_NEEDS_FRAME);
  EXPECT_EQ(kMade.frame_bytes, 96U);
}

TEST(Tables, count_where_the_class_counts) {
  EXPECT_EQ(table<Silent>("silent", "1.0", "").counters, nullptr);
  FakeGuest guest;
  const hyperward_module made = table<Puppet>("puppet", "1.0", "");
  void* instance = nullptr;
  ASSERT_EQ(made.create(&FakeGuest::host(), "{\"a\": 1}", &instance, nullptr, 0), 0);
  std::array<hyperward_counter, 2> out{};
  EXPECT_EQ(made.counters(instance, out.data(), 1), 1U);
  EXPECT_THAT(out[0].name, StrEq("settings_bytes"));
  EXPECT_EQ(out[0].value, 8U);
  EXPECT_EQ(out[1].name, nullptr);
  made.destroy(instance);
}

TEST(Tables, make_the_exception_of_a_constructor_the_reason_of_a_refusal) {
  EXPECT_EQ(refusal_of<Picky>("{}"), "no: {}");
  EXPECT_EQ(refusal_of<Picky>("{}", 4), "no:");
}

TEST(Tables, refuse_settings_where_the_class_takes_none) {
  EXPECT_EQ(refusal_of<Silent>(" { }\n"), "");
  EXPECT_THAT(refusal_of<Silent>("{\"a\": 1}"), HasSubstr("no settings"));
}

}  // namespace
}  // namespace hyperward::module
