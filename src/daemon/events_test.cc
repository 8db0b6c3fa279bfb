#include "daemon/events.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/time.h"

namespace hyperward::daemon {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using testing::ElementsAre;
using testing::IsEmpty;

std::vector<uint64_t> ids(const Events::Batch& batch) {
  std::vector<uint64_t> result;
  for (const Event& event : batch.events) result.push_back(event.id);
  return result;
}

void publish(Events& events, int count) {
  for (int i = 0; i < count; ++i) events.publish("alert", "web", json::object());
}

TEST(Events, counts_from_one_and_tells_what_came_after) {
  Events events;
  EXPECT_EQ(events.last_id(), 0U);
  publish(events, 3);
  EXPECT_EQ(events.last_id(), 3U);
  EXPECT_THAT(ids(events.after(0, 0ms)), ElementsAre(1, 2, 3));
  EXPECT_THAT(ids(events.after(2, 0ms)), ElementsAre(3));
  EXPECT_THAT(ids(events.after(3, 0ms)), IsEmpty());
}

TEST(Events, becomes_json_with_all_that_it_knows) {
  Events events;
  events.publish("rule-added", "web", {{"id", 7}});
  const Event event = events.after(0, 0ms).events.at(0);
  EXPECT_EQ(
      to_json(event),
      (json{{"id", 1}, {"type", "rule-added"}, {"guest", "web"}, {"time", event.time}, {"data", json{{"id", 7}}}}));
  EXPECT_TRUE(from_rfc3339(event.time)) << event.time;
}

TEST(Events, keeps_the_last_and_tells_how_many_are_missed) {
  Events events;
  publish(events, static_cast<int>(Events::kKept) + 10);
  const auto batch = events.after(4, 0ms);
  EXPECT_EQ(batch.missed, 6U);
  EXPECT_EQ(batch.events.size(), Events::kKept);
  EXPECT_EQ(batch.events.front().id, 11U);
  EXPECT_EQ(events.after(10, 0ms).missed, 0U);
  EXPECT_EQ(events.after(events.last_id() - 1, 0ms).events.size(), 1U);
}

TEST(Events, gives_all_to_a_listener_that_knew_an_earlier_daemon) {
  Events events;
  publish(events, 2);
  EXPECT_THAT(ids(events.after(5000, 0ms)), ElementsAre(1, 2));
}

TEST(Events, wakes_a_listener_that_waits) {
  Events events;
  std::jthread publisher([&] { publish(events, 1); });
  EXPECT_THAT(ids(events.after(0, 60s)), ElementsAre(1));
}

TEST(Events, does_not_wait_longer_than_the_listener_is_patient) {
  Events events;
  EXPECT_THAT(ids(events.after(0, 10ms)), IsEmpty());
}

TEST(Events, ends_for_every_listener_when_it_is_closed) {
  Events events;
  {
    std::vector<std::jthread> listeners;
    for (int i = 0; i < 3; ++i)
      listeners.emplace_back([&] { EXPECT_THAT(ids(events.after(events.last_id(), 60s)), IsEmpty()); });
    events.close();
  }
  EXPECT_TRUE(events.closed());
  publish(events, 1);
  EXPECT_THAT(ids(events.after(0, 60s)), IsEmpty());
}

TEST(Events, shows_each_listener_every_event_in_its_order) {
  constexpr int kPublishers = 3, kEach = 500;
  Events events;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kPublishers; ++i) threads.emplace_back([&] { publish(events, kEach); });
    for (int i = 0; i < 2; ++i) {
      threads.emplace_back([&] {
        uint64_t seen = 0;
        while (seen < kPublishers * kEach) {
          const auto batch = events.after(seen, 60s);
          ASSERT_FALSE(batch.events.empty());
          for (const Event& event : batch.events) ASSERT_EQ(event.id, ++seen);
        }
      });
    }
  }
}

}  // namespace
}  // namespace hyperward::daemon
