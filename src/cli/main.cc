// hyperward: who in a guest sent this packet, and may they?
//
// Exit status: 0 done, 2 the input or the machine does not allow it, or what was asked for is not there.
#include <cstdio>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "cli/commands.h"

int main(int argc, char** argv) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("hyperward"));  // standard output is for answers
  CLI::App app("Guards Linux virtual machines from the host: who sent this packet, and may they?", "hyperward");
  app.set_version_flag("--version", HYPERWARD_VERSION);
  hyperward::cli::Chosen chosen;
  hyperward::cli::add_commands(app, chosen);

  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);  // --help, --version
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "hyperward: {}\n", error.what());
    return 2;
  }

  const auto done = chosen.action();
  if (done) return 0;
  fmt::print(stderr, "hyperward: {}\n", done.error().message);
  return 2;
}
