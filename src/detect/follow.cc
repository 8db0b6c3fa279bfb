#include "detect/follow.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace hyperward::detect {

Follower::Follower(std::filesystem::path path, Start start, size_t max_line_bytes)
    : path_(std::move(path)), start_(start), max_line_bytes_(max_line_bytes) {}

Result<size_t> Follower::read_lines(const std::function<void(std::string_view)>& line, size_t max_lines) {
  if (!file_.valid()) HW_OK(open_first());
  if (!file_.valid()) return 0;
  size_t lines = 0;
  for (size_t chunks = 0; chunks < kMaxChunks; ++chunks) {
    lines += take_lines(line, max_lines - lines);
    if (lines == max_lines) return lines;
    HW_TRY(const size_t bytes, read_chunk());
    if (bytes > 0) continue;
    HW_TRY(const bool more, follow_rotation());
    if (!more) return lines;
  }
  return lines + take_lines(line, max_lines - lines);
}

Result<void> Follower::open_first() {
  auto opened = open_path();
  if (!opened && opened.error().code == Code::kNotFound) {
    start_ = Start::kBeginning;
    return {};
  }
  if (!opened) return std::unexpected(opened.error());

  if (start_ == Start::kEnd) {
    const off_t end = ::lseek(opened->get(), 0, SEEK_END);
    if (end < 0) return fail_errno(errno, fmt::format("find the end of {}", path_.string()));
    char last = '\n';
    if (end > 0 && ::pread(opened->get(), &last, 1, end - 1) < 0)
      return fail_errno(errno, fmt::format("read {}", path_.string()));
    offset_ = end;
    skipping_ = last != '\n';
  }
  file_ = *std::move(opened);
  return {};
}

Result<Fd> Follower::open_path() const {
  // O_NONBLOCK: a FIFO in its place must not make us wait for its writer.
  Fd file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file.valid()) return fail_errno(errno, fmt::format("open {}", path_.string()));
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return fail_errno(errno, fmt::format("look at {}", path_.string()));
  if (!S_ISREG(status.st_mode)) return fail(Code::kInvalid, "{} is no regular file", path_.string());
  return file;
}

size_t Follower::take_lines(const std::function<void(std::string_view)>& line, size_t max_lines) {
  size_t taken = 0, begin = 0, end = 0;
  while (taken < max_lines && (end = buffer_.find('\n', begin)) != std::string::npos) {
    const std::string_view text = std::string_view(buffer_).substr(begin, end - begin);
    begin = end + 1;
    if (std::exchange(skipping_, false)) continue;
    if (text.size() > max_line_bytes_) {
      ++dropped_;
      continue;
    }
    line(text);
    ++taken;
  }
  buffer_.erase(0, begin);

  const bool is_unfinished = end == std::string::npos;
  if (is_unfinished && !skipping_ && buffer_.size() > max_line_bytes_) {
    ++dropped_;
    skipping_ = true;
  }
  if (is_unfinished && skipping_) buffer_.clear();
  return taken;
}

Result<size_t> Follower::read_chunk() {
  const size_t before = buffer_.size();
  buffer_.resize(before + kChunkBytes);
  ssize_t bytes = 0;
  do {
    bytes = ::pread(file_.get(), buffer_.data() + before, kChunkBytes, offset_);
  } while (bytes < 0 && errno == EINTR);
  buffer_.resize(before + static_cast<size_t>(bytes < 0 ? 0 : bytes));
  if (bytes < 0) return fail_errno(errno, fmt::format("read {}", path_.string()));
  offset_ += bytes;
  return static_cast<size_t>(bytes);
}

Result<bool> Follower::follow_rotation() {
  struct stat open_file{}, at_path{};
  if (::fstat(file_.get(), &open_file) != 0) return fail_errno(errno, fmt::format("look at {}", path_.string()));
  if (open_file.st_size < offset_) {
    begin_anew();
    return true;
  }
  if (::stat(path_.c_str(), &at_path) != 0) {
    if (errno == ENOENT) return false;
    return fail_errno(errno, fmt::format("look at {}", path_.string()));
  }
  const bool is_same = at_path.st_dev == open_file.st_dev && at_path.st_ino == open_file.st_ino;
  if (is_same || (S_ISREG(at_path.st_mode) && at_path.st_size == 0)) {
    is_leaving_ = false;
    return false;
  }
  // Who writes has turned to the new file. What it wrote to this one before may have come after we saw its end.
  if (!std::exchange(is_leaving_, true)) return true;

  auto next = open_path();
  if (!next && next.error().code == Code::kNotFound) return false;
  if (!next) return std::unexpected(next.error());
  file_ = *std::move(next);
  begin_anew();
  return true;
}

void Follower::begin_anew() {
  if (!buffer_.empty()) ++dropped_;
  buffer_.clear();
  offset_ = 0;
  skipping_ = false;
  is_leaving_ = false;
}

}  // namespace hyperward::detect
