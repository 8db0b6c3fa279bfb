// What a module says of itself, checked the same way wherever it was said: by a table, or by a process.
#pragma once

#include <string_view>

#include "filter/module.h"

namespace hyperward::filter {

[[nodiscard]] bool is_counter_name(std::string_view text);

// The words of a module's string, which may be null or long.
[[nodiscard]] std::string words(const char* text);

// kInvalid: it is no module, of another ABI, or what it says is beyond the interface's limits.
[[nodiscard]] Result<ModuleInfo> info_of(const hyperward_module& table);
[[nodiscard]] Result<ModuleInfo> checked(ModuleInfo info);

}  // namespace hyperward::filter
