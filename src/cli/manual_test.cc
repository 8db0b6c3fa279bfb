#include "cli/manual.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/commands.h"

namespace hyperward::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

struct CommandLine {
  CommandLine() { add_commands(app, chosen); }

  CLI::App app{"guards guests", "hyperward"};
  Chosen chosen;
};

std::string page_of(const Command& hyperward, std::string_view file) {
  for (const ManualPage& page : manual_pages(hyperward, "1.2"))
    if (page.file == file) return page.text;
  return "no such page";
}

std::string groff_word(std::string word) {
  for (size_t at = 0; (at = word.find('-', at)) != std::string::npos; at += 2) word.insert(at, "\\");
  return word;
}

TEST(Manual, has_every_command_and_all_that_it_takes) {
  const CommandLine line;
  const Command hyperward = command_tree(line.app);
  ASSERT_GT(hyperward.commands.size(), 8U);
  for (const Command& command : hyperward.commands) {
    const std::string page = page_of(hyperward, "hyperward-" + command.path[0] + ".8");
    EXPECT_THAT(page_of(hyperward, "hyperward.8"), HasSubstr(groff_word("hyperward-" + command.path[0])));
    for (const Command* one : all_commands(command)) {
      if (one->commands.empty()) {
        EXPECT_THAT(page, HasSubstr("\\fB" + groff_word(one->name()) + "\\fR"));
      }
      for (const Parameter& place : one->places) {
        const std::string& word = place.choices.empty() ? place.value : place.choices.front();
        EXPECT_THAT(page, HasSubstr(groff_word(word) + "\\fR"));
      }
      for (const Parameter& option : one->options)
        for (const std::string& name : option.names) EXPECT_THAT(page, HasSubstr("\\fB" + groff_word(name) + "\\fR"));
    }
  }
}

Command small() {
  return {.description = "guards: 'guests'",
          .commands = {
              {.path = {"show"},
               .description = ".hidden\\file",
               .options =
                   {{.names = {"-n", "--limit"}, .value = "number", .description = "at most", .default_value = "100"},
                    {.names = {"--how"}, .value = "text", .choices = {"auto", "mapped"}},
                    {.names = {"--socket"}, .value = "text", .environment = "SOCKET"}},
               .places = {{.value = "guest", .description = "the guest's name"}}}}};
}

TEST(Manual, says_what_an_option_takes) {
  const std::string page = page_of(small(), "hyperward-show.8");
  EXPECT_THAT(page, HasSubstr("\\fBhyperward show\\fR [\\fIoptions\\fR] [\\fIguest\\fR]\n"));
  EXPECT_THAT(page,
              HasSubstr("\\fB\\-n\\fR, \\fB\\-\\-limit\\fR \\fInumber\\fR\nAt most. The default is \\fB100\\fR."));
  EXPECT_THAT(page, HasSubstr("\\fB\\-\\-how\\fR \\fBauto\\fR|\\fBmapped\\fR\n"));
  EXPECT_THAT(page, HasSubstr(".TP\n\\fBSOCKET\\fR\n"));
}

TEST(Manual, lets_no_text_be_a_request) {
  const std::string page = page_of(small(), "hyperward-show.8");
  EXPECT_THAT(page, HasSubstr("\n\\&.hidden\\efile.\n"));
}

TEST(Manual, leaves_out_what_is_hidden) {
  const CommandLine line;
  EXPECT_THAT(page_of(command_tree(line.app), "hyperward.8"), Not(HasSubstr("hyperward\\-manual")));
}

}  // namespace
}  // namespace hyperward::cli
