// Offsets by name, for the layouts of this layer.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/ranges.h>

#include "base/result.h"
#include "guest/kernel_memory.h"
#include "kernel/types.h"

namespace hyperward::guest {

// Asks for fields one after the other and remembers what was missing, so that one Error names it all.
class Resolver {
 public:
  explicit Resolver(const kernel::Types& types) : types_(types) {}

  uint32_t offset(std::string_view type, std::string_view path) { return field(type, path).offset_bytes; }

  kernel::Field field(std::string_view type, std::string_view path) {
    if (const auto found = types_.field(type, path)) return *found;
    missing_.push_back(fmt::format("{}.{}", type, path));
    return {};
  }

  std::optional<uint32_t> maybe(std::string_view type, std::string_view path) const {
    if (const auto found = types_.field(type, path)) return found->offset_bytes;
    return std::nullopt;
  }

  // The first of the names that the type has.
  uint32_t offset_of_either(std::string_view type, std::string_view path, std::string_view other_path) {
    if (const auto found = maybe(type, path)) return *found;
    return offset(type, other_path);
  }

  // Nothing for a bit field too.
  std::optional<uint32_t> maybe_whole(std::string_view type, std::string_view path) const {
    const auto found = types_.field(type, path);
    if (!found || found->bit_size != 0) return std::nullopt;
    return found->offset_bytes;
  }

  uint32_t size_of(std::string_view type) {
    if (const auto size_bytes = types_.size_of(type)) return *size_bytes;
    missing_.emplace_back(type);
    return 0;
  }

  void require_fits(std::string_view what, const Extent& extent, size_t capacity_bytes) {
    if (extent.size_bytes() > capacity_bytes)
      missing_.push_back(fmt::format("{} within {} bytes", what, capacity_bytes));
  }

  Result<void> finish() const {
    if (missing_.empty()) return {};
    return fail(Code::kUnsupported, "the kernel's types lack {}", fmt::join(missing_, ", "));
  }

 private:
  const kernel::Types& types_;
  std::vector<std::string> missing_;
};

inline Extent extent_of(std::initializer_list<std::pair<uint32_t, uint32_t>> fields) {
  Extent extent;
  for (const auto& [offset, size_bytes] : fields) extent.cover(offset, size_bytes);
  return extent;
}

}  // namespace hyperward::guest
