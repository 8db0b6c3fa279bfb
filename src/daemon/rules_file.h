// A file of rules, read and compiled.
#pragma once

#include <filesystem>
#include <string_view>

#include "base/result.h"
#include "daemon/config.h"
#include "policy/rules.h"

namespace hyperward::daemon {

[[nodiscard]] policy::Names names_of(const Config& config);

// All mistakes in one Error, each with its line and a mark below the place.
[[nodiscard]] Result<policy::RuleSet> load_rules(const std::filesystem::path& file, const policy::Names& names);
// The same of a text that was read from the file.
[[nodiscard]] Result<policy::RuleSet> compile_rules(std::string_view text, const std::filesystem::path& file,
                                                    const policy::Names& names);

}  // namespace hyperward::daemon
