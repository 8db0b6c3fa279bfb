// Waiting without sleeping, for what another core is about to do.
//
// To wake a core that has gone idle takes 30 to 50 us, to see a word that a running one has written a tenth of one. A
// core that waits so is lost to everybody else meanwhile: hence always for a bounded time, and never where there is
// only one.
#pragma once

#include <sched.h>

#include <chrono>

namespace hyperward::filter {

inline bool has_several_cores() {
  cpu_set_t cores;
  return ::sched_getaffinity(0, sizeof(cores), &cores) == 0 && CPU_COUNT(&cores) > 1;
}

// True as soon as `condition` holds; false when it does not within `limit`.
template <typename Condition>
bool spin_until(Condition condition, std::chrono::microseconds limit) {
  static const bool kSeveralCores = has_several_cores();
  if (condition()) return true;
  if (!kSeveralCores || limit.count() == 0) return false;
  constexpr int kBetweenClocks = 32;  // looks, each of which takes some 10 ns
  const auto end = std::chrono::steady_clock::now() + limit;
  do {
    for (int i = 0; i < kBetweenClocks; ++i) {
      if (condition()) return true;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#elif defined(__aarch64__)
      asm volatile("yield");
#endif
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace hyperward::filter
