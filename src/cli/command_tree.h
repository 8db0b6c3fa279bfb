// The command line as data, from the same CLI::App that parses it and prints --help: so a manual page and a completion
// cannot say anything else.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace hyperward::cli {

// An option with its value, a flag, or a word by its place.
struct Parameter {
  std::vector<std::string> names{};  // "-n", "--limit"; empty: by its place
  std::string value{};               // what it is called: "guest"; "number" or "text" of an option; empty: a flag
  std::vector<std::string> choices{};
  std::string description{};
  std::string default_value{};
  std::string environment{};  // the variable that gives it as well
  bool required = false;
  bool many = false;  // takes more than one word

  // Without its dashes: "limit", "guest".
  [[nodiscard]] std::string name() const;
};

struct Command {
  std::vector<std::string> path{};  // {"rule", "add"}; empty: hyperward itself
  std::string description{};
  std::vector<Parameter> options{};
  std::vector<Parameter> places{};
  std::vector<Command> commands{};

  [[nodiscard]] std::string name() const;  // "hyperward rule add"
};

// Without what is hidden from --help.
[[nodiscard]] Command command_tree(const CLI::App& app);

// The command and all below it, itself first.
[[nodiscard]] std::vector<const Command*> all_commands(const Command& command);

}  // namespace hyperward::cli
