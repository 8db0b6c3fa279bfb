// What happens, for whoever listens: rules, alerts, responses, guests that come and go.
//
// The last kKept events stay, so that a listener that comes back continues where it was; one that is slower than that
// is told how many it has missed. Safe from several threads; a publisher never waits for a listener.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace hyperward::daemon {

struct Event {
  uint64_t id = 0;      // counts up from 1 since the daemon started
  std::string type;     // "alert", "response", "rule-added", "rule-removed", "guest-readable", "flow-denied", ...
  std::string guest;    // its label, or ""
  std::string time;     // RFC 3339, UTC, milliseconds
  nlohmann::json data;  // an object
};

[[nodiscard]] nlohmann::json to_json(const Event& event);

class Events {
 public:
  static constexpr size_t kKept = 4096;

  void publish(std::string type, std::string guest, nlohmann::json data);

  struct Batch {
    std::vector<Event> events;
    uint64_t missed = 0;  // that are kept no more
  };
  // The events after `id`; waits up to `patience` for the first. An id that was not given yet is an earlier daemon's:
  // all that is kept comes after it. Nothing more after close().
  [[nodiscard]] Batch after(uint64_t id, std::chrono::milliseconds patience);
  [[nodiscard]] uint64_t last_id() const;
  // Wakes every listener for good: the daemon ends.
  void close();
  [[nodiscard]] bool closed() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::shared_ptr<const Event>> events_;  // shared with listeners, who copy them outside the lock
  uint64_t last_id_ = 0;
  bool closed_ = false;
};

}  // namespace hyperward::daemon
