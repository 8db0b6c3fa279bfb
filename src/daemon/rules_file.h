// A file of rules, read and compiled.
#pragma once

#include <filesystem>

#include "base/result.h"
#include "daemon/config.h"
#include "policy/rules.h"

namespace hyperward::daemon {

[[nodiscard]] policy::Names names_of(const Config& config);

// All mistakes in one Error, each with its line and a mark below the place.
[[nodiscard]] Result<policy::RuleSet> load_rules(const std::filesystem::path& file, const policy::Names& names);

}  // namespace hyperward::daemon
