#include "daemon/module_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/config.h"

namespace hyperward::daemon {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using namespace std::chrono_literals;

std::string key_of_mistake(const char* text, const ModuleConfig& base = {}) {
  const auto module = module_from(json::parse(text), base);
  return module ? "no mistake" : module.error().key;
}

std::string message_of(std::string_view modules) {
  const auto config =
      parse_config(fmt::format("guest.pid = 1\nguard = {{tap='t', rules='r'}}\n{}", modules), "web.toml");
  return config ? "no error" : config.error().message;
}

TEST(ModuleConfig, is_called_as_its_file_unless_it_is_named) {
  EXPECT_EQ(module_from(json::parse(R"({"file":"/m/rate.so"})"))->name, "rate");
  EXPECT_EQ(module_from(json::parse(R"({"file":"/m/rate.so","name":"limit"})"))->name, "limit");
}

TEST(ModuleConfig, is_a_process_unless_told_otherwise) {
  EXPECT_EQ(module_from(json::parse(R"({"file":"/m/a.so"})"))->run, ModuleConfig::Run::kProcess);
  EXPECT_EQ(module_from(json::parse(R"({"file":"/m/a.so","run":"daemon"})"))->run, ModuleConfig::Run::kDaemon);
}

TEST(ModuleConfig, keeps_what_a_change_does_not_name) {
  const ModuleConfig base{.name = "limit", .file = "/m/rate.so", .settings = R"({"a":1})", .batch = 8};
  ModuleConfig expected = base;
  expected.file = "/m/rate-2.so";
  expected.deadline = 50ms;
  EXPECT_EQ(*module_from(json::parse(R"({"file":"/m/rate-2.so","deadline_ms":50})"), base), expected);
  EXPECT_EQ(*module_from(json::object(), base), base);
}

TEST(ModuleConfig, comes_back_from_its_json_as_it_was) {
  const ModuleConfig module{.name = "limit",
                            .file = "/m/rate.so",
                            .run = ModuleConfig::Run::kDaemon,
                            .settings = R"({"a":[1,"x"]})",
                            .batch = 8,
                            .batch_wait = 10us,
                            .deadline = 50ms,
                            .memory_mb = 64};
  EXPECT_EQ(*module_from(to_json(module)), module);
}

TEST(ModuleConfig, names_the_key_that_is_wrong) {
  EXPECT_EQ(key_of_mistake("{}"), "file");
  EXPECT_EQ(key_of_mistake(R"({"file":""})"), "file");
  EXPECT_EQ(key_of_mistake(R"({"file":"a.so","name":"a/b"})"), "name");
  EXPECT_EQ(key_of_mistake(R"({"file":"a.so","run":1})"), "run");
  EXPECT_EQ(key_of_mistake(R"({"file":"a.so","settings":[]})"), "settings");
  EXPECT_EQ(key_of_mistake(R"({"file":"a.so","batch":257})"), "batch");
  EXPECT_EQ(key_of_mistake(R"({"file":"a.so","batch_wait_us":-1})"), "batch_wait_us");
  EXPECT_EQ(key_of_mistake(R"({"file":"a.so","deadline_ms":0})"), "deadline_ms");
  EXPECT_EQ(key_of_mistake(R"({"file":"a.so","memory_mb":15})"), "memory_mb");
  EXPECT_EQ(key_of_mistake(R"({"file":"a.so","fiel":1})"), "fiel");
}

TEST(ModuleConfig, of_a_guests_file_stands_in_its_order) {
  const auto config = parse_config(R"(guest.pid = 1
guard = {tap='t', rules='r'}
[[module]]
file = "/m/rate.so"
settings = { per_second = 20 }
[[module]]
file = "/m/binary.so"
)",
                                   "web.toml");
  ASSERT_TRUE(config) << config.error().message;
  ASSERT_EQ(config->modules.size(), 2U);
  EXPECT_EQ(config->modules[0].name, "rate");
  EXPECT_EQ(json::parse(config->modules[0].settings), json({{"per_second", 20}}));
  EXPECT_EQ(config->modules[1].name, "binary");
}

TEST(ModuleConfig, of_a_guests_file_names_the_place_of_a_mistake) {
  EXPECT_THAT(message_of("[[module]]\nfile = 1"),
              testing::StartsWith("web.toml:3:1: [[module]]: file must be a string"));
  EXPECT_THAT(message_of("[[module]]\nfile = '/a.so'\n[[module]]\nfile = '/b/a.so'"),
              HasSubstr("web.toml:5:1: [[module]]: there are two of the name 'a'"));
}

}  // namespace
}  // namespace hyperward::daemon
