// A path that is put together from its end, as the kernel does (prepend_path() in fs/d_path.c).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hyperward::guest {

class PathText {
 public:
  static constexpr size_t kMaxBytes = 4095;     // PATH_MAX without its NUL, include/uapi/linux/limits.h
  static constexpr size_t kMaxNameBytes = 255;  // NAME_MAX

  // "/name" in front of what is there. Each costs at least two bytes, so no walk gets further than kMaxBytes / 2
  // names. kInconsistent for what cannot be a file's name, kLimit when the path gets longer than kMaxBytes.
  [[nodiscard]] Result<void> prepend(std::string_view name) {
    constexpr std::string_view kForbidden("/\0", 2);
    if (name.empty() || name.size() > kMaxNameBytes || name.find_first_of(kForbidden) != std::string_view::npos)
      return fail(Code::kInconsistent, "a name of {} bytes is no file's", name.size());
    if (name.size() + 1 > begin_) return fail(Code::kLimit, "the path is longer than {} bytes", kMaxBytes);
    begin_ -= name.size();
    std::ranges::copy(name, bytes_.begin() + static_cast<ptrdiff_t>(begin_));
    bytes_[--begin_] = '/';
    return {};
  }

  [[nodiscard]] std::string text() const {
    return begin_ == kMaxBytes ? "/" : std::string(bytes_.data() + begin_, kMaxBytes - begin_);
  }

 private:
  std::array<char, kMaxBytes> bytes_;
  size_t begin_ = kMaxBytes;
};

}  // namespace hyperward::guest
