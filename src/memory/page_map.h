// Which pages of a process there are: /proc/PID/pagemap, Documentation/admin-guide/mm/pagemap.rst.
#pragma once

#include <cstdint>
#include <vector>

#include "base/fd.h"
#include "memory/layout.h"

namespace hyperward::memory {

// The parts of `layout`, whose block lies at `host_address` of the process, that are present or swapped; touches none
// of them. kNotFound: the process has ended.
[[nodiscard]] Result<std::vector<Range>> populated(const Fd& page_map, uint64_t host_address, const Layout& layout);

}  // namespace hyperward::memory
