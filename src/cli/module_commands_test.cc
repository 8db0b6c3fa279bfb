#include <filesystem>
#include <string>

#include <gmock/gmock.h>

#include "cli/control_fixture.h"

namespace hyperward::cli {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

class ModuleCommandsTest : public ControlTest {
 protected:
  // The JSON of the one question that was asked, behind its words.
  json asked_with() {
    const auto asked = operations.take_asked();
    HW_CHECK(asked.size() == 1);
    return json::parse(asked[0].substr(asked[0].find('{')));
  }
};

TEST_F(ModuleCommandsTest, ls_shows_where_a_module_comes_from_and_whether_it_runs) {
  EXPECT_EQ(run({"module", "ls", "web"}),
            "MODULE FROM     RUN     VERSION FILE                  STATE\n"
            "rate   run-time process 1.0     /m/connection_rate.so running\n");
  EXPECT_THAT(run({"module", "ls"}), StartsWith("web\nMODULE "));
  EXPECT_THAT(operations.asked(), ElementsAre("modules web", "guests", "modules web"));
}

TEST_F(ModuleCommandsTest, load_asks_for_no_more_than_what_was_given) {
  EXPECT_EQ(run({"module", "load", "web", "connection_rate.so"}), "web: module rate (connection-rate 1.0) judges\n");
  const json asked = asked_with();
  EXPECT_THAT(asked["file"], EndsWith("/connection_rate.so"));
  EXPECT_EQ(asked["name"], "connection_rate");
  EXPECT_EQ(asked["run"], "process");
}

TEST_F(ModuleCommandsTest, load_takes_a_path_from_here) {
  run({"module", "load", "web", "./a/../rate.so"});
  EXPECT_EQ(asked_with()["file"], (std::filesystem::current_path() / "rate.so").string());
}

TEST_F(ModuleCommandsTest, load_passes_every_option_on) {
  run({"module", "load", "web", "/m/a.so", "--name", "limit", "--daemon", "--settings", R"({"a":1})", "--batch", "8",
       "--batch-wait-us", "10", "--deadline-ms", "50", "--memory-mb", "64"});
  EXPECT_EQ(asked_with(), json::parse(R"({"name":"limit","file":"/m/a.so","run":"daemon","settings":{"a":1},"batch":8,
    "batch_wait_us":10,"deadline_ms":50,"memory_mb":64})"));
}

TEST_F(ModuleCommandsTest, swap_asks_for_what_shall_change_alone) {
  run({"module", "swap", "web", "rate"});
  EXPECT_EQ(asked_with(), json::object());
  EXPECT_EQ(run({"module", "swap", "web", "rate", "--file", "/m/b.so", "--process"}),
            "web: module rate (connection-rate 1.0) judges\n");
  EXPECT_THAT(operations.asked(), ElementsAre(R"(swap_module web rate: {"file":"/m/b.so","run":"process"})"));
}

TEST_F(ModuleCommandsTest, unload_names_the_module) {
  EXPECT_EQ(run({"module", "unload", "web", "rate"}), "web: module rate (connection-rate 1.0) is unloaded\n");
  EXPECT_THAT(operations.asked(), ElementsAre("unload_module web rate"));
}

TEST_F(ModuleCommandsTest, stats_shows_what_a_module_counts_itself_and_its_last_fault) {
  EXPECT_EQ(run({"module", "stats", "web"}),
            "MODULE ASKED DENIED FAULTS RESTARTS  PID STATE\n"
            "rate      10      2      1        1 4712 running\n"
            "rate: limited 2, owners 3\n"
            "rate: last fault: it crashed\n");
  EXPECT_EQ(json::parse(run({"module", "stats", "web", "rate", "--json"}))["rate"]["faults"], 1);
  EXPECT_EQ(run({"module", "stats", "web", "other"}), "'web' has no module 'other'");
}

TEST_F(ModuleCommandsTest, a_modules_own_words_are_told_as_the_daemon_tells_them) {
  operations.fail_with(Error{Code::kInvalid, "module rate refuses its settings: it wants a port"});
  EXPECT_EQ(run({"module", "load", "web", "/m/a.so"}), "module rate refuses its settings: it wants a port");
}

TEST_F(ModuleCommandsTest, refuses_settings_that_are_no_object_and_two_places_to_run) {
  EXPECT_THAT(run({"module", "load", "web", "a.so", "--settings", "5"}), HasSubstr("must be a JSON object"));
  EXPECT_THAT(run({"module", "load", "web", "a.so", "--daemon", "--process"}), HasSubstr("excludes"));
  EXPECT_THAT(operations.asked(), ElementsAre());
}

}  // namespace
}  // namespace hyperward::cli
