// module replay: asks a module again what it was asked when its process died.
#include <poll.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/print_json.h"
#include "cli/target.h"
#include "filter/loaded_module.h"
#include "filter/module_process.h"
#include "filter/recording.h"

namespace hyperward::cli {
namespace {

using nlohmann::json;

constexpr uint64_t kBoot = 1;  // the guest as it is now has had one

struct ReplayOptions {
  std::string recording, module, settings;
  Target target;
  bool has_guest = false, in_process = false, as_json = false;
};

Result<std::unique_ptr<filter::Module>> load(const ReplayOptions& options, const filter::Recording& recording,
                                             const guest::Guest* guest) {
  const std::string settings = options.settings.empty() ? recording.settings : options.settings;
  if (!options.in_process) {
    HW_TRY(auto module, filter::LoadedModule::load(options.module, settings));
    return module;
  }
  if (guest != nullptr) HW_OK(guest->kernel().memory().handle());  // it can be shown to another process
  filter::ModuleProcessOptions in_process{
      .label = options.module, .file = std::filesystem::absolute(options.module), .settings = settings};
  in_process.guest = [guest]() -> filter::GuestMessage {
    if (guest == nullptr) return {};
    return {.boot = kBoot, .ram = guest->kernel().memory().handle().value_or(memory::RamHandle())};
  };
  HW_TRY(auto module, filter::ModuleProcess::start(std::move(in_process)));
  return module;
}

// One after the other, so that what ends the module is the question that was asked last.
filter::Module::Said judge(filter::Module& module, uint64_t ticket, const filter::Question& question,
                           filter::GuestView& view) {
  if (auto said = module.ask(ticket, question, view)) return *std::move(said);
  module.flush();
  for (;;) {
    std::vector<filter::Module::Answered> answered;
    module.collect(answered);
    if (!answered.empty()) return std::move(answered.front().said);
    pollfd waiting{module.fd(), POLLIN, 0};
    ::poll(&waiting, 1, -1);
  }
}

json said_json(size_t number, const filter::Question& question, const filter::Module::Said& said) {
  const policy::Flow flow = filter::flow_of(question.packet);
  json value = {{"number", number},
                {"protocol", to_string(flow.protocol)},
                {"local", to_string(flow.local)},
                {"remote", to_string(flow.remote)},
                {"fault", said ? json(nullptr) : json(guest::printable(said.error().message))}};
  if (!said) return value;
  value["verdict"] = policy::to_string(said->verdict);
  value["code"] = said->code;
  value["reason"] = guest::printable(said->reason);
  const bool for_ever = said->lifetime == filter::Answer::kForever;
  value["lifetime_ms"] = for_ever ? json(nullptr) : json(said->lifetime.count());
  return value;
}

Result<void> run_replay(const ReplayOptions& options) {
  HW_TRY(const filter::Recording recording, filter::read_recording(options.recording));
  std::unique_ptr<guest::Guest> guest;
  if (options.has_guest) {
    HW_TRY(auto memory, open_memory(options.target));
    HW_TRY(guest, guest::Guest::attach(std::move(memory)));
  }
  HW_TRY(const auto module, load(options, recording, guest.get()));
  if (!options.as_json)
    fmt::print("{} questions to {} {}, of a recording of {} {}\n", recording.asked.size(), module->info().name,
               module->info().version, guest::printable(recording.module), guest::printable(recording.version));

  filter::GuestView view(guest.get(), kBoot);
  size_t number = 0;
  for (const filter::Recording::Asked& asked : recording.asked) {
    filter::Question question = asked.question;
    question.frame = asked.frame;
    ++number;
    const json said = said_json(number, question, judge(*module, number, question, view));
    if (options.as_json) {
      print_json_line(said);
    } else if (said["fault"].is_null()) {
      fmt::print("{:4}  {} {} -> {}  {}  code {}  {}\n", number, said["protocol"].get<std::string>(),
                 said["local"].get<std::string>(), said["remote"].get<std::string>(),
                 said["verdict"].get<std::string>(), said["code"].get<uint32_t>(), said["reason"].get<std::string>());
    } else {
      fmt::print("{:4}  {} {} -> {}  fault: {}\n", number, said["protocol"].get<std::string>(),
                 said["local"].get<std::string>(), said["remote"].get<std::string>(), said["fault"].get<std::string>());
    }
    std::fflush(stdout);  // the next one may be the end
  }
  return {};
}

}  // namespace

void add_replay_command(CLI::App& app, Chosen& chosen) {
  const auto options = std::make_shared<ReplayOptions>();
  CLI::App* replay =
      app.get_subcommand("module")->add_subcommand("replay", "ask a module again what it was asked when it died");
  replay->add_option("recording", options->recording, "the file that the log and the event named")->required();
  replay->add_option("--module", options->module, "the module's shared object")->required();
  replay->add_option("--settings", options->settings, "a JSON object; else the recording's");
  replay->add_option("--guest", options->target.guest.name, "let it see this running guest, as it is now");
  options->target.add_options(*replay);
  replay->add_flag("--process", options->in_process, "in a process of its own; else in this one, for a debugger");
  replay->add_flag("--json", options->as_json, "one JSON object for each answer, a line each");
  replay->callback([=, &chosen] {
    options->has_guest =
        replay->count("--guest") + replay->count("--pid") + replay->count("--qmp") + replay->count("--memory") > 0;
    chosen.action = [=] { return run_replay(*options); };
  });
}

}  // namespace hyperward::cli
