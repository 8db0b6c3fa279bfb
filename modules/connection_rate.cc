// Limits how many flows each user of the guest may begin, by a token bucket for each.
//
//   settings = { per_second = 20 }                 # or per_minute
//   settings = { per_minute = 60, burst = 10 }     # ten at once, then one a second; without `burst`: the rate itself
//
// It tells nobody's processes apart and reads nothing of the guest: owner() alone. What is denied is asked about again
// as soon as there can be a token, so a connection that tries again gets through late instead of never.
#include <algorithm>
#include <array>
#include <chrono>
#include <string>

#include <nlohmann/json.hpp>

#include "hyperward/module.hpp"

using namespace hyperward::module;
using std::chrono::nanoseconds;

namespace {

class ConnectionRate {
 public:
  explicit ConnectionRate(std::string_view settings) {
    const auto json = nlohmann::json::parse(settings);
    const auto per_second = json.value("per_second", uint64_t{0});
    const auto per_minute = json.value("per_minute", uint64_t{0});
    if ((per_second == 0) == (per_minute == 0)) throw std::invalid_argument("say per_second or per_minute, above 0");
    const uint64_t rate = std::max(per_second, per_minute);
    const uint64_t burst = json.value("burst", rate);
    if (burst == 0 || std::max(rate, burst) > kMost) throw std::invalid_argument("rate and burst are 1 to 1000000");
    interval_ = nanoseconds(per_second != 0 ? std::chrono::seconds(1) : std::chrono::minutes(1)) / rate;
    room_ = interval_ * burst;
  }

  Answer judge(const View& view, const Packet& packet) {
    if (packet.direction == Direction::kIn) return allow();
    // Rules have changed, or its owner was looked up anew: it has had its token.
    if (packet.history && packet.history->verdict == Verdict::kAllow) return allow();

    Bucket& bucket = bucket_of(view.owner().uid.value_or(kUnknown), packet.time);
    const nanoseconds full_at = std::max(bucket.full_at, packet.time) + interval_;
    const nanoseconds too_early = full_at - packet.time - room_;
    if (too_early > nanoseconds(0)) {
      ++denied_;
      return deny("too many new connections of this user").for_ms(patience_ms(too_early));
    }
    bucket.full_at = full_at;
    return allow();
  }

  [[nodiscard]] std::vector<Counter> counters() const { return {{"denied", denied_}, {"crowded", crowded_}}; }

 private:
  static constexpr uint64_t kMost = 1'000'000;
  static constexpr uint32_t kUnknown = UINT32_MAX;  // no user has this number: it is the kernel's -1
  static constexpr size_t kBuckets = 256;

  // A bucket is told by the moment when it is full again: each token taken moves that by one interval.
  struct Bucket {
    uint32_t user = kUnknown;
    nanoseconds full_at{0};
  };

  // Constant memory, whatever the guest does. A full bucket is as good as none, so it makes room for another user's.
  // When all users of the table are busy, the others share one bucket.
  Bucket& bucket_of(uint32_t user, nanoseconds now) {
    const auto is_own = [&](const Bucket& bucket) { return bucket.user == user; };
    const auto is_full = [&](const Bucket& bucket) { return bucket.full_at <= now; };
    auto bucket = std::find_if(buckets_.begin(), buckets_.end(), is_own);
    if (bucket != buckets_.end()) return *bucket;
    bucket = std::find_if(buckets_.begin(), buckets_.end(), is_full);
    if (bucket != buckets_.end()) return *bucket = {user, now};
    ++crowded_;
    return shared_;
  }

  // Rounded up; a second at most, so that whoever was cut is asked about soon.
  static uint32_t patience_ms(nanoseconds wait) {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(wait).count() + 1;
    return static_cast<uint32_t>(std::min<int64_t>(ms, 1000));
  }

  nanoseconds interval_{0};  // between two tokens
  nanoseconds room_{0};      // of a bucket, as time
  std::array<Bucket, kBuckets> buckets_;
  Bucket shared_;
  uint64_t denied_ = 0, crowded_ = 0;
};

}  // namespace

HYPERWARD_MODULE(ConnectionRate, "connection-rate", "1.0", "limits how many flows each user may begin");
