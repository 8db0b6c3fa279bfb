#include "filter/loaded_module.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string_view>

#include "filter/rules_module.h"

namespace hyperward::filter {
namespace {

using testing::HasSubstr;

const packet::FlowKey kMail{.protocol = Protocol::kTcp,
                            .source = {IpAddress::v4(10, 9, 0, 2), 43210},
                            .destination = {IpAddress::v4(203, 0, 113, 9), 25}};

// A module that says what its settings are: the bytes of an answer's verdict.
struct Echo {
  uint8_t verdict = 0;
  uint64_t asked = 0;
};

int create_echo(const hyperward_host*, const char* settings, void** instance, char* error, size_t room) {
  if (std::string_view(settings) == "{}") {
    std::strncpy(error, "tell it what to say", room);
    return 1;
  }
  *instance = new Echo{.verdict = static_cast<uint8_t>(settings[0])};
  return 0;
}

void destroy_echo(void* instance) {
  delete static_cast<Echo*>(instance);
}

void judge_echo(void* instance, hyperward_view*, const hyperward_packet* packet, hyperward_answer* answer) {
  auto& echo = *static_cast<Echo*>(instance);
  ++echo.asked;
  answer->verdict = echo.verdict;
  answer->code = packet->captured_bytes;
  std::memset(answer->reason, 'x', sizeof(answer->reason));
}

size_t count_echo(void* instance, hyperward_counter* out, size_t room) {
  if (room < 2) return 0;
  out[0] = {.name = "asked", .value = static_cast<Echo*>(instance)->asked};
  out[1] = {.name = "no name\n", .value = 1};
  return 2;
}

hyperward_module echo_table() {
  return {.size = sizeof(hyperward_module),
          .abi = HYPERWARD_ABI,
          .name = "echo",
          .version = "1",
          .description = "",
          .needs = 0,
          .frame_bytes = 0,
          .create = create_echo,
          .destroy = destroy_echo,
          .judge = judge_echo,
          .counters = count_echo};
}

std::string settings_of(hyperward_verdict verdict) {
  return {static_cast<char>(verdict), 'x'};
}

Question a_question(std::span<const std::byte> frame = {}) {
  return question_of(kMail, policy::Direction::kOut, HYPERWARD_NEW_FLOW, guest::Owner{}, nullptr, frame);
}

TEST(LoadedModule, gives_what_the_module_says) {
  const hyperward_module table = echo_table();
  auto module = LoadedModule::make(table, settings_of(HYPERWARD_DENY)).value();
  GuestView view(nullptr, 0);
  const Answer answer = module->judge(a_question(), view).value();
  EXPECT_EQ(answer.verdict, policy::Verdict::kDeny);
  EXPECT_EQ(answer.lifetime, Answer::kForever);
  EXPECT_EQ(module->status().denied, 1U);
}

TEST(LoadedModule, ends_the_words_of_a_module_that_does_not) {
  const hyperward_module table = echo_table();
  auto module = LoadedModule::make(table, settings_of(HYPERWARD_ALLOW)).value();
  GuestView view(nullptr, 0);
  EXPECT_EQ(module->judge(a_question(), view).value().reason, std::string(HYPERWARD_REASON_BYTES, 'x'));
}

TEST(LoadedModule, takes_what_is_no_verdict_for_a_fault) {
  const hyperward_module table = echo_table();
  auto module = LoadedModule::make(table, "7").value();
  GuestView view(nullptr, 0);
  const auto said = module->judge(a_question(), view);
  ASSERT_FALSE(said.has_value());
  EXPECT_EQ(said.error().code, Code::kInvalid);
  EXPECT_EQ(module->status().faults, 1U);
}

TEST(LoadedModule, repeats_how_a_module_explains_its_fault) {
  const hyperward_module table = echo_table();
  auto module = LoadedModule::make(table, "7").value();
  GuestView view(nullptr, 0);
  const auto said = module->judge(a_question(), view);
  ASSERT_FALSE(said.has_value());
  EXPECT_THAT(said.error().message, HasSubstr("it failed: xxxx"));
}

TEST(LoadedModule, repeats_why_a_module_refuses_its_settings) {
  const hyperward_module table = echo_table();
  const auto module = LoadedModule::make(table, "{}");
  ASSERT_FALSE(module.has_value());
  EXPECT_THAT(module.error().message, HasSubstr("tell it what to say"));
}

TEST(LoadedModule, refuses_another_version_of_the_interface) {
  hyperward_module table = echo_table();
  table.abi = HYPERWARD_ABI + 1;
  const auto module = LoadedModule::make(table, "x");
  ASSERT_FALSE(module.has_value());
  EXPECT_THAT(module.error().message, HasSubstr("version 2 of the module interface"));
}

TEST(LoadedModule, never_looks_beyond_the_size_of_a_table) {
  hyperward_module table = echo_table();
  table.size = offsetof(hyperward_module, counters);
  auto module = LoadedModule::make(table, settings_of(HYPERWARD_ALLOW)).value();
  EXPECT_TRUE(module->status().counters.empty());
  table.size = offsetof(hyperward_module, judge);
  EXPECT_FALSE(LoadedModule::make(table, "x").has_value());
}

TEST(LoadedModule, shows_the_counters_whose_names_are_names) {
  const hyperward_module table = echo_table();
  auto module = LoadedModule::make(table, settings_of(HYPERWARD_ALLOW)).value();
  GuestView view(nullptr, 0);
  ASSERT_TRUE(module->judge(a_question(), view).has_value());
  const auto counters = module->status().counters;
  ASSERT_EQ(counters.size(), 1U);
  EXPECT_EQ(counters[0].name, "asked");
  EXPECT_EQ(counters[0].value, 1U);
}

TEST(LoadedModule, hands_out_as_much_of_a_frame_as_is_needed) {
  const std::array<std::byte, 100> frame{};
  GuestView view(nullptr, 0);
  hyperward_module table = echo_table();
  auto without = LoadedModule::make(table, settings_of(HYPERWARD_ALLOW)).value();
  EXPECT_EQ(without->judge(a_question(frame), view).value().code, 0U);

  hyperward_module needy = echo_table();
  needy.needs = HYPERWARD_NEEDS_FRAME;
  needy.frame_bytes = 60;
  auto with = LoadedModule::make(needy, settings_of(HYPERWARD_ALLOW)).value();
  EXPECT_EQ(with->judge(a_question(frame), view).value().code, 60U);
}

TEST(RulesModule, decides_as_the_rules_do) {
  const std::string settings =
      R"({"rules": "audit deny to tcp port 25\ndeny log to tcp port 25 from unknown\ndefault allow\n"})";
  auto module = LoadedModule::make(rules_module(), settings).value();
  GuestView view(nullptr, 0);
  const Answer answer = module->judge(a_question(), view).value();
  EXPECT_EQ(answer.verdict, policy::Verdict::kDeny);
  EXPECT_TRUE(answer.log);
  EXPECT_EQ(answer.code, 2U);
  ASSERT_EQ(answer.remarks().size(), 1U);
  EXPECT_EQ(answer.remarks()[0].code, 1U);
}

TEST(RulesModule, says_where_a_rule_is_wrong) {
  const auto module = LoadedModule::make(rules_module(), R"({"rules": "deny nonsense\n"})");
  ASSERT_FALSE(module.has_value());
  EXPECT_THAT(module.error().message, HasSubstr("rules:1:6"));
}

}  // namespace
}  // namespace hyperward::filter
