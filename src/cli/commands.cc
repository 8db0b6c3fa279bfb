#include "cli/commands.h"

namespace hyperward::cli {

void add_commands(CLI::App& app, Chosen& chosen) {
  app.require_subcommand(1);
  add_read_commands(app, chosen);
  add_rules_commands(app, chosen);
  add_guard_commands(app, chosen);
  add_flow_commands(app, chosen);
  add_daemon_command(app, chosen);
  add_control_commands(app, chosen);
  add_module_commands(app, chosen);
  add_replay_command(app, chosen);
  add_document_commands(app, chosen);
  add_module_host_command(app, chosen);
}

}  // namespace hyperward::cli
