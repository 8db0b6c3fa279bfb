// Destinations that one account has tried of late and that are not known to have answered: what scans are counted by.
//
// A list of bounded length, exact up to there. A destination stands in it once, however often it is tried. One that
// answers stays until somebody asks; it is asked as late as can be, for answers take their time: when a scan would be
// found, and when the list is full. A full list whose destinations may all still answer takes no more: of a scan as
// fast as that, the first ones are enough.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "detect/finding.h"
#include "packet/packet.h"

namespace hyperward::detect {

using Answered = std::function<bool(const packet::FlowKey&)>;

// After it was asked in vain, an account waits so long before it asks again.
constexpr std::chrono::milliseconds kAskEvery{10};

// A flow's remote end; the ports of protocols without are 0 (the datapath keeps an ICMP identifier there).
[[nodiscard]] Endpoint destination_of(const packet::FlowKey& key);

// What destinations have in common.
struct Pattern {
  std::optional<Protocol> protocol = std::nullopt;
  std::optional<uint16_t> port = std::nullopt;
  std::optional<IpAddress> address = std::nullopt;

  [[nodiscard]] bool matches(const packet::FlowKey& key) const;
};

class Contacts {
 public:
  struct Limits {
    size_t capacity = 0;
    size_t of_one_process = SIZE_MAX;
    std::chrono::milliseconds window{}, grace{};
  };
  struct Tally {
    size_t count = 0;
    size_t old = 0;  // of them: have had the time to answer
    Time first{};
  };

  // `process` tells apart who did it; 0: not known, and no limit holds for it.
  void add(const packet::FlowKey& key, uint64_t process, Time now, const Limits& limits, const Answered& answered);
  [[nodiscard]] Tally tally(const Pattern& pattern, Time now, std::chrono::milliseconds window,
                            std::chrono::milliseconds grace) const;
  void drop_answered(const Pattern& pattern, const Answered& answered);
  void drop(const Pattern& pattern);

  [[nodiscard]] std::vector<packet::FlowKey> keys() const;
  [[nodiscard]] size_t size() const { return contacts_.size(); }
  [[nodiscard]] size_t bytes() const { return contacts_.capacity() * sizeof(Contact); }

  Time next_ask{};  // for the sake of a finding

 private:
  struct Contact {
    packet::FlowKey key, latest;  // the first try, and the last: either may have been answered
    uint64_t process = 0;
    Time first{}, last{};
  };

  [[nodiscard]] bool has_room(uint64_t process, const Limits& limits) const;

  std::vector<Contact> contacts_;  // in the order of their first tries
  Time next_clearing_{};           // may ask for the sake of room again
};

}  // namespace hyperward::detect
