// The layout of an ELF vmcore, as QEMU's `dump-guest-memory` writes it.
#pragma once

#include <cstddef>
#include <span>

#include "base/result.h"
#include "memory/layout.h"

namespace hyperward::memory {

[[nodiscard]] bool is_elf(std::span<const std::byte> file);

// Where the guest-physical pages lie in `file`. kInvalid for an ELF file that is cut off or no dump, kUnsupported for
// another architecture's.
[[nodiscard]] Result<Layout> elf_layout(std::span<const std::byte> file);

}  // namespace hyperward::memory
