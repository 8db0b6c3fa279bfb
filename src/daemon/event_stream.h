// Events as text/event-stream (WHATWG HTML, section 9.2), for one listener.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "daemon/events.h"

namespace hyperward::daemon {

class EventStream {
 public:
  static constexpr std::chrono::milliseconds kPatience{250};  // how soon a listener that has gone is noticed
  static constexpr std::chrono::seconds kKeepAlive{5};        // between two signs of life

  // The events after `after`; nothing: those to come. Of one guest, unless `guest` is "".
  EventStream(Events& events, std::optional<uint64_t> after, std::string guest);

  // Waits a little. What there is to send; "": nothing yet.
  [[nodiscard]] std::string next();
  [[nodiscard]] bool ended() const { return events_.closed(); }

 private:
  Events& events_;
  uint64_t after_;
  std::string guest_;
  std::string waiting_;  // to be sent before any event
  std::chrono::steady_clock::time_point last_sent_;
};

}  // namespace hyperward::daemon
