// A growing text file, line by line and through its rotation: what an intrusion detection system writes.
//
// Files are rotated in two ways.
//   Renamed: the path leads to another file, or to none for a while. Who writes may not know yet, so the old file is
//     read on until the new one holds something; then to its end, and the new one from its beginning.
//   Copied and truncated: the file is shorter than what was read of it, and is read from its beginning. What was
//   written
//     since the last call before the truncation is lost; so is what a file begins with that has by the next call grown
//     beyond its old length. Renaming loses nothing, unless a file is written and renamed again between two calls.
//
// There is no thread and nothing to wait for: call it every 100 ms or so. Not for several threads at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include <sys/types.h>

#include "base/fd.h"
#include "base/result.h"

namespace hyperward::detect {

class Follower {
 public:
  static constexpr size_t kMaxLineBytes = 1UL << 20;
  static constexpr size_t kChunkBytes = 64UL << 10;
  static constexpr size_t kMaxChunks = 128;  // read by one call: however fast a file grows, the caller's loop goes on

  // Where to begin in a file that is there at the first call. One that comes later is read from its beginning.
  enum class Start : uint8_t { kEnd, kBeginning };

  explicit Follower(std::filesystem::path path, Start start = Start::kEnd, size_t max_line_bytes = kMaxLineBytes);

  // Gives `line` the next lines, without their ends, and returns how many they were. Fewer than `max_lines`: there are
  // no more for now, or kMaxChunks were read; none as well when there is no such file. A last line waits for its end.
  // kInvalid: the path leads to something that is no regular file; others: it cannot be opened or read. After an error
  // it goes on where it was.
  [[nodiscard]] Result<size_t> read_lines(const std::function<void(std::string_view)>& line, size_t max_lines);

  // Lines that were too long, or that were never ended before the file was rotated.
  [[nodiscard]] uint64_t dropped() const { return dropped_; }

 private:
  [[nodiscard]] Result<void> open_first();
  [[nodiscard]] Result<Fd> open_path() const;
  size_t take_lines(const std::function<void(std::string_view)>& line, size_t max_lines);
  [[nodiscard]] Result<size_t> read_chunk();
  // At the end of the open file: whether there is more to read, here or, now open instead, there.
  [[nodiscard]] Result<bool> follow_rotation();
  void begin_anew();

  std::filesystem::path path_;
  Start start_;
  size_t max_line_bytes_;
  Fd file_;
  off_t offset_ = 0;       // of what is not read yet
  std::string buffer_;     // read, and not given to anyone yet
  bool skipping_ = false;  // within a line of which the beginning was dropped, or never seen
  bool is_leaving_ =
      false;  // the path's new file holds something: once this one's end is reached again, it is its turn
  uint64_t dropped_ = 0;
};

}  // namespace hyperward::detect
