// The held frames that the caller keeps while it goes on with others: their bytes, their bounds, and who is behind
// whom.
//
// A kept frame still waits for its verdict, so it still counts as held: config.taken goes back by one for as long as it
// is kept, and a guest whose frames wait too long meets its default in the kernel, at no cost to us. Why that, and why
// there is a bound of its own beside it: docs/decisions/kept-frames-stay-in-the-hold.md.
#pragma once

#include <cstddef>
#include <list>
#include <memory>

#include "base/result.h"
#include "datapath/datapath.h"
#include "datapath/programs.h"

namespace hyperward::datapath {

class KeptFrames {
 public:
  // Borrows `config`.
  KeptFrames(const SharedConfig& config, size_t frames_max, size_t bytes_max)
      : config_(&config), frames_max_(frames_max), bytes_max_(bytes_max) {}
  KeptFrames(const KeptFrames&) = delete;
  KeptFrames& operator=(const KeptFrames&) = delete;
  ~KeptFrames() { HW_CHECK(frames_.empty()); }  // each refers to us

  [[nodiscard]] Result<Kept> add(const Held& held);  // kLimit: enough are kept
  void release(const Held* kept);
  [[nodiscard]] size_t count() const { return frames_.size(); }

  // A kept frame that came before this one, kept or not, and must go before it: of the same flow, or of the same
  // fragmented packet. nullptr: there is none.
  [[nodiscard]] const Held* ahead_of(const Held& held) const;

 private:
  struct Frame {
    Held held;
    std::unique_ptr<std::byte[]> bytes;
  };

  const SharedConfig* config_;
  size_t frames_max_, bytes_max_;
  std::list<Frame> frames_;  // as they came; few enough to walk
  size_t bytes_ = 0;
};

}  // namespace hyperward::datapath
