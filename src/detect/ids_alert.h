// One alert of an intrusion detection system outside, as a line of text: Suricata's EVE JSON, or hyperward's own
// generic JSON line. The text is hostile: what an IDS writes may come from packets.
//
//   {"timestamp":"...","event_type":"alert","src_ip":"10.9.0.2","src_port":40000,"dest_ip":"203.0.113.9",
//    "dest_port":25,"proto":"TCP","alert":{"signature":"...","signature_id":1,"severity":1,...}}          EVE
//   {"protocol":"tcp","source":"10.9.0.2:40000","destination":"203.0.113.9:25","text":"...","severity":1}  generic
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/net.h"
#include "base/result.h"

namespace hyperward::detect {

struct IdsAlert {
  Protocol protocol{};
  Endpoint source, destination;  // of the packet that raised it: either end may be the guest; ports 0 without ports
  std::string text;              // the signature
  uint32_t signature = 0;        // its number; 0: none
  uint32_t severity = 0;         // 1 is the gravest; 0: not told
};

constexpr size_t kMaxAlertLineBytes = 1UL << 20;
constexpr size_t kMaxAlertTextBytes = 512;  // the rest is cut

// Nothing: a line that is well-formed and no alert (EVE has flows, statistics, ...). kInvalid says what is wrong, and
// names the field.
[[nodiscard]] Result<std::optional<IdsAlert>> parse_ids_line(std::string_view line);

}  // namespace hyperward::detect
