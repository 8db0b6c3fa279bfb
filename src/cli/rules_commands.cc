// rules check: what is wrong with a file of rules, before it guards anything.
#include <memory>

#include "cli/commands.h"
#include "daemon/config.h"
#include "daemon/rules_file.h"
#include "policy/rules.h"

namespace hyperward::cli {
namespace {

struct RulesOptions {
  std::string file;
  std::string config;
  std::string passwd, group;
};

constexpr size_t kMaxNamesFileBytes = 16UL << 20;

Result<policy::Names> load_names(const RulesOptions& options) {
  if (!options.config.empty()) {
    HW_TRY(const daemon::Config config, daemon::load_config(options.config));
    return daemon::names_of(config);
  }
  std::string passwd, group;
  if (!options.passwd.empty()) {
    HW_TRY(passwd, daemon::read_file(options.passwd, kMaxNamesFileBytes));
  }
  if (!options.group.empty()) {
    HW_TRY(group, daemon::read_file(options.group, kMaxNamesFileBytes));
  }
  return policy::Names::from_files(passwd, group);
}

Result<void> run_check(const RulesOptions& options) {
  HW_TRY(const policy::Names names, load_names(options));
  HW_TRY(const policy::RuleSet rules, daemon::load_rules(options.file, names));
  fmt::print("{}: {} rules, default {}\n", options.file, rules.rules().size(),
             policy::to_string(rules.default_verdict(policy::Direction::kOut)));
  return {};
}

}  // namespace

void add_rules_commands(CLI::App& app, Chosen& chosen) {
  const auto options = std::make_shared<RulesOptions>();
  CLI::App* rules = app.add_subcommand("rules", "work with files of rules");
  rules->require_subcommand(1);

  CLI::App* check = rules->add_subcommand("check", "say what is wrong with a file of rules");
  check->add_option("file", options->file, "the rules")->required();
  auto* config = check->add_option("--config", options->config, "a guard's config, for its names of users and groups");
  check->add_option("--passwd", options->passwd, "the guest's /etc/passwd, for names of users")->excludes(config);
  check->add_option("--group", options->group, "the guest's /etc/group, for names of groups")->excludes(config);
  check->callback([=, &chosen] { chosen.action = [=] { return run_check(*options); }; });
}

}  // namespace hyperward::cli
