// A module's process: what `hyperward module-process` runs. module_process.h is the daemon's side.
//
// It is set up over the channel it inherits, locks itself in (sandbox.h), loads the module, says hello, and answers
// questions until the channel closes. All of it but the sandbox is the module's to break: the daemon trusts none of it.
#pragma once

#include "base/result.h"

namespace hyperward::filter {

constexpr const char* kModuleHostCommand = "module-process";

// Ends with the daemon. What goes wrong before hello is told to the daemon too.
[[nodiscard]] Result<void> run_module_host();

}  // namespace hyperward::filter
