// The kernel's symbol table as it lies in the kernel itself: kallsyms (kernel/kallsyms.c, scripts/kallsyms.c).
//
// A name is a length (ULEB128 of one or two bytes) and that many token numbers; each stands for a string of
// token_table; the first character of all is the symbol's type. Names stay compressed here: one pass hashes the stem of
// each (what stands before the first dot), a look-up expands only those in the same bucket.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "memory/address.h"

namespace hyperward::kernel {

// How the table of offsets gives addresses.
enum class AddressEncoding : uint8_t {
  kAbsolute,        // addresses[i], 8 bytes each: kernels without CONFIG_KALLSYMS_BASE_RELATIVE
  kPercpuAbsolute,  // offsets[i] < 0 ? relative_base - 1 - offsets[i] : offsets[i]: CONFIG_KALLSYMS_ABSOLUTE_PERCPU
  kBaseRelative,    // relative_base + (u32)offsets[i]: x86-64 since it has no percpu addresses from 0, 6.15
  kSelfRelative,    // &offsets[i] + (s32)offsets[i]: kernels without a relative_base, 7.0
};

// The tables, copied out of the guest.
struct SymbolTables {
  uint32_t count = 0;
  std::vector<std::byte> names;  // may go on behind the last name
  std::vector<std::byte> token_table;
  std::array<uint16_t, 256> token_index{};  // where in token_table each token starts
  std::vector<std::byte> offsets;           // 4 bytes for each symbol; 8 if `has_addresses`
  bool has_addresses = false;
  memory::GuestVirtual offsets_address;
  std::optional<uint64_t> relative_base;
};

constexpr uint32_t kMaxSymbols = 1 << 20;

// Where the name of each symbol starts in `names`; nothing when they end before `count` names.
[[nodiscard]] std::optional<std::vector<uint32_t>> name_offsets(std::span<const std::byte> names, uint32_t count);

class Symbols {
 public:
  using Visit = std::function<void(std::string_view name, memory::GuestVirtual address, char type)>;

  // `known_name` lies at `known_address`: the encoding is the one that says so.
  // kInvalid when the tables do not decode, or no encoding fits.
  [[nodiscard]] static Result<Symbols> decode(SymbolTables tables, std::string_view known_name,
                                              memory::GuestVirtual known_address);

  // The first symbol of that name, in the kernel's order; static symbols may share one.
  [[nodiscard]] std::optional<memory::GuestVirtual> find(std::string_view name) const;
  // The symbol itself, or the first that the compiler numbered: "stem.12".
  [[nodiscard]] std::optional<memory::GuestVirtual> find_with_suffix(std::string_view stem) const;
  void for_each(const Visit& visit) const;
  [[nodiscard]] uint32_t count() const { return tables_.count; }
  [[nodiscard]] AddressEncoding encoding() const { return encoding_; }

 private:
  Symbols() = default;

  [[nodiscard]] std::span<const std::byte> compressed(uint32_t index) const;
  void expand(uint32_t index, std::string& name) const;
  [[nodiscard]] Result<void> index_names();
  [[nodiscard]] memory::GuestVirtual address_of(uint32_t index, AddressEncoding encoding) const;
  template <typename Matches>
  [[nodiscard]] std::optional<uint32_t> find_index(std::string_view stem, Matches matches) const;

  SymbolTables tables_;
  AddressEncoding encoding_ = AddressEncoding::kAbsolute;
  std::array<std::string_view, 256> tokens_;  // into tables_.token_table
  std::vector<uint32_t> name_offsets_;
  std::vector<uint32_t> buckets_;  // the first symbol whose stem has the hash, or kNone
  std::vector<uint32_t> next_;     // the next symbol in the same bucket
};

}  // namespace hyperward::kernel
