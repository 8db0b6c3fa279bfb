// What the commands that ask the daemon have in common.
//
// What it answers may hold a guest's own words: all text goes through guest::printable() on its way to a terminal.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/result.h"
#include "cli/client.h"
#include "cli/commands.h"

namespace hyperward::cli {

// Which daemon is asked, and how its answer is shown; the options of such a command derive from it.
struct ControlTarget {
  std::string socket;
  bool as_json = false;

  [[nodiscard]] Client client() const { return client_at(socket); }
};

// `Options` stays until the command runs.
template <typename Options>
CLI::App* add_command(CLI::App& app, const char* name, const char* description, const std::shared_ptr<Options>& options,
                      Result<void> (*run)(const Options&), Chosen& chosen) {
  CLI::App* command = app.add_subcommand(name, description);
  command->add_option("--socket", options->socket, "the daemon's control socket")->envname("HYPERWARD_SOCKET");
  command->add_flag("--json", options->as_json, "print JSON");
  command->callback([=, &chosen] { chosen.action = [=] { return run(*options); }; });
  return command;
}

// The guest that is named, or all when none is.
[[nodiscard]] Result<std::vector<std::string>> guests_meant(const Client& client, const std::string& named);

// A member; null when there is none. A daemon of another version may leave members out, or add some.
[[nodiscard]] nlohmann::json member(const nlohmann::json& object, const char* name);
// The same as text; "-" for null.
[[nodiscard]] std::string cell(const nlohmann::json& object, const char* name);

// SGR codes (ECMA-48), where a person looks.
enum class Colour : uint8_t { kRed = 31, kGreen = 32, kYellow = 33 };
[[nodiscard]] std::string painted(Colour colour, const std::string& text);

}  // namespace hyperward::cli
