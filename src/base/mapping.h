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

  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_bytes_}; }

 private:
  Mapping(const std::byte* data, size_t size_bytes) : data_(data), size_bytes_(size_bytes) {}

  const std::byte* data_;
  size_t size_bytes_;
};

}  // namespace hyperward
