#include "memory/ram_handle.h"

#include "memory/cached_memory.h"
#include "memory/handed_memory.h"
#include "memory/mapped_memory.h"

namespace hyperward::memory {

Result<RamHandle> PhysicalMemory::handle() const {
  return fail(Code::kUnsupported, "this memory can be read by this process alone");
}

Result<std::unique_ptr<PhysicalMemory>> open(RamHandle handle) {
  HW_TRY(Layout layout, Layout::of(std::move(handle.segments)));
  if (!handle.pages.valid()) return MappedMemory::open(std::move(handle.ram), std::move(layout));
  HW_TRY(auto memory,
         HandedMemory::open(std::move(handle.ram), std::move(handle.pages), handle.host_address, std::move(layout)));
  return std::make_unique<CachedMemory>(std::move(memory));
}

}  // namespace hyperward::memory
