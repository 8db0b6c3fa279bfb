#include "daemon/event_stream.h"

#include <fmt/format.h>

namespace hyperward::daemon {
namespace {

using nlohmann::json;

std::string to_text(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

// Without an id: a listener that comes back names the last event that it got.
std::string missed_text(const json& missed) {
  return fmt::format("event: missed\ndata: {}\n\n", to_text({{"missed", missed}}));
}

}  // namespace

EventStream::EventStream(Events& events, std::optional<uint64_t> after, std::string guest)
    : events_(events), guest_(std::move(guest)), last_sent_(std::chrono::steady_clock::now()) {
  const uint64_t last = events_.last_id();
  after_ = after.value_or(last);
  // Ids begin anew when the daemon does: this listener has heard another one, and nobody knows what it has missed.
  if (after_ > last) {
    after_ = 0;
    waiting_ = missed_text(nullptr);
  }
}

std::string EventStream::next() {
  std::string text = std::exchange(waiting_, {});
  const Events::Batch batch = events_.after(after_, text.empty() ? kPatience : std::chrono::milliseconds(0));
  if (batch.missed > 0) text += missed_text(batch.missed);
  for (const Event& event : batch.events) {
    after_ = event.id;
    if (guest_.empty() || event.guest == guest_)
      text += fmt::format("id: {}\nevent: {}\ndata: {}\n\n", event.id, event.type, to_text(to_json(event)));
  }
  const auto now = std::chrono::steady_clock::now();
  if (text.empty() && now - last_sent_ >= kKeepAlive) text = ": keep-alive\n\n";
  if (!text.empty()) last_sent_ = now;
  return text;
}

}  // namespace hyperward::daemon
