// What completes a command line in a shell, made of the same App that parses it.
//
// Guests are completed by the names of the guards' state files: that needs no daemon, no permission and no time.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/command_tree.h"

namespace hyperward::cli {

// For "bash", "zsh" or "fish"; kInvalid: another.
[[nodiscard]] Result<std::string> completion(const Command& hyperward, std::string_view shell);

}  // namespace hyperward::cli
