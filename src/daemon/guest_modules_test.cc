#include "daemon/guest_modules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "filter/chain.h"

namespace hyperward::daemon {
namespace {

using testing::ElementsAre;

ModuleConfig module_named(const std::string& name) {
  return {.name = name, .file = "/m/" + name + ".so"};
}

Config guest_with(const std::vector<ModuleConfig>& modules) {
  Config config;
  config.tap = "tap0";
  config.modules = modules;
  return config;
}

TEST(GuestModules, are_those_of_the_file_and_then_those_of_run_time) {
  const StoredModule run_time[] = {stored("web", module_named("c")), stored("web", module_named("a"))};
  const auto modules = modules_of(guest_with({module_named("b")}), run_time);
  ASSERT_TRUE(modules) << modules.error().message;
  EXPECT_THAT(*modules, ElementsAre(module_named("b"), module_named("c"), module_named("a")));
}

TEST(GuestModules, have_one_name_each) {
  const StoredModule run_time[] = {stored("web", module_named("rate"))};
  const auto modules = modules_of(guest_with({module_named("rate")}), run_time);
  ASSERT_FALSE(modules);
  EXPECT_EQ(modules.error().message,
            "tap0: module 'rate' is in the guest's file and was loaded at run time: unload that one");
}

TEST(GuestModules, are_no_more_than_a_chain_takes) {
  std::vector<ModuleConfig> of_file;
  for (size_t i = 0; i < filter::Chain::kModulesMax; ++i) of_file.push_back(module_named(fmt::format("m{}", i)));
  EXPECT_TRUE(modules_of(guest_with(of_file), {}));
  const StoredModule run_time[] = {stored("web", module_named("rate"))};
  EXPECT_EQ(modules_of(guest_with(of_file), run_time).error().code, Code::kLimit);
}

TEST(GuestModules, that_are_stored_damaged_are_named) {
  const StoredModule no_json[] = {{.guest = "web", .name = "rate", .config = "{"}};
  EXPECT_EQ(modules_of(guest_with({}), no_json).error().message, "tap0: module 'rate' is stored damaged");
  const StoredModule no_file[] = {{.guest = "web", .name = "rate", .config = "{}"}};
  EXPECT_EQ(modules_of(guest_with({}), no_file).error().code, Code::kInvalid);
}

TEST(GuestModules, show_their_own_words_printable) {
  GuestModule module{.config = module_named("rate"), .loaded = GuestModule::Loaded{}};
  module.loaded->info.description = "a\x1b[2J";
  EXPECT_EQ(to_json(module)["info"]["description"], "a\\x1b[2J");
}

}  // namespace
}  // namespace hyperward::daemon
