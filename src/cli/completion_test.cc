// The scripts are run by the shells themselves.
#include "cli/completion.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/commands.h"
#include "daemon/test_directory.h"

namespace hyperward::cli {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsSupersetOf;
using Words = std::set<std::string>;

Command real() {
  Chosen chosen;
  CLI::App app("guards guests", "hyperward");
  add_commands(app, chosen);
  return command_tree(app);
}

bool has_shell(const std::string& shell) {
  return std::system(fmt::format("command -v {} >/dev/null", shell).c_str()) == 0;
}

// Runs a script with the completion's file as its first argument: the lines that it prints.
class Shell {
 public:
  Shell(std::string shell, const Command& hyperward) : shell_(std::move(shell)) {
    const auto script = completion(hyperward, shell_);
    HW_CHECK(script.has_value());
    write("completion", *script);
  }

  [[nodiscard]] Words run(const std::string& script) const {
    write("script", script);
    const std::string folder = directory_.path();
    const std::string command = fmt::format("{0} {1}/script {1}/completion 2>&1", shell_, folder);
    FILE* const output = ::popen(command.c_str(), "r");
    HW_CHECK(output != nullptr);
    Words words;
    char line[4096];
    while (std::fgets(line, sizeof(line), output) != nullptr) words.insert(std::string(line, std::strcspn(line, "\n")));
    const int status = ::pclose(output);
    if (status != 0) words.insert(fmt::format("{} ended with {}", shell_, status));
    return words;
  }

 private:
  void write(const char* name, const std::string& text) const { std::ofstream(directory_.path() / name) << text; }

  std::string shell_;
  daemon::TestDirectory directory_;
};

// What bash offers for the last of these words.
Words bash_offers(const Shell& bash, const std::string& words) {
  return bash.run(fmt::format(R"(set -u
source "$1"
_hyperward_guests() {{ printf '%s\n' mail web; }}
_hyperward_modules() {{ printf '%s\n' binary rate; }}
COMP_WORDS=({})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_hyperward
(( ${{#COMPREPLY[@]}} == 0 )) || printf '%s\n' "${{COMPREPLY[@]}}"
)",
                              words));
}

TEST(BashCompletion, offers_every_command_and_option) {
  const Command hyperward = real();
  const Shell bash("bash", hyperward);
  for (const Command* command : all_commands(hyperward)) {
    const Words options = bash_offers(bash, command->name() + " -");
    for (const Parameter& option : command->options)
      for (const std::string& name : option.names) EXPECT_THAT(options, Contains(name)) << command->name();
    if (command->commands.empty()) continue;
    const Words commands = bash_offers(bash, command->name() + " ''");
    for (const Command& below : command->commands) EXPECT_THAT(commands, Contains(below.path.back()));
  }
}

TEST(BashCompletion, knows_what_is_expected_at_each_place) {
  const Shell bash("bash", real());
  EXPECT_THAT(bash_offers(bash, "hyperward fl"), ElementsAre("flows"));
  EXPECT_THAT(bash_offers(bash, "hyperward flows ''"), ElementsAre("mail", "web"));
  EXPECT_THAT(bash_offers(bash, "hyperward flows --json ''"), ElementsAre("mail", "web"));
  EXPECT_THAT(bash_offers(bash, "hyperward ps --access ''"), ElementsAre("auto", "mapped", "readv"));
  EXPECT_THAT(bash_offers(bash, "hyperward ps --access mapped ''"), ElementsAre("mail", "web"));
  EXPECT_THAT(bash_offers(bash, "hyperward module swap web ''"), ElementsAre("binary", "rate"));
  EXPECT_THAT(bash_offers(bash, "hyperward ps --pid ''"), IsEmpty());
  EXPECT_THAT(bash_offers(bash, "hyperward guard --config /etc/pass"), Contains("/etc/passwd"));
  EXPECT_THAT(bash_offers(bash, "hyperward rules check /etc/pass"), Contains("/etc/passwd"));
  EXPECT_THAT(bash_offers(bash, "hyperward completion ''"), ElementsAre("bash", "fish", "zsh"));
}

TEST(FishCompletion, offers_what_bash_does) {
  if (!has_shell("fish")) GTEST_SKIP() << "NOT TESTED: completion in fish, which is not installed.";
  const Shell fish("fish", real());
  const auto offers = [&](const std::string& line) {
    return fish.run(
        fmt::format("source $argv[1]\nfunction __hyperward_guests; echo web; end\n"
                    "complete -C '{}' | string replace -r '\\t.*' ''\n",
                    line));
  };
  EXPECT_THAT(offers("hyperward fl"), ElementsAre("flows"));
  EXPECT_THAT(offers("hyperward rules "), ElementsAre("check"));
  EXPECT_THAT(offers("hyperward flows "), ElementsAre("web"));
  EXPECT_THAT(offers("hyperward flows --"), IsSupersetOf({"--denied", "--json"}));
  EXPECT_THAT(offers("hyperward ps --access "), ElementsAre("auto", "mapped", "readv"));
}

TEST(ZshCompletion, is_a_script_with_every_command) {
  if (!has_shell("zsh")) GTEST_SKIP() << "NOT TESTED: completion in zsh, which is not installed.";
  const Command hyperward = real();
  const Shell zsh("zsh", hyperward);
  const Words functions = zsh.run("compdef() { : }\nsource $1\nprint -l ${(k)functions}");
  EXPECT_THAT(functions, IsSupersetOf({"_hyperward", "_hyperward_flows", "_hyperward_rules_check"}));
  EXPECT_EQ(functions.size(), all_commands(hyperward).size() + 3);  // guests, modules, and compdef
}

TEST(Completion, of_descriptions_with_quotes_stays_a_script) {
  const Command odd{.commands = {{.path = {"odd"}, .description = "it's [a: \\thing]"}}};
  EXPECT_THAT(*completion(odd, "zsh"), HasSubstr(R"('odd:it'\''s \[a\: \\thing\]')"));
  EXPECT_THAT(*completion(odd, "fish"), HasSubstr(R"(-d 'it\'s [a: \\thing]')"));
}

TEST(Completion, refuses_another_shell) {
  const auto script = completion(real(), "tcsh");
  ASSERT_FALSE(script);
  EXPECT_EQ(script.error().code, Code::kInvalid);
}

}  // namespace
}  // namespace hyperward::cli
