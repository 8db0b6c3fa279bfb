// The commands. Each one adds itself to the command line; what it does runs when it is the one that was called.
#pragma once

#include <functional>

#include <CLI/CLI.hpp>

#include "base/result.h"

namespace hyperward::cli {

using Action = std::function<Result<void>()>;

// What main() shall run once the command line is parsed.
struct Chosen {
  Action action;
};

// All of them.
void add_commands(CLI::App& app, Chosen& chosen);

void add_read_commands(CLI::App& app, Chosen& chosen);        // ps, ss, owner
void add_rules_commands(CLI::App& app, Chosen& chosen);       // rules check
void add_guard_commands(CLI::App& app, Chosen& chosen);       // guard, reload, detach
void add_flow_commands(CLI::App& app, Chosen& chosen);        // flows, explain
void add_daemon_command(CLI::App& app, Chosen& chosen);       // daemon
void add_control_commands(CLI::App& app, Chosen& chosen);     // status, rule, alerts, events, respond
void add_module_commands(CLI::App& app, Chosen& chosen);      // module ls, load, unload, swap, stats
void add_replay_command(CLI::App& app, Chosen& chosen);       // module replay; after add_module_commands
void add_document_commands(CLI::App& app, Chosen& chosen);    // manual, completion
void add_module_host_command(CLI::App& app, Chosen& chosen);  // module-process

}  // namespace hyperward::cli
