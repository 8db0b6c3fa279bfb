#include "kernel/vmcoreinfo.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <vector>

#include "kernel/image.h"

namespace hyperward::kernel {
namespace {

using memory::kPageSize;
using memory::Piece;
using memory::Range;

// The note's head: sizes of name and text, type 0, the name padded to words, and how the text starts.
constexpr std::string_view kName("VMCOREINFO\0\0", 12);
constexpr std::string_view kTextStart = "OSRELEASE=";
constexpr size_t kTextOffset = 3 * sizeof(uint32_t) + kName.size();
constexpr size_t kHeadSize = kTextOffset + kTextStart.size();
constexpr size_t kPagesAtOnce = 1024;
constexpr size_t kMaxReleaseLength = 64;  // __NEW_UTS_LEN

using Head = std::array<std::byte, kHeadSize>;

bool is_note(const Head& head) {
  return std::memcmp(head.data() + 3 * sizeof(uint32_t), kName.data(), kName.size()) == 0 &&
         std::memcmp(head.data() + kTextOffset, kTextStart.data(), kTextStart.size()) == 0;
}

// The value after "key=" at the start of a line.
std::optional<std::string_view> value_of(std::string_view text, std::string_view key) {
  for (size_t at = text.find(key); at != std::string_view::npos; at = text.find(key, at + 1)) {
    const size_t end = at + key.size();
    if ((at != 0 && text[at - 1] != '\n') || end >= text.size() || text[end] != '=') continue;
    const std::string_view rest = text.substr(end + 1);
    return rest.substr(0, rest.find('\n'));
  }
  return std::nullopt;
}

template <typename Int>
std::optional<Int> number_of(std::string_view text, std::string_view key, int base) {
  const auto value = value_of(text, key);
  if (!value) return std::nullopt;
  Int number = 0;
  const auto [rest, error] = std::from_chars(value->data(), value->data() + value->size(), number, base);
  if (error != std::errc() || rest != value->data() + value->size()) return std::nullopt;
  return number;
}

GuestVirtual symbol_of(std::string_view text, std::string_view name) {
  return {number_of<uint64_t>(text, fmt::format("SYMBOL({})", name), 16).value_or(0)};
}

}  // namespace

GuestPhysical VmcoreInfo::image_physical(GuestVirtual address) const {
  return {address.value - kKernelMap.value + phys_base};
}

Result<VmcoreInfo> parse_vmcoreinfo(std::string_view text) {
  VmcoreInfo info;
  info.release = value_of(text, "OSRELEASE").value_or("");
  info.stext = symbol_of(text, "_stext");
  info.swapper_pg_dir = symbol_of(text, "swapper_pg_dir");
  info.init_uts_ns = symbol_of(text, "init_uts_ns");
  const auto phys_base = number_of<int64_t>(text, "NUMBER(phys_base)", 10);
  const auto image_size = number_of<uint64_t>(text, "NUMBER(KERNEL_IMAGE_SIZE)", 10);
  if (info.release.empty() || info.release.size() > kMaxReleaseLength || info.stext.is_null() ||
      info.swapper_pg_dir.is_null() || info.init_uts_ns.is_null() || !phys_base)
    return fail(Code::kInvalid, "its VMCOREINFO lacks a release, an address or phys_base");
  info.phys_base = static_cast<uint64_t>(*phys_base);
  info.image_size_limit_bytes = std::min(image_size.value_or(kMaxImageSizeBytes), kMaxImageSizeBytes);
  info.paging.levels = number_of<int>(text, "NUMBER(pgtable_l5_enabled)", 10).value_or(0) != 0 ? 5 : 4;
  info.paging.sme_mask = number_of<uint64_t>(text, "NUMBER(sme_mask)", 10).value_or(0);

  const VmcoreInfo::Kallsyms tables{.names = symbol_of(text, "kallsyms_names"),
                                    .num_syms = symbol_of(text, "kallsyms_num_syms"),
                                    .token_table = symbol_of(text, "kallsyms_token_table"),
                                    .token_index = symbol_of(text, "kallsyms_token_index"),
                                    .offsets = symbol_of(text, "kallsyms_offsets"),
                                    .relative_base = symbol_of(text, "kallsyms_relative_base"),
                                    .addresses = symbol_of(text, "kallsyms_addresses")};
  const bool is_complete = !tables.names.is_null() && !tables.num_syms.is_null() && !tables.token_table.is_null() &&
                           !tables.token_index.is_null() && (!tables.offsets.is_null() || !tables.addresses.is_null());
  if (is_complete) info.kallsyms = tables;
  return info;
}

std::optional<std::string> read_vmcoreinfo(const memory::PhysicalMemory& memory, GuestPhysical page) {
  std::string bytes(kPageSize, '\0');
  if (!memory.read(page, std::as_writable_bytes(std::span(bytes)))) return std::nullopt;
  Head head;
  std::memcpy(head.data(), bytes.data(), head.size());
  if (!is_note(head)) return std::nullopt;
  uint32_t size = 0;
  std::memcpy(&size, bytes.data() + sizeof(uint32_t), sizeof(size));
  return bytes.substr(kTextOffset, std::min<size_t>(size, kPageSize - kTextOffset));
}

Result<uint64_t> for_each_vmcoreinfo(const memory::PhysicalMemory& memory,
                                     const std::function<bool(GuestPhysical page)>& visit) {
  HW_TRY(const std::vector<Range> populated, memory.populated());
  std::vector<Head> heads(kPagesAtOnce);
  std::vector<Piece> pieces;
  uint64_t seen_bytes = 0;
  const auto look = [&] {
    // Pages that the guest gave back meanwhile fail the whole batch: then one by one.
    const bool is_whole = memory.read_many(pieces);
    bool is_done = false;
    for (size_t i = 0; i < pieces.size() && !is_done; ++i) {
      if (!is_whole && !memory.read(pieces[i].address, pieces[i].out)) continue;
      is_done = is_note(heads[i]) && visit(pieces[i].address);
    }
    seen_bytes += pieces.size() * kPageSize;
    pieces.clear();
    return is_done;
  };
  for (auto range = populated.rbegin(); range != populated.rend(); ++range) {
    const uint64_t first = (range->start.value + kPageSize - 1) & ~(kPageSize - 1);
    uint64_t end = (range->start.value + range->size_bytes) & ~(kPageSize - 1);
    for (; end > first; end -= kPageSize) {
      pieces.push_back({{end - kPageSize}, heads[pieces.size()]});
      if (pieces.size() == kPagesAtOnce && look()) return seen_bytes;
    }
  }
  look();
  return seen_bytes;
}

}  // namespace hyperward::kernel
