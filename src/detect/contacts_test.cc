#include "detect/contacts.h"

#include <gtest/gtest.h>

#include <initializer_list>

namespace hyperward::detect {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Time kStart = Time{} + std::chrono::hours(1);
const Contacts::Limits kLimits{.capacity = 8, .window = seconds(10), .grace = milliseconds(100)};
const Answered kNever = [](const packet::FlowKey&) { return false; };
const Answered kAlways = [](const packet::FlowKey&) { return true; };

packet::FlowKey to(uint8_t host, uint16_t port = 80, uint16_t local_port = 1000) {
  return {.protocol = Protocol::kTcp,
          .source = {IpAddress::v4(10, 9, 0, 2), local_port},
          .destination = {IpAddress::v4(192, 0, 2, host), port}};
}

size_t count(const Contacts& contacts, const Pattern& pattern, Time now) {
  return contacts.tally(pattern, now, kLimits.window, kLimits.grace).count;
}

TEST(Contacts, count_a_destination_once_however_often_it_is_tried) {
  Contacts contacts;
  for (uint16_t i = 0; i < 100; ++i) contacts.add(to(1, 80, i), 0, kStart + milliseconds(i), kLimits, kNever);
  EXPECT_EQ(contacts.size(), 1U);
}

TEST(Contacts, are_counted_by_what_they_have_in_common) {
  Contacts contacts;
  for (const uint16_t port : std::initializer_list<uint16_t>{80, 443})
    for (uint8_t host = 1; host <= 3; ++host) contacts.add(to(host, port), 0, kStart, kLimits, kNever);
  EXPECT_EQ(count(contacts, {}, kStart), 6U);
  EXPECT_EQ(count(contacts, {.protocol = Protocol::kTcp, .port = 80}, kStart), 3U);
  EXPECT_EQ(count(contacts, {.protocol = Protocol::kUdp, .port = 80}, kStart), 0U);
  EXPECT_EQ(count(contacts, {.address = IpAddress::v4(192, 0, 2, 1)}, kStart), 2U);
  contacts.drop({.port = 80});
  EXPECT_EQ(contacts.size(), 3U);
}

TEST(Contacts, are_old_when_an_answer_is_due) {
  Contacts contacts;
  contacts.add(to(1), 0, kStart, kLimits, kNever);
  contacts.add(to(2), 0, kStart + milliseconds(1), kLimits, kNever);
  EXPECT_EQ(contacts.tally({}, kStart + milliseconds(100), kLimits.window, kLimits.grace).old, 1U);
}

TEST(Contacts, are_forgotten_when_the_window_has_left_their_last_try) {
  Contacts contacts;
  contacts.add(to(1), 0, kStart, kLimits, kNever);
  contacts.add(to(2), 0, kStart, kLimits, kNever);
  contacts.add(to(1), 0, kStart + seconds(6), kLimits, kNever);
  contacts.add(to(3), 0, kStart + seconds(11), kLimits, kNever);
  EXPECT_EQ(contacts.size(), 2U);
}

TEST(Contacts, are_answered_when_the_first_or_the_latest_try_was) {
  for (const uint16_t answered_port : std::initializer_list<uint16_t>{1000, 1002}) {
    Contacts contacts;
    for (const uint16_t local_port : std::initializer_list<uint16_t>{1000, 1001, 1002})
      contacts.add(to(1, 80, local_port), 0, kStart, kLimits, kNever);
    contacts.drop_answered({}, [&](const packet::FlowKey& key) { return key.source.port == answered_port; });
    EXPECT_EQ(contacts.size(), 0U);
  }
}

TEST(Contacts, that_are_full_ask_and_keep_the_first_while_answers_are_under_way) {
  Contacts contacts;
  for (uint8_t host = 0; host < 20; ++host) contacts.add(to(host), 0, kStart, kLimits, kNever);
  EXPECT_EQ(contacts.size(), kLimits.capacity);
  EXPECT_EQ(contacts.keys().back(), to(7));
  contacts.add(to(20), 0, kStart + milliseconds(99), kLimits, kNever);
  EXPECT_EQ(contacts.keys().back(), to(7));
  contacts.add(to(21), 0, kStart + milliseconds(100), kLimits, kNever);
  EXPECT_EQ(contacts.keys().back(), to(21));
  EXPECT_EQ(contacts.size(), kLimits.capacity);
  contacts.add(to(22), 0, kStart + milliseconds(200), kLimits, kAlways);
  EXPECT_EQ(contacts.size(), 1U);
}

TEST(Contacts, of_one_process_are_limited_to_its_share_of_what_is_not_answered) {
  Contacts::Limits limits = kLimits;
  limits.of_one_process = 3;
  Contacts contacts;
  for (uint8_t host = 0; host < 20; ++host) contacts.add(to(host), 7, kStart, limits, kNever);
  EXPECT_EQ(contacts.size(), 3U);
  contacts.add(to(21), 8, kStart, limits, kNever);
  contacts.add(to(22), 0, kStart, limits, kNever);
  EXPECT_EQ(contacts.size(), 5U);
  contacts.add(to(23), 7, kStart + milliseconds(50), limits, kAlways);
  EXPECT_EQ(contacts.size(), 1U);
}

TEST(Contacts, of_protocols_without_ports_differ_by_address_alone) {
  Contacts contacts;
  for (uint16_t identifier = 0; identifier < 5; ++identifier) {
    packet::FlowKey ping = to(1, identifier, identifier);
    ping.protocol = Protocol::kIcmp;
    contacts.add(ping, 0, kStart, kLimits, kNever);
  }
  EXPECT_EQ(contacts.size(), 1U);
}

}  // namespace
}  // namespace hyperward::detect
