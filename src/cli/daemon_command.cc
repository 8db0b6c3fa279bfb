// daemon: guards every guest that the configuration names or finds, until it is told to stop.
#include <poll.h>
#include <signal.h>

#include <memory>

#include <spdlog/spdlog.h>

#include "cli/commands.h"
#include "daemon/daemon.h"
#include "daemon/foreground.h"
#include "daemon/http_server.h"
#include "daemon/privileges.h"
#include "daemon/service.h"

namespace hyperward::cli {
namespace {

struct DaemonOptions {
  std::string config = "/etc/hyperward/hyperward.toml";
  bool check = false;
};

// Before there are threads: they begin with the privileges of the one that starts them.
Result<daemon::DaemonConfig> settle_in(const DaemonOptions& options) {
  HW_OK(daemon::enter_start());
  HW_TRY(daemon::DaemonConfig config, daemon::load_daemon_config(options.config));
  daemon::set_up_log(config.log_level);
  std::vector<std::string> groups;
  for (const auto& group : {config.socket_group, config.read_group})
    if (group) groups.push_back(*group);
  HW_OK(daemon::enter_running(groups));
  return config;
}

void reload(daemon::Daemon& running, const daemon::Service& service) {
  service.reloading();
  const auto reloaded = running.reload();
  if (!reloaded) spdlog::error("all stays as it is: {}", reloaded.error().message);
  service.ready(reloaded ? "reloaded" : "the configuration has a mistake: all stays as it was");
}

Result<void> run_daemon(const DaemonOptions& options) {
  HW_TRY(const Fd signals, daemon::watch_signals());
  HW_TRY(const daemon::DaemonConfig config, settle_in(options));
  daemon::Service service;
  HW_TRY(const auto running, daemon::Daemon::start(options.config, config));
  HW_TRY(const auto server, daemon::HttpServer::start({.control = config.socket,
                                                       .read = config.read_socket,
                                                       .control_group = config.socket_group,
                                                       .read_group = config.read_group},
                                                      *running));
  spdlog::info("listening on {}", config.socket.native());
  service.ready(fmt::format("listening on {}", config.socket.native()));
  for (;;) {
    pollfd waiting{signals.get(), POLLIN, 0};
    ::poll(&waiting, 1, static_cast<int>(daemon::Daemon::kTick.count()));
    running->tick();
    service.alive(std::chrono::steady_clock::now());
    const int signal = daemon::next_signal(signals);
    if (signal == SIGHUP) {
      reload(*running, service);
    } else if (signal != 0) {
      service.stopping();
      return {};
    }
  }
}

// What the daemon would say of its configuration, without one.
Result<void> check_config(const DaemonOptions& options) {
  HW_TRY(const daemon::DaemonConfig config, daemon::load_daemon_config(options.config));
  fmt::print("{}: {} guests{}\n", options.config, config.guests.size(),
             config.find ? ", and those that are found" : "");
  return {};
}

}  // namespace

void add_daemon_command(CLI::App& app, Chosen& chosen) {
  const auto options = std::make_shared<DaemonOptions>();
  CLI::App* daemon = app.add_subcommand("daemon", "guard all guests, in the foreground, until interrupted");
  daemon->add_option("--config", options->config, "sockets, guests, and where alerts come from")->capture_default_str();
  daemon->add_flag("--check", options->check, "only say what is wrong with the configuration");
  daemon->callback(
      [=, &chosen] { chosen.action = [=] { return options->check ? check_config(*options) : run_daemon(*options); }; });
}

}  // namespace hyperward::cli
