// What a writer of rules reads about his mistakes. mistakes.txt holds the cases, each a text and what is said of it:
//
//   == title
//   text
//   --
//   report
//
// A title that begins with "at run time:" is of a rule that is added at run time, below the file kFile.
// With HYPERWARD_UPDATE=1 in the environment the test writes the reports anew, to be read in the diff.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "policy/rules.h"

namespace hyperward::policy {
namespace {

const Names kNames{.users = {{"alice", 1000}, {"bob", 1001}}, .groups = {{"staff", 50}}};

constexpr std::string_view kFile =
    "set mail = { 25, 465 }\n"
    "set staff = { alice, carol }\n"
    "set lan = { 10.0.0.0/8 }\n";

struct Case {
  std::string title, text, report;
};

std::vector<Case> read_cases() {
  std::vector<Case> cases;
  std::ifstream file(MISTAKES_FILE);
  bool in_report = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("== ")) {
      cases.push_back({line.substr(3), "", ""});
      in_report = false;
    } else if (line == "--") {
      in_report = true;
    } else if (!cases.empty()) {
      (in_report ? cases.back().report : cases.back().text) += line + "\n";
    }
  }
  return cases;
}

std::string report_on(const Case& c) {
  std::vector<Diagnostic> mistakes;
  if (c.title.starts_with("at run time:")) {
    const RuleSet file = compile(kFile, kNames).value();
    if (const auto rule = compile_rule(c.text, kNames, file); !rule) mistakes = rule.error();
  } else {
    if (const auto rules = compile(c.text, kNames); !rules) mistakes = rules.error();
  }
  if (mistakes.empty()) return "no mistake\n";
  std::string report;
  for (const Diagnostic& diagnostic : mistakes) report += render(diagnostic, c.text);
  return report;
}

TEST(mistakes, are_reported_as_the_snapshots_say) {
  const std::vector<Case> cases = read_cases();
  ASSERT_GT(cases.size(), 20U) << MISTAKES_FILE;
  const bool update = std::getenv("HYPERWARD_UPDATE") != nullptr;
  std::string anew;
  for (const Case& c : cases) {
    const std::string report = report_on(c) + "\n";
    anew += "== " + c.title + "\n" + c.text + "--\n" + report;
    if (!update) {
      EXPECT_EQ(report, c.report) << c.title;
    }
  }
  if (update) std::ofstream(MISTAKES_FILE) << anew;
}

TEST(render, marks_the_place_below_tabs_too) {
  const std::string_view text = "\tdeny\tto tcp port x";
  const auto rules = compile(text, kNames);
  ASSERT_FALSE(rules);
  EXPECT_EQ(render(rules.error().front(), text, "web.rules"),
            "web.rules:1:19: 'x' is no port, nor the name of a well-known one\n"
            "  \tdeny\tto tcp port x\n"
            "  \t    \t            ^\n");
}

TEST(render, shows_a_window_of_a_long_line) {
  const std::string text = "deny to tcp port { " + std::string(5000, ' ') + "x, " + std::string(5000, ' ') + "}";
  const auto rules = compile(text, kNames);
  ASSERT_FALSE(rules);
  const std::string rendered = render(rules.error().front(), text);
  EXPECT_LT(rendered.size(), 400U);
  EXPECT_EQ(rendered.substr(rendered.size() - 3), " ^\n");
}

TEST(render, writes_no_control_characters_out) {
  const std::string_view text = "deny to \x1b[2J";
  const auto rules = compile(text, kNames);
  ASSERT_FALSE(rules);
  EXPECT_EQ(render(rules.error().front(), text),
            "rules:1:9: expected a protocol or an address after 'to', found '\\x1b'\n"
            "  deny to ?[2J\n"
            "          ^\n");
}

TEST(render, survives_a_place_that_is_not_in_the_text) {
  EXPECT_EQ(render({.line = 7, .column = 9, .length_bytes = 3, .message = "odd"}, "x"), "rules:7:9: odd\n  \n  ^\n");
}

}  // namespace
}  // namespace hyperward::policy
