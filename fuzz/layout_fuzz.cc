// Any bytes as what tells where a guest's RAM lies: an ELF dump, the monitor's map, QEMU's arguments.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "memory/elf_dump.h"
#include "memory/layout.h"
#include "memory/qemu_process.h"

using namespace hyperward;  // NOLINT(google-build-using-namespace)

namespace {

void check(const Result<memory::Layout>& layout) {
  if (!layout) {
    HW_CHECK(!layout.error().message.empty());
    return;
  }
  HW_CHECK(!layout->segments().empty());
  uint64_t end = 0;
  for (const memory::Segment& segment : layout->segments()) {
    HW_CHECK(segment.size_bytes != 0 && segment.start.value >= end);
    HW_CHECK(layout->offset(segment.start, segment.size_bytes) == segment.offset);
    HW_CHECK(!layout->offset(segment.start, segment.size_bytes + 1));
    HW_CHECK(segment.offset + segment.size_bytes <= layout->end_offset());
    end = segment.start.value + segment.size_bytes;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto elf = memory::elf_layout(bytes);
  check(elf);
  HW_CHECK(!elf || elf->end_offset() <= size);

  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check(memory::Layout::from_mtree(text));
  for (const memory::HostMapping& mapping : memory::parse_maps(text)) HW_CHECK(mapping.start < mapping.end);

  std::vector<std::string> arguments;
  for (size_t at = 0; at <= size; at = text.find('\n', at) == text.npos ? size + 1 : text.find('\n', at) + 1)
    arguments.emplace_back(text.substr(at, text.find('\n', at) - at));
  check(memory::Layout::from_arguments(arguments));
  return 0;
}
