#include "cli/command_tree.h"

#include <algorithm>

#include <fmt/ranges.h>

namespace hyperward::cli {
namespace {

// CLI::IsMember describes itself as "{auto,mapped,readv}", behind the type.
std::vector<std::string> choices_of(const std::string& type) {
  const size_t begin = type.find('{'), end = type.find('}');
  if (begin == std::string::npos || end == std::string::npos || end < begin) return {};
  return CLI::detail::split(type.substr(begin + 1, end - begin - 1), ',');
}

bool is_number(const std::string& type) {
  return type.starts_with("INT") || type.starts_with("UINT") || type.starts_with("FLOAT");
}

Parameter parameter_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  Parameter parameter{.choices = choices_of(type),
                      .description = option.get_description(),
                      .default_value = option.get_default_str(),
                      .environment = option.get_envname(),
                      .required = option.get_required(),
                      .many = option.get_items_expected_max() > 1};
  if (option.get_positional()) {
    parameter.value = option.get_name(/*positional=*/true);
    return parameter;
  }
  for (const std::string& name : option.get_snames()) parameter.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) parameter.names.push_back("--" + name);
  if (option.get_items_expected_max() > 0) parameter.value = is_number(type) ? "number" : "text";
  return parameter;
}

Command tree(const CLI::App& app, std::vector<std::string> path) {
  Command command{.path = std::move(path), .description = app.get_description()};
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    auto& parameters = option->get_positional() ? command.places : command.options;
    parameters.push_back(parameter_of(*option));
  }
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App* one) { return !one->get_group().empty(); })) {
    std::vector<std::string> below = command.path;
    below.push_back(sub->get_name());
    command.commands.push_back(tree(*sub, std::move(below)));
  }
  return command;
}

}  // namespace

std::string Parameter::name() const {
  if (names.empty()) return value;
  const std::string& longest = *std::ranges::max_element(names, {}, &std::string::size);
  return longest.substr(longest.find_first_not_of('-'));
}

std::string Command::name() const {
  return fmt::format("hyperward{}{}", path.empty() ? "" : " ", fmt::join(path, " "));
}

Command command_tree(const CLI::App& app) {
  return tree(app, {});
}

std::vector<const Command*> all_commands(const Command& command) {
  std::vector<const Command*> all{&command};
  for (const Command& below : command.commands) {
    const auto further = all_commands(below);
    all.insert(all.end(), further.begin(), further.end());
  }
  return all;
}

}  // namespace hyperward::cli
