// A shared mapping of a file, unmapped exactly once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/fd.h"
#include "base/result.h"

namespace hyperward {

class Mapping {
 public:
  // Maps bytes [0, size) of `fd` for reading; the descriptor may be closed afterwards.
  [[nodiscard]] static Result<Mapping> read_only(const Fd& fd, size_t size_bytes);
  // The same for writing too: what is shared with another process.
  [[nodiscard]] static Result<Mapping> read_write(const Fd& fd, size_t size_bytes);

  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_bytes_}; }
  [[nodiscard]] std::span<std::byte> writable() const {
    HW_CHECK(writable_);
    return {data_, size_bytes_};
  }

 private:
  Mapping(std::byte* data, size_t size_bytes, bool writable)
      : data_(data), size_bytes_(size_bytes), writable_(writable) {}
  [[nodiscard]] static Result<Mapping> map(const Fd& fd, size_t size_bytes, bool writable);

  std::byte* data_;
  size_t size_bytes_;
  bool writable_;
};

}  // namespace hyperward
