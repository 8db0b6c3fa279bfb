#include "cli/manual.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <fstream>
#include <span>

#include <fmt/ranges.h>

namespace hyperward::cli {
namespace {

struct Described {
  std::string_view name, text;
};

// What concerns every command, and no parser knows.
constexpr Described kExitStatus[] = {
    {"0", "It is done."},
    {"2", "The input or the machine does not allow it; one sentence on standard error says why."},
};
constexpr Described kEnvironment[] = {
    {"NO_COLOR", "When it is set, nothing is written in colours."},
};
constexpr Described kFiles[] = {
    {"/etc/hyperward/hyperward.toml", "The daemon's configuration."},
    {"/etc/hyperward/guests.d/*.toml", "The guests, each with its tap, its rules and its detection."},
    {"/run/hyperward/control.sock", "Where the daemon is asked and told. Who may open it may do everything."},
    {"/run/hyperward/*.guard", "The state of each guard, for the commands that work without a daemon."},
    {"/var/lib/hyperward/hyperward.db", "Rules added at run time, alerts and responses."},
    {"/sys/fs/bpf/hyperward", "The BPF programs and their maps, which outlive the process that put them there."},
};

// So that groff takes it for text: no escapes, no requests, and hyphens that can be copied into a shell.
std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '\\') {
      result += "\\e";
    } else if (c == '-') {
      result += "\\-";
    } else {
      if ((c == '.' || c == '\'') && (result.empty() || result.back() == '\n')) result += "\\&";
      result += c;
    }
  }
  return result;
}

std::string bold(std::string_view text) {
  return fmt::format("\\fB{}\\fR", escaped(text));
}

std::string italic(std::string_view text) {
  return fmt::format("\\fI{}\\fR", escaped(text));
}

// "list the flows" is "List the flows." in a section, and the other way round behind a name.
std::string phrase(std::string text) {
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

std::string sentence(std::string text) {
  if (text.empty()) return text;
  text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  if (!text.ends_with('.') && !text.ends_with('?')) text += '.';
  return text;
}

std::string value_text(const Parameter& parameter) {
  if (parameter.choices.empty()) return italic(parameter.value);
  std::vector<std::string> choices;
  choices.reserve(parameter.choices.size());
  for (const std::string& choice : parameter.choices) choices.push_back(bold(choice));
  return fmt::format("{}", fmt::join(choices, "|"));
}

std::string place_text(const Parameter& place) {
  const std::string word = value_text(place) + (place.many ? " ..." : "");
  return place.required ? word : "[" + word + "]";
}

std::string synopsis(const Command& command) {
  std::string line = bold(command.name());
  if (!command.options.empty()) line += fmt::format(" [{}]", italic("options"));
  for (const Parameter& place : command.places) line += " " + place_text(place);
  if (!command.commands.empty()) line += " " + italic("command");
  return line;
}

std::string parameter_entry(const Parameter& parameter) {
  std::vector<std::string> names;
  names.reserve(parameter.names.size());
  for (const std::string& name : parameter.names) names.push_back(bold(name));
  std::string head = fmt::format("{}", fmt::join(names, ", "));
  if (!parameter.value.empty()) head += (head.empty() ? "" : " ") + value_text(parameter);

  std::string text = escaped(sentence(parameter.description));
  if (parameter.required && !parameter.names.empty()) text += " It must be given.";
  if (!parameter.default_value.empty()) text += fmt::format(" The default is {}.", bold(parameter.default_value));
  if (!parameter.environment.empty()) text += fmt::format(" Else ${} says it.", escaped(parameter.environment));
  return fmt::format(".TP\n{}\n{}\n", head, text);
}

std::string entries(std::string_view section, std::span<const Described> all) {
  std::string text = fmt::format(".SH {}\n", section);
  for (const Described& one : all) text += fmt::format(".TP\n{}\n{}\n", bold(one.name), escaped(one.text));
  return text;
}

std::string page_name(const Command& command) {
  return command.path.empty() ? "hyperward" : "hyperward-" + command.path.front();
}

std::string parameters(const Command& command) {
  std::string text;
  for (const Parameter& place : command.places) text += parameter_entry(place);
  for (const Parameter& option : command.options) text += parameter_entry(option);
  return text;
}

std::string reference(std::string_view page) {
  return bold(page) + "(8)";
}

std::string see_also(const Command& hyperward, const Command& page) {
  std::vector<std::string> pages;
  if (!page.path.empty()) pages.push_back(reference("hyperward"));
  for (const Command& other : hyperward.commands)
    if (other.path != page.path) pages.push_back(reference(page_name(other)));
  return fmt::format(".SH SEE ALSO\n{}\n", fmt::join(pages, ",\n"));
}

// The commands below, with all they take, or where they are described.
std::string commands_section(const Command& page) {
  if (page.commands.empty()) return {};
  std::string text = ".SH COMMANDS\n";
  for (const Command& command : page.commands) {
    if (page.path.empty()) {
      text += fmt::format(".TP\n{}\n{}\n", reference(page_name(command)), escaped(sentence(command.description)));
    } else {
      text += fmt::format(".SS {}\n{}\n{}", escaped(command.path.back()), escaped(sentence(command.description)),
                          parameters(command));
    }
  }
  return text;
}

std::string environment_section(const Command& page) {
  std::string text = entries("ENVIRONMENT", kEnvironment);
  std::vector<std::string> told;
  for (const Command* command : all_commands(page)) {
    for (const Parameter& option : command->options) {
      if (option.environment.empty() || std::ranges::find(told, option.environment) != told.end()) continue;
      told.push_back(option.environment);
      text += fmt::format(".TP\n{}\n{}\n", bold(option.environment), escaped(sentence(option.description)));
    }
  }
  return text;
}

ManualPage manual_page(const Command& hyperward, const Command& page, std::string_view version) {
  const std::string name = page_name(page);
  std::string title = name;
  for (char& c : title) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));

  std::string text = fmt::format(".TH {} 8 \"\" \"hyperward {}\" \"hyperward\"\n", escaped(title), escaped(version));
  text += fmt::format(".SH NAME\n{} \\- {}\n.SH SYNOPSIS\n", escaped(name), escaped(phrase(page.description)));
  for (const Command* command : all_commands(page)) {
    const bool has_page_of_its_own = page.path.empty() && !command->path.empty();
    if (has_page_of_its_own || (command != &page && !command->commands.empty())) continue;
    if (command == &page && !page.path.empty() && !page.commands.empty()) continue;
    text += synopsis(*command) + "\n.br\n";
  }
  text += fmt::format(".SH DESCRIPTION\n{}\n", escaped(sentence(page.description)));
  text += commands_section(page);
  text += fmt::format(".SH OPTIONS\n{}", parameters(page));
  text += entries("EXIT STATUS", kExitStatus);
  text += environment_section(page);
  text += entries("FILES", kFiles);
  text += see_also(hyperward, page);
  return {name + ".8", text};
}

}  // namespace

std::vector<ManualPage> manual_pages(const Command& hyperward, std::string_view version) {
  std::vector<ManualPage> pages{manual_page(hyperward, hyperward, version)};
  for (const Command& command : hyperward.commands) pages.push_back(manual_page(hyperward, command, version));
  return pages;
}

Result<void> write_manual(const Command& hyperward, std::string_view version, const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return fail_errno(error.value(), fmt::format("make {}", folder.string()));
  for (const ManualPage& page : manual_pages(hyperward, version)) {
    const std::filesystem::path path = folder / page.file;
    std::ofstream file(path);
    file << page.text;
    file.close();
    if (!file) return fail_errno(errno, fmt::format("write {}", path.string()));
  }
  return {};
}

}  // namespace hyperward::cli
