// The manual pages, hyperward(8) and one for each of its commands, from the command line itself.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/command_tree.h"

namespace hyperward::cli {

struct ManualPage {
  std::string file;  // "hyperward-rule.8"
  std::string text;  // man(7)
};

// What stands below a command is described on the command's page.
[[nodiscard]] std::vector<ManualPage> manual_pages(const Command& hyperward, std::string_view version);

// Into that folder, which is made if need be.
[[nodiscard]] Result<void> write_manual(const Command& hyperward, std::string_view version,
                                        const std::filesystem::path& folder);

}  // namespace hyperward::cli
