// The owner of a flow as it lies beside the verdict in the flow map, where it outlives the process in the guest, the
// guest, and this process.
#pragma once

#include <optional>
#include <string>

#include "datapath/flow_abi.h"
#include "guest/types.h"
#include "policy/rules.h"

namespace hyperward::daemon {

[[nodiscard]] hw_owner pack(const guest::Owner& owner, uint32_t rule_line);
[[nodiscard]] guest::Owner unpack(const hw_owner& packed);

}  // namespace hyperward::daemon
