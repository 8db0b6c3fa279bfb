// Modules in real processes: this program is also the one that runs them.
#include "filter/module_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/mapping.h"
#include "filter/loaded_module.h"
#include "filter/module_host.h"
#include "filter/recording.h"
#include "filter/rules_module.h"
#include "memory/open.h"

namespace hyperward::filter {
namespace {

using namespace std::chrono_literals;
using testing::AnyOf;
using testing::HasSubstr;

constexpr uint16_t kTrigger = 666;  // of a deed
constexpr uint16_t kInnocent = 443;
constexpr auto kPatience = 20s;  // of a test on a busy machine

Question a_question(uint16_t port, std::span<const std::byte> frame = {}) {
  const packet::FlowKey flow{.protocol = Protocol::kTcp,
                             .source = {IpAddress::v4(10, 9, 0, 2), 43210},
                             .destination = {IpAddress::v4(203, 0, 113, 9), port}};
  guest::Owner owner;
  owner.how = guest::How::kCredentials;
  owner.uid = 1000;
  owner.process = guest::ProcessId{.pid = 7, .comm = "curl", .start_time_ns = 1};
  return question_of(flow, policy::Direction::kOut, HYPERWARD_NEW_FLOW, owner, nullptr, frame);
}

ModuleProcessOptions deed(std::string_view name) {
  return {.label = "test", .file = HYPERWARD_DEEDS, .settings = fmt::format(R"({{"deed": "{}"}})", name)};
}

// A module's process with somebody who asks it, as a guard does.
class Asker {
 public:
  explicit Asker(ModuleProcessOptions options) {
    options.ended = [this](const ModuleEnd& end) { ends.push_back(end); };
    auto started = ModuleProcess::start(std::move(options));
    HW_CHECK(started.has_value());
    module = *std::move(started);
  }

  // Leaves a question with the module, which may say at once that it cannot be asked.
  uint64_t ask(uint16_t port, uint64_t boot = 0) {
    GuestView view(boot == 0 ? nullptr : kNeverRead, boot);
    if (auto said = module->ask(++ticket_, a_question(port, frame_), view)) answers_.emplace(ticket_, *std::move(said));
    return ticket_;
  }

  // Turns as a guard does until the question is answered.
  Module::Said answer(uint64_t ticket) {
    module->flush();
    turn_until([&] { return answers_.contains(ticket); });
    const auto found = answers_.find(ticket);
    return found == answers_.end() ? Module::Said(fail(Code::kLimit, "no answer")) : found->second;
  }
  Module::Said say(uint16_t port, uint64_t boot = 0) { return answer(ask(port, boot)); }

  template <typename Condition>
  bool turn_until(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    std::vector<Module::Answered> answered;
    module->collect(answered);
    while (true) {
      for (auto& one : answered) {
        EXPECT_FALSE(answers_.contains(one.ticket)) << "answered twice";
        answers_.emplace(one.ticket, std::move(one.said));
      }
      answered.clear();
      if (condition()) return true;
      if (std::chrono::steady_clock::now() >= end) return false;
      pollfd waiting{module->fd(), POLLIN, 0};
      ::poll(&waiting, 1, 1000);
      module->collect(answered);
    }
  }

  bool runs_again(uint64_t restarts) {
    return turn_until([&] { return module->status().running && module->status().restarts >= restarts; });
  }

  std::unique_ptr<ModuleProcess> module;
  std::vector<ModuleEnd> ends;

 private:
  // A view has a boot only with a guest; nobody reads this one here.
  guest::Guest* const kNeverRead = reinterpret_cast<guest::Guest*>(this);
  std::vector<std::byte> frame_ = std::vector<std::byte>(100, std::byte{0x5a});
  std::map<uint64_t, Module::Said> answers_;
  uint64_t ticket_ = 0;
};

// What must hold for every deed: what was in hand is a fault, a new process goes on, and nobody else notices. Gives why
// the process ended.
std::string after(std::string_view name, ModuleProcessOptions options) {
  Asker other(deed("tell boot"));
  const pid_t bystander = other.module->status().pid;
  Asker asker(std::move(options));
  EXPECT_TRUE(asker.say(kInnocent).has_value()) << name;

  const uint64_t guilty = asker.ask(kTrigger), behind = asker.ask(kInnocent);
  asker.module->flush();
  EXPECT_TRUE(asker.runs_again(1)) << name;
  const auto first = asker.answer(guilty), second = asker.answer(behind);
  EXPECT_FALSE(second.has_value()) << name << ": what was in hand is a fault";
  EXPECT_TRUE(!first.has_value() || name == "answer twice") << name;
  EXPECT_TRUE(asker.say(kInnocent).has_value()) << name << ": and it is asked again";

  EXPECT_TRUE(other.say(kInnocent).has_value());
  EXPECT_EQ(other.module->status().pid, bystander);
  EXPECT_EQ(other.module->status().faults, 0U);
  EXPECT_EQ(asker.ends.size(), 1U);
  return asker.ends.empty() ? "" : asker.ends[0].why;
}
std::string after(std::string_view name) {
  return after(name, deed(name));
}

TEST(ModuleProcess, outlives_a_module_that_segfaults) {
  EXPECT_THAT(after("segfault"), HasSubstr("killed by SIGSEGV"));
}

TEST(ModuleProcess, outlives_a_module_that_aborts_and_repeats_its_words) {
  EXPECT_THAT(after("abort"), HasSubstr("killed by SIGABRT (deeds: I give up)"));
}

TEST(ModuleProcess, outlives_a_module_that_exits) {
  EXPECT_THAT(after("exit"), HasSubstr("ended with status 0"));
}

TEST(ModuleProcess, ends_a_module_that_loops) {
  EXPECT_THAT(after("loop"), HasSubstr("did not answer within 200 ms"));
}

TEST(ModuleProcess, ends_a_module_that_never_answers) {
  EXPECT_THAT(after("sleep"), HasSubstr("did not answer within 200 ms"));
}

TEST(ModuleProcess, ends_a_module_that_allocates_without_end) {
  auto options = deed("allocate");
  options.memory_bytes = 64 << 20;
  options.deadline = 15s;
  EXPECT_THAT(after("allocate", options), AnyOf(HasSubstr("SIGABRT"), HasSubstr("ended with"), HasSubstr("SIGSYS")));
}

TEST(ModuleProcess, ends_a_module_that_answers_nonsense) {
  EXPECT_THAT(after("answer nonsense"), HasSubstr("it answered 7, which is no verdict"));
}

TEST(ModuleProcess, ends_a_module_that_writes_wild_into_the_rings) {
  EXPECT_THAT(after("write wild"), HasSubstr("answers to 2 questions"));
}

TEST(ModuleProcess, ends_a_module_that_answers_twice) {
  EXPECT_THAT(after("answer twice"), HasSubstr("it answered question 2 where 3 was due"));
}

TEST(ModuleProcess, ends_a_module_that_answers_too_much) {
  EXPECT_THAT(after("answer too much"), HasSubstr("it claims 1000 answers to 2 questions"));
}

TEST(ModuleProcess, ends_a_module_that_wakes_for_nothing) {
  auto options = deed("wake for nothing");
  options.deadline = 15s;
  EXPECT_THAT(after("wake for nothing", options), HasSubstr("wakes the daemon for nothing"));
}

TEST(ModuleProcess, ends_a_module_that_opens_a_file) {
  EXPECT_THAT(after("open"), HasSubstr("SIGSYS, for a system call"));
}

TEST(ModuleProcess, ends_a_module_that_makes_a_socket) {
  EXPECT_THAT(after("socket"), HasSubstr("SIGSYS"));
}

TEST(ModuleProcess, ends_a_module_that_forks) {
  EXPECT_THAT(after("fork"), HasSubstr("SIGSYS"));
}

TEST(ModuleProcess, ends_a_module_that_starts_a_thread) {
  EXPECT_THAT(after("thread"), HasSubstr("SIGSYS"));
}

TEST(ModuleProcess, ends_a_module_that_kills_its_parent) {
  EXPECT_THAT(after("kill parent"), HasSubstr("SIGSYS"));
}

TEST(ModuleProcess, ends_a_module_that_executes_a_program) {
  EXPECT_THAT(after("execute"), HasSubstr("SIGSYS"));
}

TEST(ModuleProcess, ends_a_module_that_makes_code) {
  EXPECT_THAT(after("make code"), HasSubstr("SIGSYS"));
}

TEST(ModuleProcess, runs_constructors_in_the_sandbox_already) {
  const auto started = ModuleProcess::start({.label = "test", .file = HYPERWARD_EARLY});
  ASSERT_FALSE(started.has_value());
  EXPECT_THAT(started.error().message, HasSubstr("SIGSYS"));
}

TEST(ModuleProcess, repeats_why_a_module_refuses_its_settings) {
  const auto started = ModuleProcess::start(deed("something good"));
  ASSERT_FALSE(started.has_value());
  EXPECT_EQ(started.error().code, Code::kInvalid);
  EXPECT_THAT(started.error().message, HasSubstr("that is no deed of mine"));
}

TEST(ModuleProcess, says_that_there_is_no_such_file) {
  const auto started = ModuleProcess::start({.label = "test", .file = "/nowhere.so"});
  ASSERT_FALSE(started.has_value());
  EXPECT_EQ(started.error().code, Code::kNotFound);
}

TEST(ModuleProcess, says_that_a_file_is_no_module) {
  const auto started = ModuleProcess::start({.label = "test", .file = "/etc/hostname"});
  ASSERT_FALSE(started.has_value());
  EXPECT_THAT(started.error().message, HasSubstr("load /etc/hostname"));
}

TEST(ModuleProcess, tells_what_the_module_says_of_itself) {
  const Asker asker(deed("tell boot"));
  EXPECT_EQ(asker.module->info().name, "deeds");
  EXPECT_EQ(asker.module->info().description, "does what it should not");
  EXPECT_EQ(asker.module->info().frame_bytes, 64U);
}

TEST(ModuleProcess, shows_the_modules_counters) {
  Asker asker(deed("tell boot"));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(asker.say(kInnocent).has_value());
  EXPECT_TRUE(asker.turn_until([&] {
    const auto counters = asker.module->status().counters;
    ::usleep(1000);
    return counters.size() == 1 && counters[0].name == "judged" && counters[0].value == 3;
  }));
}

TEST(ModuleProcess, answers_all_of_many_batches) {
  Asker asker(deed("tell boot"));
  for (int round = 0; round < 20; ++round) {
    std::vector<uint64_t> tickets;
    tickets.reserve(100);
    for (int i = 0; i < 100; ++i) tickets.push_back(asker.ask(kInnocent));
    for (const uint64_t ticket : tickets) ASSERT_TRUE(asker.answer(ticket).has_value());
  }
  EXPECT_EQ(asker.module->status().faults, 0U);
  EXPECT_EQ(asker.module->status().asked, 2000U);
}

TEST(ModuleProcess, is_woken_after_both_have_slept) {
  Asker asker(deed("tell boot"));
  for (int i = 0; i < 5; ++i) {
    ::usleep(20'000);
    EXPECT_TRUE(asker.say(kInnocent).has_value());
  }
}

TEST(ModuleProcess, sends_a_batch_that_waits_when_its_time_is_over) {
  auto options = deed("tell boot");
  options.batch_wait = 20ms;
  Asker asker(options);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(asker.say(kInnocent).has_value());
  EXPECT_GE(std::chrono::steady_clock::now() - start, 20ms);
}

TEST(ModuleProcess, takes_no_more_questions_than_it_can_hold) {
  Asker asker(deed("sleep"));
  std::vector<uint64_t> tickets{asker.ask(kTrigger)};
  for (uint32_t i = 0; i < ring::kSlots; ++i) tickets.push_back(asker.ask(kInnocent));
  const auto last = asker.answer(tickets.back());
  ASSERT_FALSE(last.has_value());
  EXPECT_THAT(last.error().message, HasSubstr("more questions in hand"));
  for (const uint64_t ticket : tickets) EXPECT_FALSE(asker.answer(ticket).has_value());
}

TEST(ModuleProcess, waits_longer_before_each_further_restart) {
  Asker asker(deed("exit"));
  for (uint64_t i = 1; i <= 3; ++i) {
    EXPECT_FALSE(asker.say(kTrigger).has_value());
    ASSERT_TRUE(asker.runs_again(i));
  }
  ASSERT_EQ(asker.ends.size(), 3U);
  EXPECT_EQ(asker.ends[0].restart_in, 0ms);
  EXPECT_EQ(asker.ends[1].restart_in, 100ms);
  EXPECT_EQ(asker.ends[2].restart_in, 200ms);
}

TEST(ModuleProcess, is_a_fault_at_once_while_no_process_runs) {
  Asker asker(deed("exit"));
  for (uint64_t i = 1; i <= 2; ++i) {
    EXPECT_FALSE(asker.say(kTrigger).has_value());
    ASSERT_TRUE(i == 2 || asker.runs_again(i));
  }
  ASSERT_TRUE(asker.turn_until([&] { return asker.ends.size() == 2; }));
  ASSERT_FALSE(asker.module->status().running);
  GuestView view(nullptr, 0);
  const auto said = asker.module->ask(1000, a_question(kInnocent), view);
  ASSERT_TRUE(said.has_value());
  ASSERT_FALSE(said->has_value());
  EXPECT_THAT(said->error().message, HasSubstr("does not run"));
}

TEST(ModuleProcess, notices_that_its_process_was_killed_while_nothing_was_asked) {
  Asker asker(deed("tell boot"));
  ASSERT_EQ(::kill(asker.module->status().pid, SIGKILL), 0);
  EXPECT_TRUE(asker.runs_again(1));
  EXPECT_TRUE(asker.say(kInnocent).has_value());
}

TEST(ModuleProcess, ends_its_process_with_itself) {
  pid_t pid = 0;
  {
    const Asker asker(deed("tell boot"));
    pid = asker.module->status().pid;
    ASSERT_EQ(::kill(pid, 0), 0);
  }
  EXPECT_NE(::kill(pid, 0), 0);
}

TEST(ModuleProcess, records_what_was_in_hand) {
  std::string pattern = std::filesystem::temp_directory_path() / "hyperward-test-XXXXXX";
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  auto options = deed("segfault");
  options.recordings = pattern;
  Asker asker(options);
  ASSERT_TRUE(asker.say(kInnocent).has_value());
  const uint64_t guilty = asker.ask(kTrigger);
  asker.ask(kInnocent);
  EXPECT_FALSE(asker.answer(guilty).has_value());
  ASSERT_TRUE(asker.runs_again(1));

  ASSERT_EQ(asker.ends.size(), 1U);
  const auto recording = read_recording(asker.ends[0].recording);
  ASSERT_TRUE(recording.has_value()) << recording.error().message;
  EXPECT_EQ(recording->module, "deeds");
  EXPECT_EQ(recording->settings, options.settings);
  ASSERT_EQ(recording->asked.size(), 2U);
  EXPECT_EQ(recording->asked[0].question.packet.remote_port, kTrigger);
  EXPECT_EQ(recording->asked[0].question.owner.uid, 1000U);
  EXPECT_EQ(recording->asked[0].question.frame.size(), 64U);
  std::filesystem::remove_all(pattern);
}

TEST(ModuleProcess, keeps_a_bounded_number_of_recordings) {
  std::string pattern = std::filesystem::temp_directory_path() / "hyperward-test-XXXXXX";
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  const Fd fd = ring::make_memory(0).value();
  const Mapping memory = Mapping::read_write(fd, ring::memory_bytes(0)).value();
  ring::AskingEnd ring(memory.writable(), 0);
  ring.put(1, a_question(kInnocent), 0);
  const ModuleInfo module{.name = "x", .version = "1", .description = ""};
  std::filesystem::path last;
  for (size_t i = 0; i < kRecordingsKept + 3; ++i) last = record(pattern, module, "{}", ring, 1).value();
  const auto files = std::distance(std::filesystem::directory_iterator(pattern), {});
  EXPECT_EQ(static_cast<size_t>(files), kRecordingsKept);
  EXPECT_TRUE(std::filesystem::exists(last));
  std::filesystem::remove_all(pattern);
}

// The same rules here and there.
TEST(ModuleProcess, judges_by_the_built_in_rules_as_this_process_does) {
  const std::string settings =
      R"({"rules": "audit deny to tcp port 25\ndeny log to tcp port 25 from uid 1000\nallow to tcp port 443\n)"
      R"(default deny\n"})";
  auto here = LoadedModule::make(rules_module(), settings).value();
  Asker there({.label = "test", .settings = settings});
  for (const uint16_t port : {uint16_t{25}, uint16_t{443}, uint16_t{80}}) {
    GuestView view(nullptr, 0);
    const Answer expected = here->judge(a_question(port), view).value();
    const auto said = there.say(port);
    ASSERT_TRUE(said.has_value());
    EXPECT_EQ(said->verdict, expected.verdict);
    EXPECT_EQ(said->log, expected.log);
    EXPECT_EQ(said->code, expected.code);
    EXPECT_EQ(said->lifetime, expected.lifetime);
    EXPECT_EQ(said->reason, expected.reason);
    EXPECT_EQ(said->remarks_left_out, expected.remarks_left_out);
    ASSERT_EQ(said->remarks().size(), expected.remarks().size());
    for (size_t i = 0; i < said->remarks().size(); ++i) {
      EXPECT_EQ(said->remarks()[i].code, expected.remarks()[i].code);
      EXPECT_EQ(said->remarks()[i].verdict, expected.remarks()[i].verdict);
    }
  }
}

TEST(ModuleProcess, shows_no_guest_to_a_question_of_another_boot) {
  Asker asker(deed("tell boot"));
  const auto said = asker.say(kTrigger, 7);
  ASSERT_TRUE(said.has_value());
  EXPECT_EQ(said->code, 0U);
}

// With a real guest, whose QEMU shares its memory, once mapped and once read: HYPERWARD_TEST_GUEST is its process.
class ModuleProcessWithGuest : public testing::TestWithParam<bool> {
 protected:
  static constexpr uint64_t kBoot = 3;

  void SetUp() override {
    const char* const pid = std::getenv("HYPERWARD_TEST_GUEST");
    if (pid == nullptr) GTEST_SKIP() << "no guest to read: boot one, and set HYPERWARD_TEST_GUEST to QEMU's process";
    memory::OpenOptions options;
    options.force_process_reads = !is_mapped();
    memory_ = memory::open_process(std::atoi(pid), options).value();
  }

  ModuleProcessOptions with_guest(std::string_view name) {
    ModuleProcessOptions options = deed(name);
    options.guest = [this] { return GuestMessage{.boot = kBoot, .ram = memory_->handle().value()}; };
    options.deadline = 10s;
    return options;
  }

  static bool is_mapped() { return GetParam(); }

  std::unique_ptr<memory::PhysicalMemory> memory_;
};

INSTANTIATE_TEST_SUITE_P(Ram, ModuleProcessWithGuest, testing::Bool(),
                         [](const auto& mapped) { return mapped.param ? "mapped" : "read"; });

TEST_P(ModuleProcessWithGuest, shows_the_guest_to_a_question_of_its_boot) {
  Asker asker(with_guest("tell boot"));
  EXPECT_EQ(asker.say(kTrigger, kBoot).value().code, kBoot);
  EXPECT_EQ(asker.say(kTrigger, kBoot - 1).value().code, 0U);
}

TEST_P(ModuleProcessWithGuest, reads_what_this_process_reads) {
  Asker asker(with_guest("read banner"));
  const uint32_t code = asker.say(kTrigger, kBoot).value().code;
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(&code), sizeof(code)), "Linu");
}

TEST_P(ModuleProcessWithGuest, gives_no_descriptor_that_the_ram_could_be_written_by) {
  Asker asker(with_guest("map descriptors"));
  EXPECT_EQ(asker.say(kTrigger, kBoot).value().code, is_mapped() ? 1U : 0U) << "the RAM, for reading";
}

TEST_P(ModuleProcessWithGuest, shows_it_again_after_a_change) {
  bool readable = false;
  auto options = with_guest("tell boot");
  options.guest = [&] {
    return readable ? GuestMessage{.boot = kBoot, .ram = memory_->handle().value()} : GuestMessage();
  };
  Asker asker(options);
  EXPECT_EQ(asker.say(kTrigger, kBoot).value().code, 0U);
  readable = true;
  asker.module->guest_changed();
  if (is_mapped()) {  // more memory than it was made for: a new process
    ASSERT_TRUE(asker.runs_again(1));
  }
  EXPECT_EQ(asker.say(kTrigger, kBoot).value().code, kBoot);
  readable = false;
  asker.module->guest_changed();
  EXPECT_EQ(asker.say(kTrigger, kBoot + 1).value().code, 0U);
  EXPECT_EQ(asker.module->status().restarts, is_mapped() ? 1U : 0U);
}

}  // namespace
}  // namespace hyperward::filter

// A crash in a module's process shall be one, not a report of AddressSanitizer's.
extern "C" const char* __asan_default_options();   // NOLINT(bugprone-reserved-identifier)
extern "C" const char* __asan_default_options() {  // NOLINT(bugprone-reserved-identifier)
  return "handle_segv=0:handle_abort=0:allocator_may_return_null=1";
}

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == hyperward::filter::kModuleHostCommand)
    ::_exit(hyperward::filter::run_module_host() ? 0 : 1);
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
