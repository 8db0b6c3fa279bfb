#include "daemon/event_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hyperward::daemon {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class EventStreamTest : public testing::Test {
 protected:
  void publish(const std::string& guest, int number) { events.publish("alert", guest, {{"number", number}}); }

  Events events;
};

TEST_F(EventStreamTest, begins_with_what_happens_next) {
  publish("web", 1);
  EventStream stream(events, std::nullopt, "");
  EXPECT_EQ(stream.next(), "");
  publish("web", 2);
  EXPECT_THAT(stream.next(), StartsWith("id: 2\nevent: alert\ndata: {\"data\":{\"number\":2},"));
}

TEST_F(EventStreamTest, continues_after_the_event_that_is_named) {
  for (const int number : {1, 2, 3}) publish("web", number);
  EventStream stream(events, 1, "");
  const std::string text = stream.next();
  EXPECT_THAT(text, StartsWith("id: 2\n"));
  EXPECT_THAT(text, HasSubstr("\n\nid: 3\n"));
}

TEST_F(EventStreamTest, tells_of_one_guest_when_one_is_asked_for) {
  publish("db", 1);
  publish("web", 2);
  EventStream stream(events, 0, "web");
  EXPECT_THAT(stream.next(), StartsWith("id: 2\n"));
}

TEST_F(EventStreamTest, says_how_many_events_were_missed) {
  for (size_t i = 0; i < Events::kKept + 3; ++i) publish("web", 1);
  EventStream stream(events, 0, "");
  EXPECT_THAT(stream.next(), StartsWith("event: missed\ndata: {\"missed\":3}\n\nid: 4\n"));
}

TEST_F(EventStreamTest, begins_anew_for_a_listener_of_an_earlier_daemon) {
  publish("web", 1);
  EventStream stream(events, 500, "");
  EXPECT_THAT(stream.next(), StartsWith("event: missed\ndata: {\"missed\":null}\n\nid: 1\n"));
}

TEST_F(EventStreamTest, keeps_to_one_line_of_data_whatever_a_guest_writes) {
  events.publish("alert", "web", {{"comm", "a\n\nid: 7\n\xff"}});
  EventStream stream(events, 0, "");
  const std::string text = stream.next();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4);
}

TEST_F(EventStreamTest, ends_with_the_events) {
  EventStream stream(events, 0, "");
  EXPECT_FALSE(stream.ended());
  events.close();
  EXPECT_EQ(stream.next(), "");
  EXPECT_TRUE(stream.ended());
}

}  // namespace
}  // namespace hyperward::daemon
