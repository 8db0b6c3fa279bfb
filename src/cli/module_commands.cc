// module: load, swap and unload a guest's filter modules while it is guarded, and see how they fare.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>

#include <fmt/ranges.h>

#include "cli/commands.h"
#include "cli/control.h"
#include "cli/print_json.h"
#include "cli/table.h"
#include "guest/types.h"

namespace hyperward::cli {
namespace {

using nlohmann::json;

struct ModuleOptions : ControlTarget {
  std::string guest;
  std::string module;
  std::string file;
  std::string settings;
  bool in_daemon = false, in_process = false;
  std::optional<uint32_t> batch, batch_wait_us, deadline_ms, memory_mb;
};

std::string modules_target(std::string_view guest) {
  return fmt::format("/v1/guests/{}/modules", url_encoded(guest));
}

std::string module_target(const ModuleOptions& options) {
  return fmt::format("{}/{}", modules_target(options.guest), url_encoded(options.module));
}

// What was given, as the API has it. A name without a slash is for the daemon to find where modules are installed; what
// has one is a path from here.
Result<std::string> body_of(const ModuleOptions& options, bool with_name) {
  json body = json::object();
  if (with_name && !options.module.empty()) body["name"] = options.module;
  if (!options.file.empty())
    body["file"] = options.file.find('/') == std::string::npos
                       ? options.file
                       : std::filesystem::absolute(options.file).lexically_normal().string();
  if (options.in_daemon || options.in_process) body["run"] = options.in_daemon ? "daemon" : "process";
  if (!options.settings.empty()) {
    json settings = json::parse(options.settings, nullptr, /*allow_exceptions=*/false);
    if (!settings.is_object()) return fail(Code::kInvalid, "--settings must be a JSON object: {{\"per_second\": 20}}");
    body["settings"] = std::move(settings);
  }
  if (options.batch) body["batch"] = *options.batch;
  if (options.batch_wait_us) body["batch_wait_us"] = *options.batch_wait_us;
  if (options.deadline_ms) body["deadline_ms"] = *options.deadline_ms;
  if (options.memory_mb) body["memory_mb"] = *options.memory_mb;
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

void print_done(const ModuleOptions& options, const json& module, std::string_view what_happened) {
  if (options.as_json) return print_json(module);
  const json info = member(module, "info");
  const std::string version = info.is_null() ? "" : fmt::format(" ({} {})", cell(info, "name"), cell(info, "version"));
  fmt::print("{}: module {}{} {}\n", guest::printable(options.guest), cell(module, "name"), version, what_happened);
}

// A guest that does not run has its modules from when it does.
std::string_view when(const json& module) {
  return member(module, "status").is_null() ? "judges when the guest is guarded" : "judges";
}

Result<void> run_load(const ModuleOptions& options) {
  HW_TRY(const std::string body, body_of(options, true));
  HW_TRY(const json module, options.client().post(modules_target(options.guest), body));
  print_done(options, module, when(module));
  return {};
}

Result<void> run_swap(const ModuleOptions& options) {
  HW_TRY(const std::string body, body_of(options, false));
  HW_TRY(const json module, options.client().put(module_target(options), body));
  print_done(options, module, when(module));
  return {};
}

Result<void> run_unload(const ModuleOptions& options) {
  HW_TRY(const json module, options.client().remove(module_target(options)));
  print_done(options, module, "is unloaded");
  return {};
}

std::string state_of(const json& module) {
  const json status = member(module, "status");
  if (status.is_null()) return "waiting";
  const bool runs = member(status, "running") == json(true);
  return painted(runs ? Colour::kGreen : Colour::kRed, runs ? "running" : "down");
}

void print_modules(const json& modules) {
  Table table({"MODULE", "FROM", "RUN", "VERSION", "FILE", "STATE"});
  for (const json& module : modules)
    table.add({cell(module, "name"), cell(module, "origin"), cell(module, "run"),
               cell(member(module, "info"), "version"), cell(module, "file"), state_of(module)});
  fmt::print("{}", table.text());
}

Result<void> run_ls(const ModuleOptions& options) {
  const Client client = options.client();
  HW_TRY(const std::vector<std::string> guests, guests_meant(client, options.guest));
  json by_guest = json::object();
  for (const std::string& guest : guests) {
    HW_TRY(by_guest[guest], client.get(modules_target(guest)));
  }
  if (options.as_json) {
    print_json(options.guest.empty() ? by_guest : by_guest[options.guest]);
    return {};
  }
  for (const std::string& guest : guests) {
    if (options.guest.empty()) fmt::print("{}{}\n", &guest == guests.data() ? "" : "\n", guest::printable(guest));
    print_modules(by_guest[guest]);
  }
  return {};
}

// What it counts itself, and its last fault: a line each, where there is something to tell.
void print_own_words(const json& module) {
  const json status = member(module, "status"), counted = member(status, "counters");
  std::vector<std::string> counters;
  for (const auto& [name, value] : counted.items())
    counters.push_back(fmt::format("{} {}", guest::printable(name), value.dump()));
  if (!counters.empty()) fmt::print("{}: {}\n", cell(module, "name"), fmt::join(counters, ", "));
  if (!member(status, "last_fault").is_null())
    fmt::print("{}: last fault: {}\n", cell(module, "name"), cell(status, "last_fault"));
}

Result<void> run_stats(const ModuleOptions& options) {
  HW_TRY(json modules, options.client().get(modules_target(options.guest)));
  if (!options.module.empty()) {
    json one = json::array();
    for (json& module : modules)
      if (member(module, "name") == options.module) one.push_back(std::move(module));
    if (one.empty()) return fail(Code::kNotFound, "'{}' has no module '{}'", options.guest, options.module);
    modules = std::move(one);
  }
  if (options.as_json) {
    json stats = json::object();
    for (const json& module : modules) stats[member(module, "name").get<std::string>()] = member(module, "status");
    print_json(stats);
    return {};
  }
  Table table({"MODULE", ">ASKED", ">DENIED", ">FAULTS", ">RESTARTS", ">PID", "STATE"});
  for (const json& module : modules) {
    const json status = member(module, "status");
    table.add({cell(module, "name"), cell(status, "asked"), cell(status, "denied"), cell(status, "faults"),
               cell(status, "restarts"), cell(status, "pid"), state_of(module)});
  }
  fmt::print("{}", table.text());
  for (const json& module : modules) print_own_words(module);
  return {};
}

using Options = std::shared_ptr<ModuleOptions>;

void add_guest(CLI::App& command, const Options& options, bool required) {
  command.add_option("guest", options->guest, "the guest's name")->required(required);
}

void add_module(CLI::App& command, const Options& options, bool required) {
  command.add_option("module", options->module, "the module's name, from ls")->required(required);
}

void add_config(CLI::App& command, const Options& options) {
  CLI::Option* daemon = command.add_flag("--daemon", options->in_daemon, "run it within the daemon");
  command.add_flag("--process", options->in_process, "run it in a process of its own")->excludes(daemon);
  command.add_option("--settings", options->settings, "a JSON object, as the module wants it");
  command.add_option("--batch", options->batch, "packets that its process gets at once, at most");
  command.add_option("--batch-wait-us", options->batch_wait_us, "how long they wait for one another");
  command.add_option("--deadline-ms", options->deadline_ms, "how long the oldest may wait for its answer");
  command.add_option("--memory-mb", options->memory_mb, "how much memory its process may use");
}

}  // namespace

void add_module_commands(CLI::App& app, Chosen& chosen) {
  const auto options = std::make_shared<ModuleOptions>();
  CLI::App* module = app.add_subcommand("module", "load, swap and watch a guest's filter modules");
  module->require_subcommand(1);

  CLI::App* ls =
      add_command(*module, "ls", "list the modules, in the order in which they are asked", options, run_ls, chosen);
  add_guest(*ls, options, false);

  CLI::App* load = add_command(*module, "load", "load a module behind the others", options, run_load, chosen);
  add_guest(*load, options, true);
  load->add_option("file", options->file, "its shared object: a path, or a name without / of an installed one")
      ->required();
  load->add_option("--name", options->module, "what it is called; else as the file is, without .so");
  add_config(*load, options);

  CLI::App* unload = add_command(*module, "unload", "take a module away that was loaded", options, run_unload, chosen);
  add_guest(*unload, options, true);
  add_module(*unload, options, true);

  CLI::App* swap = add_command(*module, "swap", "put another version in the place of a module that was loaded", options,
                               run_swap, chosen);
  add_guest(*swap, options, true);
  add_module(*swap, options, true);
  swap->add_option("--file", options->file, "its shared object; else the one that it has");
  add_config(*swap, options);

  CLI::App* stats = add_command(*module, "stats", "show what the modules have done", options, run_stats, chosen);
  add_guest(*stats, options, true);
  add_module(*stats, options, false);
}

}  // namespace hyperward::cli
