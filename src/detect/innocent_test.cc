// What honest guests do for an hour, by the default settings: nothing is found.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "detect/test_world.h"

namespace hyperward::detect {
namespace {

using ::testing::IsEmpty;

constexpr uint32_t kHourSeconds = 3600;

TEST(Innocent, a_mail_server_sends_one_a_second_and_fifteen_at_once_each_minute) {
  World world;
  uint32_t n = 0;
  for (uint32_t second = 0; second < kHourSeconds; ++second) {
    for (uint32_t i = 0; i < (second % 60 == 30 ? 15U : 1U); ++i)
      world.connect(process(101, 500), alive(++n % 5000), 25);
    world.wait(seconds(1));
  }
  EXPECT_THAT(world.found(), IsEmpty());
}

TEST(Innocent, a_mail_server_forks_for_each_delivery) {
  World world;
  uint32_t n = 0;
  for (uint32_t second = 0; second < kHourSeconds; ++second) {
    for (uint32_t i = 0; i < (second % 60 == 30 ? 15U : 1U); ++i) {
      ++n;
      world.connect(process(101, 500 + n), alive(n % 5000), 25);
    }
    world.wait(seconds(1));
  }
  EXPECT_THAT(world.found(), IsEmpty());
}

TEST(Innocent, a_web_client_opens_thirty_at_once) {
  World world;
  uint32_t n = 0;
  for (uint32_t page = 0; page < kHourSeconds / 5; ++page) {
    for (int i = 0; i < 30; ++i) {
      world.connect(process(1000, 700), alive(++n), 443);
      world.wait(std::chrono::microseconds(1700));
    }
    world.wait(milliseconds(4949));
  }
  EXPECT_THAT(world.found(), IsEmpty());
}

TEST(Innocent, a_web_client_opens_the_next_thirty_while_the_last_are_just_answered) {
  World world;
  uint32_t n = 0;
  for (uint32_t i = 0; i < 100'000; ++i) {
    world.connect(process(1000, 700), alive(++n), 443);
    world.wait(std::chrono::microseconds(1700));
  }
  EXPECT_THAT(world.found(), IsEmpty());
}

TEST(Innocent, a_resolver_asks_a_hundred_a_second_each_of_another_server) {
  World world;
  for (uint32_t i = 0; i < kHourSeconds * 100; ++i) {
    world.connect(process(53, 600), alive(i), 53, Protocol::kUdp);
    world.wait(milliseconds(10));
  }
  EXPECT_THAT(world.found(), IsEmpty());
}

TEST(Innocent, a_forwarder_asks_one_server_five_thousand_a_second) {
  World world;
  world.round_trip = milliseconds(5);
  for (uint32_t i = 0; i < 20 * 5000; ++i) {
    world.connect(process(53, 600), alive(1), 53, Protocol::kUdp);
    world.wait(std::chrono::microseconds(200));
  }
  EXPECT_THAT(world.found(), IsEmpty());
}

TEST(Innocent, a_time_client_asks_its_servers_over_and_over) {
  World world;
  for (uint32_t i = 0; i < kHourSeconds / 16; ++i) {
    for (uint32_t server = 0; server < 20; ++server)
      world.connect(process(102, 601), alive(server), 123, Protocol::kUdp);
    world.wait(seconds(16));
  }
  EXPECT_THAT(world.found(), IsEmpty());
}

TEST(Innocent, a_package_manager_downloads_two_hundred_one_after_the_other) {
  World world;
  world.round_trip = milliseconds(10);
  for (uint32_t hour = 0; hour < 18; ++hour) {
    for (int i = 0; i < 200; ++i) {
      world.connect(process(0, 800), alive(1), 80);
      world.wait(milliseconds(15));
    }
    world.wait(seconds(197));
  }
  EXPECT_THAT(world.found(), IsEmpty());
}

TEST(Innocent, a_client_tries_a_dead_server_five_times_a_second) {
  World world;
  for (uint32_t minute = 0; minute < 60; ++minute)
    for (int i = 0; i < 300; ++i) {
      world.connect(process(33, 900), dark(1), 5432);
      world.wait(milliseconds(200));
    }
  EXPECT_THAT(world.found(), IsEmpty());
}

TEST(Innocent, forty_hosts_are_administered_by_a_process_each) {
  World world;
  uint32_t pid = 1000;
  for (uint32_t play = 0; play < 12; ++play) {
    for (int task = 0; task < 5; ++task) {
      for (uint32_t host = 0; host < 40; ++host) {
        world.connect(process(1000, ++pid), alive(host), 22);
        world.wait(milliseconds(5));
      }
      world.wait(seconds(3));
    }
    world.wait(seconds(284));
  }
  EXPECT_THAT(world.found(), IsEmpty());
}

TEST(Innocent, cron_starts_many_short_lived_processes_as_root) {
  World world;
  uint32_t pid = 1000;
  for (uint32_t minute = 0; minute < 60; ++minute) {
    for (uint32_t job = 0; job < 50; ++job) {
      ++pid;
      world.connect(process(0, pid), alive(1), 53, Protocol::kUdp);
      world.connect(process(0, pid), alive(100 + job), 443);
      if (job % 10 == 0) world.connect(process(0, pid), dark(job % 20), 443);  // one of two that are dead
      if (job % 5 == 0) world.connect(process(0, pid), alive(2), 25);
    }
    world.wait(seconds(60));
  }
  EXPECT_THAT(world.found(), IsEmpty());
}

TEST(Innocent, a_web_server_asks_its_database_a_thousand_times_a_second) {
  World world;
  world.round_trip = milliseconds(1);
  for (uint32_t i = 0; i < 60'000; ++i) {
    world.connect(process(33, 900), alive(1), 5432);
    world.wait(milliseconds(1));
  }
  EXPECT_THAT(world.found(), IsEmpty());
}

TEST(Innocent, bulk_over_a_protocol_that_acknowledges_goes_either_way) {
  World world;
  const auto owner = process(1000, 950);
  const auto up = world.connect(owner, alive(1), 443, Protocol::kUdp);
  const auto down = world.connect(owner, alive(2), 51'820, Protocol::kUdp);
  for (uint64_t second = 1; second <= kHourSeconds; ++second) {
    world.wait(seconds(1));
    world.load(owner, up, second * 80'000, second * 9000);
    world.load(owner, down, second * 4000, second * 80'000);
  }
  EXPECT_THAT(world.found(), IsEmpty());
}

TEST(Innocent, looks_that_do_not_come_on_time_add_nothing) {
  World world;
  const auto owner = process(1000, 951);
  const auto key = world.connect(owner, dark(1), 514, Protocol::kUdp);
  uint64_t sent = 0;
  for (uint32_t look = 0; look < kHourSeconds; ++look) {
    const uint32_t wait_ms = look % 2 == 0 ? 300 : 1700;
    world.wait(milliseconds(wait_ms));
    sent += uint64_t{wait_ms} * 39 / 10;  // 3900 in a second, unanswered
    world.load(owner, key, sent, 0);
  }
  EXPECT_THAT(world.found(), IsEmpty());
}

}  // namespace
}  // namespace hyperward::detect
