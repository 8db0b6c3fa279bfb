// Any bytes as a line of an intrusion detection system.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "detect/ids_alert.h"
#include "packet/packet.h"

using namespace hyperward;  // NOLINT(google-build-using-namespace)

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto alert = detect::parse_ids_line({reinterpret_cast<const char*>(data), size});
  if (!alert) {
    HW_CHECK(alert.error().code == Code::kInvalid);
    HW_CHECK(alert.error().message.size() < 100);  // none of the line's own text
    return 0;
  }
  if (!*alert) return 0;
  HW_CHECK((*alert)->text.size() <= detect::kMaxAlertTextBytes);
  const bool has_port = (*alert)->source.port != 0 || (*alert)->destination.port != 0;
  HW_CHECK(!has_port || packet::has_ports((*alert)->protocol));
  return 0;
}
