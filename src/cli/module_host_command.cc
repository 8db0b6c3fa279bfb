// module-process: what the daemon starts for a module that runs in a process of its own. For nobody else.
#include "cli/commands.h"
#include "filter/module_host.h"

namespace hyperward::cli {

void add_module_host_command(CLI::App& app, Chosen& chosen) {
  CLI::App* process = app.add_subcommand(filter::kModuleHostCommand, "run a filter module for the daemon")->group("");
  process->callback([&chosen] { chosen.action = [] { return filter::run_module_host(); }; });
}

}  // namespace hyperward::cli
