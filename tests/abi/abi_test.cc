// Old modules here, and modules of today in an old host. The first version of the interface, module-1.0.h, has no
// history of a flow, no log and no counters.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstddef>
#include <filesystem>

#include "filter/loaded_module.h"
#include "old_host.h"

namespace hyperward::filter {
namespace {

using testing::StrEq;

std::unique_ptr<LoadedModule> load(const char* file, const std::string& settings = "{}") {
  auto module = LoadedModule::load(file, settings);
  EXPECT_TRUE(module) << module.error().message;
  return std::move(module).value();
}

Answer ask(LoadedModule& module) {
  guest::Owner owner;
  owner.uid = 1000;
  owner.process = guest::ProcessId{.pid = 7, .comm = "smtp", .start_time_ns = 1};
  const Question question = question_of({.protocol = Protocol::kTcp,
                                         .source = {IpAddress::v4(10, 9, 0, 2), 43210},
                                         .destination = {IpAddress::v4(203, 0, 113, 9), 25}},
                                        policy::Direction::kOut, HYPERWARD_NEW_FLOW, owner, nullptr, {});
  GuestView view(nullptr, 0);
  return module.judge(question, view).value();
}

// Its table, which stays: the file is never unloaded.
const void* table_of(const char* file) {
  void* const handle = ::dlopen(file, RTLD_NOW | RTLD_LOCAL);
  EXPECT_NE(handle, nullptr) << ::dlerror();
  return ::dlsym(handle, HYPERWARD_MODULE_SYMBOL);
}

TEST(OldModule, judges_in_the_host_of_today) {
  auto module = load(OLD_MODULE);
  const Answer answer = ask(*module);
  EXPECT_EQ(answer.verdict, policy::Verdict::kDeny);
  EXPECT_EQ(answer.code, 1000U);
  EXPECT_EQ(answer.reason, "smtp");
  EXPECT_EQ(answer.remarks().size(), 1U);
}

TEST(OldModule, has_no_counters) {
  EXPECT_TRUE(load(OLD_MODULE)->status().counters.empty());
}

TEST(NewModule, is_given_all_there_is_by_the_host_of_today) {
  auto module = load(NEW_MODULE);
  EXPECT_EQ(ask(*module).reason, "given: history log");
  EXPECT_EQ(module->status().counters.size(), 1U);
}

TEST(NewModule, sees_what_an_old_host_does_not_give) {
  const old_answer answer = ask_in_old_host(table_of(NEW_MODULE), "{}");
  EXPECT_EQ(answer.verdict, HYPERWARD_DENY);
  EXPECT_EQ(answer.code, 1000U);
  EXPECT_THAT(answer.reason, StrEq("given:"));
}

TEST(NewModule, runs_in_an_old_host_when_the_face_made_it) {
  const old_answer answer = ask_in_old_host(table_of(CONNECTION_RATE), R"({"per_second": 1})");
  EXPECT_EQ(answer.created, 1);
  EXPECT_EQ(answer.verdict, HYPERWARD_ALLOW);
  EXPECT_EQ(answer.lifetime_ms, HYPERWARD_FOREVER);
}

TEST(Versions, stay_apart_while_both_are_loaded) {
  auto one = load(TWIN_ONE);
  EXPECT_EQ(ask(*one).code, 101U);
  auto two = load(TWIN_TWO);
  const Answer of_two = ask(*two), of_one = ask(*one);
  EXPECT_EQ(of_one.reason, "version 1");
  EXPECT_EQ(of_one.code, 102U);
  EXPECT_EQ(of_two.reason, "version 2");
  EXPECT_EQ(of_two.code, 201U);
}

TEST(Versions, tell_a_new_file_from_the_loaded_one_whose_place_it_has_taken) {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / fmt::format("hyperward-twin-{}.so", ::getpid());
  std::filesystem::copy_file(TWIN_ONE, path);
  auto one = load(path.c_str());
  std::filesystem::copy_file(TWIN_TWO, path.string() + ".new");
  std::filesystem::rename(path.string() + ".new", path);
  auto two = load(path.c_str());
  std::filesystem::remove(path);
  EXPECT_EQ(ask(*one).reason, "version 1");
  EXPECT_EQ(ask(*two).reason, "version 2");
}

// What is added to a struct lies beyond the size of those who do not know it, if no padding ended the struct.
#define EXPECT_ENDS_WITH(type, member) EXPECT_EQ(offsetof(type, member) + sizeof(type::member), sizeof(type))

TEST(Structs, end_with_no_padding) {
  EXPECT_ENDS_WITH(hyperward_history, dropped);
  EXPECT_ENDS_WITH(hyperward_packet, history);
  EXPECT_ENDS_WITH(hyperward_answer, reason);
  EXPECT_ENDS_WITH(hyperward_owner, zero_end);
  EXPECT_ENDS_WITH(hyperward_task, comm);
  EXPECT_ENDS_WITH(hyperward_file, socket);
  EXPECT_ENDS_WITH(hyperward_socket, inode);
  EXPECT_ENDS_WITH(hyperward_host, log);
  EXPECT_ENDS_WITH(hyperward_module, counters);
}

}  // namespace
}  // namespace hyperward::filter
