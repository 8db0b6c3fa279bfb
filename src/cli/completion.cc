#include "cli/completion.h"

#include <algorithm>

#include <fmt/ranges.h>

namespace hyperward::cli {
namespace {

// What a value can be completed with.
enum class Source : uint8_t { kNothing, kChoices, kGuests, kModules, kFiles };

// The names of all guests' modules, for every shell: what guards note of their state (daemon/state.cc) is JSON in one
// line, its keys in their order.
constexpr std::string_view kModuleNames =
    R"(sed -n 's/.*"modules":\(\[[^{}]*\]\),"pid".*/\1/p' /run/hyperward/*.guard 2>/dev/null)"
    R"( | grep -o '"[^"]*"' | tr -d '"' | sort -u)";

Source source_of(const Parameter& parameter) {
  constexpr std::string_view kOfFiles[] = {"config", "dir", "file", "group", "memory", "passwd", "qmp", "socket"};
  if (!parameter.choices.empty()) return Source::kChoices;
  if (parameter.name() == "guest") return Source::kGuests;
  if (parameter.name() == "module") return Source::kModules;
  if (std::ranges::find(kOfFiles, parameter.name()) != std::end(kOfFiles)) return Source::kFiles;
  return Source::kNothing;
}

// The text in single quotes, for bash and zsh.
std::string in_quotes(std::string_view text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? R"('\'')" : std::string(1, c);
  return result + "'";
}

// "" for hyperward itself, " rule add" below it: what the scripts gather from the line.
std::string words_of(const Command& command) {
  std::string words;
  for (const std::string& word : command.path) words += " " + word;
  return words;
}

std::string all_words(const Command& hyperward) {
  std::vector<std::string> words;
  for (const Command* command : all_commands(hyperward))
    if (!command->path.empty()) words.push_back(in_quotes(words_of(*command)));
  return fmt::format("{}", fmt::join(words, "|"));
}

// -- bash ------------------------------------------------------------------------------------------------------

std::string bash_source(const Parameter& parameter) {
  switch (source_of(parameter)) {
    case Source::kChoices: return in_quotes(fmt::format("{}", fmt::join(parameter.choices, " ")));
    case Source::kGuests: return "GUESTS";
    case Source::kModules: return "MODULES";
    case Source::kFiles: return "FILES";
    case Source::kNothing: break;
  }
  return "''";
}

std::string bash_words(const Command& command) {
  std::vector<std::string> words;
  words.reserve(command.commands.size());
  for (const Command& below : command.commands) words.push_back(below.path.back());
  for (const Parameter& option : command.options) words.insert(words.end(), option.names.begin(), option.names.end());
  return fmt::format("    {}) words={} ;;\n", in_quotes(words_of(command)),
                     in_quotes(fmt::format("{}", fmt::join(words, " "))));
}

std::string bash_values(const Command& command) {
  std::string text;
  for (const Parameter& option : command.options) {
    if (option.value.empty()) continue;
    std::vector<std::string> patterns;
    patterns.reserve(option.names.size());
    for (const std::string& name : option.names) patterns.push_back(in_quotes(words_of(command) + " " + name));
    text += fmt::format("      {}) value={}; (( ++i )) ;;\n", fmt::join(patterns, "|"), bash_source(option));
  }
  return text;
}

std::string bash_places(const Command& command) {
  std::string text;
  for (size_t i = 0; i < command.places.size(); ++i)
    text += fmt::format("    {}) place={} ;;\n", in_quotes(fmt::format("{} {}", words_of(command), i)),
                        bash_source(command.places[i]));
  return text;
}

std::string bash(const Command& hyperward) {
  std::string words, values, places;
  for (const Command* command : all_commands(hyperward)) {
    words += bash_words(*command);
    values += bash_values(*command);
    places += bash_places(*command);
  }
  constexpr std::string_view kScript = R"(# bash completion of hyperward, made by `hyperward completion bash`

_hyperward_guests() {{
  local file
  for file in /run/hyperward/*.guard; do
    file=${{file##*/}}
    file=${{file%.guard}}
    [[ $file != '*' && $file == "$1"* ]] && printf '%q\n' "$file"
  done
}}

_hyperward_modules() {{
  {}
}}

_hyperward() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} command='' value='' words='' place='' i places=0
  for (( i = 1; i < COMP_CWORD; ++i )); do
    case "$command ${{COMP_WORDS[i]}}" in
      {}) command+=" ${{COMP_WORDS[i]}}" places=0 ;;
{}      *' -'*) ;;
      *) (( ++places )) ;;
    esac
  done
  case $command in
{}  esac
  case "$command $places" in
{}  esac
  if (( i > COMP_CWORD )); then
    words=$value   # of the option before it
  elif [[ $current != -* && -n $place ]]; then
    words=$place
  fi
  case $words in
    GUESTS) mapfile -t COMPREPLY < <(_hyperward_guests "$current") ;;
    MODULES) mapfile -t COMPREPLY < <(compgen -W "$(_hyperward_modules) " -- "$current") ;;
    FILES) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current") ;;
  esac
}}
complete -F _hyperward hyperward
)";
  return fmt::format(kScript, kModuleNames, all_words(hyperward), values, words, places);
}

// -- zsh -------------------------------------------------------------------------------------------------------

// Within _arguments and _describe a colon ends a field, and brackets hold the description.
std::string zsh_text(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == ':' || c == '[' || c == ']' || c == '\\') result += '\\';
    result += c;
  }
  return result;
}

std::string zsh_value(const Parameter& parameter) {
  const std::string name = zsh_text(parameter.name());
  switch (source_of(parameter)) {
    case Source::kChoices: return fmt::format(":{}:({})", name, fmt::join(parameter.choices, " "));
    case Source::kGuests: return fmt::format(":{}:_hyperward_guests", name);
    case Source::kModules: return fmt::format(":{}:_hyperward_modules", name);
    case Source::kFiles: return fmt::format(":{}:_files", name);
    case Source::kNothing: break;
  }
  return fmt::format(":{}: ", name);
}

std::string zsh_function(const Command& command) {
  std::string words = words_of(command);
  std::ranges::replace(words, ' ', '_');
  std::ranges::replace(words, '-', '_');
  return "_hyperward" + words;
}

std::string zsh_command(const Command& command) {
  std::string arguments;
  for (const Parameter& option : command.options) {
    for (const std::string& name : option.names) {
      const std::string value = option.value.empty() ? "" : zsh_value(option);
      arguments +=
          fmt::format(" \\\n    {}", in_quotes(fmt::format("{}[{}]{}", name, zsh_text(option.description), value)));
    }
  }
  for (const Parameter& place : command.places)
    arguments += " \\\n    " + in_quotes((place.many ? "*" : place.required ? "" : ":") + zsh_value(place));
  if (command.commands.empty()) return fmt::format("{}() {{\n  _arguments{}\n}}\n\n", zsh_function(command), arguments);

  std::string described, cases;
  for (const Command& below : command.commands) {
    described += " " + in_quotes(fmt::format("{}:{}", below.path.back(), zsh_text(below.description)));
    cases += fmt::format("        {}) {} ;;\n", below.path.back(), zsh_function(below));
  }
  constexpr std::string_view kFunction = R"({}() {{
  local curcontext=$curcontext state line
  local -a commands=({})
  _arguments -C{} \
    ':command:->command' '*::argument:->argument'
  case $state in
    command) _describe command commands ;;
    argument)
      case $line[1] in
{}      esac ;;
  esac
}}

)";
  return fmt::format(kFunction, zsh_function(command), described, arguments, cases);
}

std::string zsh(const Command& hyperward) {
  std::string text = R"(#compdef hyperward
# zsh completion of hyperward, made by `hyperward completion zsh`

_hyperward_guests() {
  local -a guests=(/run/hyperward/*.guard(N:t:r))
  compadd -a guests
}

)";
  text +=
      fmt::format("_hyperward_modules() {{\n  local -a modules=($({}))\n  compadd -a modules\n}}\n\n", kModuleNames);
  for (const Command* command : all_commands(hyperward)) text += zsh_command(*command);
  return text + "if [[ $funcstack[1] == _hyperward ]]; then _hyperward \"$@\"; else compdef _hyperward hyperward; fi\n";
}

// -- fish ------------------------------------------------------------------------------------------------------

// In fish a backslash means something within quotes too.
std::string fish_quoted(std::string_view text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') result += '\\';
    result += c;
  }
  return result + "'";
}

std::string fish_source(const Parameter& parameter) {
  switch (source_of(parameter)) {
    case Source::kChoices: return " -a " + fish_quoted(fmt::format("{}", fmt::join(parameter.choices, " ")));
    case Source::kGuests: return " -a '(__hyperward_guests)'";
    case Source::kModules: return " -a '(__hyperward_modules)'";
    case Source::kFiles: return " -a '(__fish_complete_path (commandline -ct))'";
    case Source::kNothing: break;
  }
  return "";
}

std::string fish_command(const Command& command) {
  const std::string when =
      fmt::format("complete -c hyperward -n {}", fish_quoted(fmt::format("__hyperward_is \"{}\"", words_of(command))));
  std::string text;
  for (const Command& below : command.commands)
    text += fmt::format("{} -a {} -d {}\n", when, below.path.back(), fish_quoted(below.description));
  for (const Parameter& option : command.options) {
    text += when;
    for (const std::string& name : option.names)
      text += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
    if (!option.value.empty()) text += " -x" + fish_source(option);
    text += fmt::format(" -d {}\n", fish_quoted(option.description));
  }
  for (const Parameter& place : command.places)
    if (const std::string source = fish_source(place); !source.empty())
      text += fmt::format("{}{} -d {}\n", when, source, fish_quoted(place.description));
  return text;
}

std::string fish(const Command& hyperward) {
  std::string words = all_words(hyperward);
  std::ranges::replace(words, '|', ' ');
  constexpr std::string_view kScript = R"(# fish completion of hyperward, made by `hyperward completion fish`

function __hyperward_guests
    for file in /run/hyperward/*.guard
        string replace -r '.*/(.*)\.guard$' '$1' -- $file
    end
end

function __hyperward_modules
    {}
end

# Whether the line, without the word under the cursor, is of this command.
function __hyperward_is
    set -l command ''
    for word in (commandline -opc)[2..]
        if contains -- "$command $word" {}
            set command "$command $word"
        end
    end
    test "$command" = "$argv"
end

complete -c hyperward -f
)";
  std::string text = fmt::format(kScript, kModuleNames, words);
  for (const Command* command : all_commands(hyperward)) text += fish_command(*command);
  return text;
}

}  // namespace

Result<std::string> completion(const Command& hyperward, std::string_view shell) {
  if (shell == "bash") return bash(hyperward);
  if (shell == "zsh") return zsh(hyperward);
  if (shell == "fish") return fish(hyperward);
  return fail(Code::kInvalid, "'{}' is no shell that can be completed for: write bash, zsh or fish", shell);
}

}  // namespace hyperward::cli
