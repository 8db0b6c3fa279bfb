// Any bytes as a kernel's image: its symbol tables are looked for and decoded.
//
// The input is seven 32-bit words, then the image. The words are offsets in the image, of names, num_syms, token_table,
// token_index, offsets, relative_base and addresses, as VMCOREINFO would give them (0: it gives none). All zero: the
// tables are to be searched for.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "kernel/image.h"
#include "kernel/kallsyms.h"
#include "kernel/symbols.h"
#include "memory/fake_memory.h"

using namespace hyperward;  // NOLINT(google-build-using-namespace)

namespace {

using memory::GuestPhysical;
using memory::GuestVirtual;

constexpr GuestVirtual kStart{0xffffffff81000000};
constexpr uint64_t kTables = 0x1000;
constexpr uint64_t kImagePhysical = 0x10000;
constexpr size_t kMaxImageBytes = 256 << 10;

// Pages at kImagePhysical, mapped at kStart for as long as the image is.
void map_image(memory::FakeMemory& memory, size_t image_bytes) {
  constexpr uint64_t kFlags = 3;
  memory.put<uint64_t>({kTables + 511 * 8}, (kTables + 0x1000) | kFlags);
  memory.put<uint64_t>({kTables + 0x1000 + 510 * 8}, (kTables + 0x2000) | kFlags);
  memory.put<uint64_t>({kTables + 0x2000 + 8 * 8}, (kTables + 0x3000) | kFlags);
  for (size_t page = 0; page * memory::kPageSize < image_bytes; ++page)
    memory.put<uint64_t>({kTables + 0x3000 + page * 8}, (kImagePhysical + page * memory::kPageSize) | kFlags);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::array<uint32_t, 7> words{};
  if (size < sizeof(words)) return 0;
  std::memcpy(words.data(), data, sizeof(words));
  const auto image_bytes = std::as_bytes(std::span(data, size)).subspan(sizeof(words));
  const size_t used = std::min(image_bytes.size(), kMaxImageBytes);

  memory::FakeMemory memory(kImagePhysical + kMaxImageBytes);
  memory.write({kImagePhysical}, image_bytes.first(used));
  map_image(memory, used);
  const memory::AddressSpace space(memory, {kTables}, {});
  const kernel::Image image(space, kStart, kernel::kMaxImageSizeBytes);

  kernel::VmcoreInfo info;
  info.stext = kStart;
  const auto at = [&](size_t i) { return words[i] == 0 ? GuestVirtual{} : kStart + words[i]; };
  if (std::ranges::any_of(words, [](uint32_t word) { return word != 0; }))
    info.kallsyms = {at(0), at(1), at(2), at(3), at(4), at(5), at(6)};
  auto tables = kernel::find_symbol_tables(image, info);
  if (!tables) {
    HW_CHECK(!tables.error().message.empty());
    return 0;
  }
  const auto symbols = kernel::Symbols::decode(*std::move(tables), "_stext", kStart);
  if (!symbols) return 0;

  HW_CHECK(symbols->find("_stext") == kStart);
  size_t count = 0;
  std::string last;
  symbols->for_each([&](std::string_view name, GuestVirtual, char) {
    ++count;
    last = name;
  });
  HW_CHECK(count == symbols->count());
  HW_CHECK(symbols->find(last).has_value());
  HW_CHECK(symbols->find_with_suffix(last).has_value());
  return 0;
}
