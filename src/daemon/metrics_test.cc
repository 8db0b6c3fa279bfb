#include "daemon/metrics.h"

#include <limits>

#include <gtest/gtest.h>

namespace hyperward::daemon {
namespace {

TEST(Metrics, tells_help_and_type_once_before_a_familys_samples) {
  Metrics metrics;
  metrics.family("hyperward_frames_total", Metrics::Type::kCounter, "Frames seen.");
  metrics.sample({{"guest", "web"}, {"verdict", "deny"}}, uint64_t{18446744073709551615U});
  metrics.sample({{"guest", "db"}, {"verdict", "deny"}}, uint64_t{0});
  metrics.family("hyperward_uptime_seconds", Metrics::Type::kGauge, "Since the daemon started.");
  metrics.sample({}, 1.5);
  EXPECT_EQ(metrics.text(),
            "# HELP hyperward_frames_total Frames seen.\n"
            "# TYPE hyperward_frames_total counter\n"
            "hyperward_frames_total{guest=\"web\",verdict=\"deny\"} 18446744073709551615\n"
            "hyperward_frames_total{guest=\"db\",verdict=\"deny\"} 0\n"
            "# HELP hyperward_uptime_seconds Since the daemon started.\n"
            "# TYPE hyperward_uptime_seconds gauge\n"
            "hyperward_uptime_seconds 1.5\n");
}

TEST(Metrics, keeps_a_hostile_label_within_its_quotes) {
  Metrics metrics;
  metrics.family("up", Metrics::Type::kGauge, "h");
  metrics.sample({{"guest", "a\"} 1\nb\xff"}}, uint64_t{1});
  EXPECT_TRUE(metrics.text().ends_with("\nup{guest=\"a\\\"} 1\\\\x0ab\\\\xff\"} 1\n")) << metrics.text();
}

TEST(Metrics, spells_what_is_no_number_as_the_format_does) {
  Metrics metrics;
  metrics.family("x", Metrics::Type::kGauge, "h");
  metrics.sample({}, std::numeric_limits<double>::infinity());
  metrics.sample({}, std::numeric_limits<double>::quiet_NaN());
  EXPECT_TRUE(metrics.text().ends_with("\nx +Inf\nx NaN\n")) << metrics.text();
}

TEST(MetricsDeathTest, refuses_names_that_prometheus_would_not_take) {
  Metrics metrics;
  EXPECT_DEATH(metrics.family("frames", Metrics::Type::kCounter, "h"), "broken invariant");
  EXPECT_DEATH(metrics.family("a-b", Metrics::Type::kGauge, "h"), "broken invariant");
  metrics.family("x", Metrics::Type::kGauge, "h");
  EXPECT_DEATH(metrics.family("x", Metrics::Type::kGauge, "h"), "broken invariant");
}

}  // namespace
}  // namespace hyperward::daemon
