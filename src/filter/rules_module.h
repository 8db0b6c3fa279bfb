// The built-in rules, as a module: the same table that others export, over a RuleChain.
#pragma once

#include "filter/rule_chain.h"
#include "hyperward/module.h"

namespace hyperward::filter {

// Its instance is a `const RuleChain*`. An answer's code is what Decision::rule says, a remark's what Audited::line
// says, which are not bounded as other modules' codes are.
//
// create() makes a RuleChain of its own from {"rules": "TEXT", "users": {"alice": 1000}, "groups": {"staff": 50}}.
[[nodiscard]] const hyperward_module& rules_module();

}  // namespace hyperward::filter
