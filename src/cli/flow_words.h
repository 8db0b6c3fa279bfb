// A flow as a command line names it: PROTOCOL LOCAL:PORT REMOTE:PORT.
#pragma once

#include <string>
#include <vector>

#include "base/net.h"
#include "base/result.h"

namespace hyperward::cli {

struct FlowWords {
  Protocol protocol{};
  Endpoint local;  // the guest's end
  Endpoint remote;
};

[[nodiscard]] Result<FlowWords> parse_flow(const std::vector<std::string>& words);

}  // namespace hyperward::cli
