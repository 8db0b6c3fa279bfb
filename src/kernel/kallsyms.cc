// Kernels before 6.0 do not tell where kallsyms lies. They all lay it out alike (scripts/kallsyms.c, write_src), each
// table aligned to 8 bytes:
//
//   offsets (4 bytes each)  relative_base (8)  num_syms (4)  names  markers (4 each)  token_table  token_index
//
// token_table has the digits at their own places ("0" is token 0x30), so ten strings of one digit each give it away;
// token_index, which repeats where its 256 strings start, proves it. Going back from there, relative_base is the
// address where the image starts, and what follows it must read as num_syms names whose every 256th offset is a marker.
#include "kernel/kallsyms.h"

#include <algorithm>
#include <cstring>

#include "base/bytes.h"

namespace hyperward::kernel {
namespace {

constexpr uint64_t kMaxNamesBytes = 32 << 20;
constexpr uint64_t kMaxTokenTableBytes = 64 << 10;
constexpr uint64_t kMaxSearchBackBytes = 16 << 20;  // from token_table to offsets; 4 MiB in distributions' kernels
constexpr uint32_t kMinSymbols = 1000;              // any real kernel has many more
constexpr uint32_t kSymbolsPerMarker = 256;
// The true tables are the first that look like it. These bound what a kernel costs that was made to look so in many
// places.
constexpr size_t kMaxTokenTables = 16;
constexpr size_t kMaxBases = 64;
constexpr size_t kTokens = 256;
constexpr size_t kTokensBeforeDigits = '0';
constexpr uint64_t kAlignment = 8;

uint64_t align_up(uint64_t value) {
  return (value + kAlignment - 1) & ~(kAlignment - 1);
}

std::optional<size_t> end_of_tokens(std::span<const std::byte> table) {
  size_t at = 0;
  for (size_t i = 0; i < kTokens; ++i) {
    const void* end = at < table.size() ? std::memchr(table.data() + at, 0, table.size() - at) : nullptr;
    if (end == nullptr) return std::nullopt;
    at = static_cast<size_t>(static_cast<const std::byte*>(end) - table.data()) + 1;
  }
  return at;
}

Result<SymbolTables> tables_at(const Image& image, const VmcoreInfo::Kallsyms& at) {
  SymbolTables tables;
  tables.count = image.read<uint32_t>(at.num_syms).value_or(0);
  if (tables.count < kMinSymbols || tables.count > kMaxSymbols)
    return fail(Code::kInvalid, "kallsyms claims {} symbols", tables.count);

  size_t names_seen = 0;
  size_t offset = 0;
  auto names = image.read_until(at.names, kMaxNamesBytes, [&](std::span<const std::byte> bytes) {
    // Skip from length to length, over what is there so far; a length may itself be cut off.
    while (names_seen < tables.count && offset + 2 <= bytes.size()) {
      const auto first = std::to_integer<size_t>(bytes[offset]);
      const bool is_long = (first & 0x80) != 0;
      const size_t length = is_long ? (first & 0x7f) | (std::to_integer<size_t>(bytes[offset + 1]) << 7) : first;
      offset += length + (is_long ? 2 : 1);
      ++names_seen;
    }
    return names_seen == tables.count && offset <= bytes.size();
  });
  if (!names) return fail(Code::kInvalid, "the names of kallsyms are not all there");
  tables.names = *std::move(names);

  auto tokens = image.read_until(at.token_table, kMaxTokenTableBytes,
                                 [](std::span<const std::byte> bytes) { return end_of_tokens(bytes).has_value(); });
  if (!tokens) return fail(Code::kInvalid, "the tokens of kallsyms are not all there");
  tables.token_table = *std::move(tokens);
  if (!image.read(at.token_index, std::as_writable_bytes(std::span(tables.token_index))))
    return fail(Code::kInvalid, "the token index of kallsyms is not there");

  tables.has_addresses = at.offsets.is_null();
  tables.offsets_address = tables.has_addresses ? at.addresses : at.offsets;
  auto offsets = image.read_bytes(tables.offsets_address,
                                  tables.count * (tables.has_addresses ? sizeof(uint64_t) : sizeof(uint32_t)));
  if (!offsets) return fail(Code::kInvalid, "the offsets of kallsyms are not all there");
  tables.offsets = *std::move(offsets);
  if (!at.relative_base.is_null()) tables.relative_base = image.read<uint64_t>(at.relative_base);
  return tables;
}

// The token table that has its digits at `digits`.
std::optional<VmcoreInfo::Kallsyms> token_tables_around(const Image& image, GuestVirtual digits) {
  const uint64_t before_size = std::min(kMaxTokenTableBytes, digits.value - image.start().value);
  const auto before = image.read_bytes(digits - before_size, before_size);
  if (!before) return std::nullopt;
  size_t start = before->size();
  for (size_t terminators = 0; start > 0; --start)
    if ((*before)[start - 1] == std::byte{0} && terminators++ == kTokensBeforeDigits) break;
  const GuestVirtual table = digits - (before->size() - start);
  if (start == 0 || table.value % kAlignment != 0) return std::nullopt;

  const auto tokens = image.read_until(
      table, kMaxTokenTableBytes, [](std::span<const std::byte> bytes) { return end_of_tokens(bytes).has_value(); });
  if (!tokens) return std::nullopt;
  const GuestVirtual index = table + align_up(*end_of_tokens(*tokens));
  const auto starts = image.read<std::array<uint16_t, kTokens>>(index);
  if (!starts) return std::nullopt;
  size_t at = 0;
  for (const uint16_t token_start : *starts) {
    if (token_start != at) return std::nullopt;
    at += std::strlen(reinterpret_cast<const char*>(tokens->data()) + at) + 1;
  }
  return VmcoreInfo::Kallsyms{.token_table = table, .token_index = index};
}

// Completes what token_tables_around() found.
bool find_names_before(const Image& image, VmcoreInfo::Kallsyms& at) {
  const uint64_t size = std::min(kMaxSearchBackBytes, at.token_table.value - image.start().value) & ~(kAlignment - 1);
  const GuestVirtual first = at.token_table - size;
  const auto bytes = image.read_bytes(first, size);
  if (!bytes) return false;
  size_t bases = 0;
  for (uint64_t offset = size; offset >= kAlignment && bases < kMaxBases; offset -= kAlignment) {
    const uint64_t base_offset = offset - kAlignment;
    if (load<uint64_t>(*bytes, base_offset) != image.start().value) continue;
    const auto count = load<uint32_t>(*bytes, base_offset + 8);
    if (!count || *count < kMinSymbols || *count > kMaxSymbols) continue;
    ++bases;
    const auto names = slice(*bytes, base_offset + 16, size - base_offset - 16);
    const auto starts = names ? name_offsets(*names, *count) : std::nullopt;
    const uint64_t offsets_size = align_up(*count * sizeof(uint32_t));
    if (!starts || offsets_size > base_offset) continue;
    bool is_marked = true;
    for (uint32_t i = 0; is_marked && i < *count; i += kSymbolsPerMarker)
      is_marked =
          load<uint32_t>(*names, align_up(starts->back()) + i / kSymbolsPerMarker * sizeof(uint32_t)) == (*starts)[i];
    if (!is_marked) continue;
    at.relative_base = first + base_offset;
    at.num_syms = at.relative_base + 8;
    at.names = at.relative_base + 16;
    at.offsets = at.relative_base - offsets_size;
    return true;
  }
  return false;
}

}  // namespace

Result<SymbolTables> find_symbol_tables(const Image& image, const VmcoreInfo& info) {
  if (info.kallsyms) return tables_at(image, *info.kallsyms);
  constexpr std::string_view kDigits("0\0001\0002\0003\0004\0005\0006\0007\0008\0009\000", 20);
  std::optional<VmcoreInfo::Kallsyms> found;
  size_t token_tables = 0;
  image.scan(std::as_bytes(std::span(kDigits)), [&](GuestVirtual digits) {
    found = token_tables_around(image, digits);
    if (!found) return false;
    if (!find_names_before(image, *found)) found.reset();
    return found.has_value() || ++token_tables == kMaxTokenTables;
  });
  if (!found) return fail(Code::kUnsupported, "the kernel has no symbol table (CONFIG_KALLSYMS)");
  return tables_at(image, *found);
}

}  // namespace hyperward::kernel
