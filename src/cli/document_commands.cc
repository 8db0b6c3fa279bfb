// manual and completion: the command line describes itself.
#include <memory>

#include "cli/command_tree.h"
#include "cli/commands.h"
#include "cli/completion.h"
#include "cli/manual.h"

namespace hyperward::cli {
namespace {

struct DocumentOptions {
  std::string folder;
  std::string shell;
};

Result<void> run_completion(const CLI::App& app, const std::string& shell) {
  HW_TRY(const std::string script, completion(command_tree(app), shell));
  fmt::print("{}", script);
  return {};
}

}  // namespace

void add_document_commands(CLI::App& app, Chosen& chosen) {
  const auto options = std::make_shared<DocumentOptions>();

  CLI::App* completion = app.add_subcommand("completion", "print what completes command lines in a shell");
  completion->add_option("shell", options->shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion->callback(
      [=, &app, &chosen] { chosen.action = [=, &app] { return run_completion(app, options->shell); }; });

  // For the build alone, which installs the pages.
  CLI::App* manual = app.add_subcommand("manual", "write the manual pages")->group("");
  manual->add_option("dir", options->folder, "the folder to write them to")->required();
  manual->callback([=, &app, &chosen] {
    chosen.action = [=, &app] { return write_manual(command_tree(app), app.version(), options->folder); };
  });
}

}  // namespace hyperward::cli
