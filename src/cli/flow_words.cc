#include "cli/flow_words.h"

namespace hyperward::cli {

Result<FlowWords> parse_flow(const std::vector<std::string>& words) {
  if (words.size() != 3)
    return fail(Code::kInvalid,
                "name a flow as PROTOCOL LOCAL:PORT REMOTE:PORT, for example: tcp 10.9.0.2:43210 203.0.113.9:25");
  FlowWords flow;
  bool known = false;
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp, Protocol::kIcmpV6}) {
    if (words[0] != to_string(protocol)) continue;
    flow.protocol = protocol;
    known = true;
  }
  if (!known) return fail(Code::kInvalid, "'{}' is no protocol: write tcp, udp, icmp or icmp6", words[0]);
  HW_TRY(flow.local, Endpoint::parse(words[1]));
  HW_TRY(flow.remote, Endpoint::parse(words[2]));
  return flow;
}

}  // namespace hyperward::cli
