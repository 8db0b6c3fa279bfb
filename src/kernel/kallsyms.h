// Where the kernel's symbol tables lie in its image.
#pragma once

#include "base/result.h"
#include "kernel/image.h"
#include "kernel/symbols.h"
#include "kernel/vmcoreinfo.h"

namespace hyperward::kernel {

// From the addresses that the note gives (6.0 on), or by a search of the image. kUnsupported when there are none.
[[nodiscard]] Result<SymbolTables> find_symbol_tables(const Image& image, const VmcoreInfo& info);

}  // namespace hyperward::kernel
