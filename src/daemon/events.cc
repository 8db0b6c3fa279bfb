#include "daemon/events.h"

#include <algorithm>
#include <utility>

#include "base/result.h"
#include "base/time.h"

namespace hyperward::daemon {

nlohmann::json to_json(const Event& event) {
  return {{"id", event.id}, {"type", event.type}, {"guest", event.guest}, {"time", event.time}, {"data", event.data}};
}

void Events::publish(std::string type, std::string guest, nlohmann::json data) {
  HW_CHECK(data.is_object());
  auto event = std::make_shared<Event>(Event{
      .type = std::move(type), .guest = std::move(guest), .time = to_rfc3339(wall_now()), .data = std::move(data)});
  std::shared_ptr<const Event> oldest;  // freed after the lock
  {
    const std::scoped_lock lock(mutex_);
    if (closed_) return;
    event->id = ++last_id_;
    events_.push_back(std::move(event));
    if (events_.size() > kKept) {
      oldest = std::move(events_.front());
      events_.pop_front();
    }
  }
  arrived_.notify_all();
}

Events::Batch Events::after(uint64_t id, std::chrono::milliseconds patience) {
  std::vector<std::shared_ptr<const Event>> found;
  Batch batch;
  {
    std::unique_lock lock(mutex_);
    if (id > last_id_) id = 0;
    arrived_.wait_for(lock, patience, [&] { return closed_ || last_id_ > id; });
    if (closed_ || last_id_ <= id) return batch;
    // Ids follow one another: the place of each is known.
    const uint64_t first_kept = events_.front()->id;
    batch.missed = first_kept > id + 1 ? first_kept - id - 1 : 0;
    const size_t seen = id < first_kept ? 0 : id - first_kept + 1;
    found.assign(events_.begin() + static_cast<std::ptrdiff_t>(seen), events_.end());
  }
  batch.events.reserve(found.size());
  for (const auto& event : found) batch.events.push_back(*event);
  return batch;
}

uint64_t Events::last_id() const {
  const std::scoped_lock lock(mutex_);
  return last_id_;
}

void Events::close() {
  {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
  }
  arrived_.notify_all();
}

bool Events::closed() const {
  const std::scoped_lock lock(mutex_);
  return closed_;
}

}  // namespace hyperward::daemon
