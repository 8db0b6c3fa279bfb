// guard, reload and detach: the filter itself, in the foreground.
#include <signal.h>

#include <chrono>
#include <memory>
#include <thread>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/waiting.h"
#include "daemon/foreground.h"
#include "daemon/guest_file.h"
#include "daemon/state.h"
#include "datapath/datapath.h"

namespace hyperward::cli {
namespace {

constexpr std::chrono::seconds kReloadDeadline{5};

struct GuardOptions {
  std::string config;
  std::string guest;
  std::string tap;
  std::string socket;
};

// Of the daemon: its configuration, and every guest's rules.
Result<void> run_reload_all(const GuardOptions& options) {
  HW_TRY(const nlohmann::json reloaded, client_at(options.socket).post("/v1/reload"));
  fmt::print("{} guests, {} rules are in force\n", reloaded.value("guests", 0), reloaded.value("rules", 0));
  return {};
}

// Checks the rules here, where the caller can read what is wrong with them, and then tells the guard to take them.
Result<void> run_reload(const GuardOptions& options) {
  if (options.guest.empty()) return run_reload_all(options);
  HW_TRY(const daemon::GuardState before, daemon::load_state(options.guest));
  if (!daemon::is_alive(before)) return fail(Code::kNotFound, "no guard runs for '{}': start one first", options.guest);
  HW_TRY(const daemon::GuestFile file, daemon::load_guest_file(before.config));
  HW_TRY(const policy::RuleSet rules, file.compile());

  if (::kill(before.pid, SIGHUP) != 0)
    return fail_errno(errno, fmt::format("signal the guard, process {}", before.pid));
  const Waiting waiting("the guard takes the rules");
  const auto deadline = std::chrono::steady_clock::now() + kReloadDeadline;
  while (std::chrono::steady_clock::now() < deadline) {
    HW_TRY(const daemon::GuardState now, daemon::load_state(options.guest));
    if (now.generation != before.generation) {
      fmt::print("{}: {} rules are in force\n", options.guest, rules.rules().size());
      return {};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return fail(Code::kSystem, "the guard of '{}', process {}, has not taken the rules; its log says why", options.guest,
              before.pid);
}

Result<void> run_detach(const GuardOptions& options) {
  std::string tap = options.tap;
  if (tap.empty()) {
    HW_TRY(const daemon::GuardState state, daemon::load_state(options.guest));
    tap = state.tap;
  }
  const auto detached = datapath::Datapath::detach(tap);
  // A tap that has gone, or was detached by its own name, must not keep its guest on record for ever.
  const bool nothing_there = !detached && detached.error().code == Code::kNotFound && !options.guest.empty();
  if (!detached && !nothing_there) return detached;
  if (!options.guest.empty()) HW_OK(daemon::remove_state(options.guest));
  fmt::print("{}: nothing of hyperward is left on it\n", tap);
  return {};
}

}  // namespace

void add_guard_commands(CLI::App& app, Chosen& chosen) {
  const auto options = std::make_shared<GuardOptions>();

  CLI::App* guard = app.add_subcommand("guard", "guard one guest, in the foreground, until interrupted");
  guard->add_option("--config", options->config, "the guest, its tap and its rules")->required();
  guard->callback([=, &chosen] { chosen.action = [=] { return daemon::guard_in_foreground(options->config); }; });

  CLI::App* reload = app.add_subcommand("reload", "check changed rules and put them in force, for all flows");
  reload->add_option("guest", options->guest, "the guest's name; without one the daemon reads everything anew");
  reload->add_option("--socket", options->socket, "the daemon's control socket")->envname("HYPERWARD_SOCKET");
  reload->callback([=, &chosen] { chosen.action = [=] { return run_reload(*options); }; });

  CLI::App* detach = app.add_subcommand("detach", "remove everything of hyperward from a guest's tap");
  auto* by_guest = detach->add_option("guest", options->guest, "the guest's name");
  detach->add_option("--tap", options->tap, "or the tap, when nothing else of its guard is left")->excludes(by_guest);
  detach->callback([=, &chosen] { chosen.action = [=] { return run_detach(*options); }; });
}

}  // namespace hyperward::cli
