// The kernel's symbol table as it lies in the kernel itself: kallsyms (kernel/kallsyms.c, scripts/kallsyms.c).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "memory/address.h"

namespace hyperward::kernel {

// How a table of `offsets` gives addresses.
enum class AddressEncoding {
  kAbsolute,        // addresses[i], 8 bytes each
  kBaseRelative,    // relative_base + (u32)offsets[i]: 6.16 to 6.19
  kPercpuAbsolute,  // offsets[i] < 0 ? relative_base - 1 - offsets[i] : offsets[i]: to 6.15
  kSelfRelative,    // &offsets[i] + (s32)offsets[i]: 7.0 on
};

// The tables, copied out of the guest.
struct SymbolTables {
  std::vector<std::byte> names;        // may be longer than needed
  std::vector<std::byte> token_table;  // likewise
  std::vector<uint16_t> token_index;   // 256 of them
  std::vector<std::byte> offsets;      // 4 bytes for each symbol, or 8 for kAbsolute
  uint32_t count = 0;
  memory::GuestVirtual offsets_address;
  uint64_t relative_base = 0;
};

class Symbols {
 public:
  // kInvalid when the tables do not decode. `known_name` lies at `known_address`: the encoding is the one that says so.
  [[nodiscard]] static Result<Symbols> decode(SymbolTables tables, std::string_view known_name,
                                              memory::GuestVirtual known_address);

  // The first symbol of that name, in the kernel's order; static symbols may share one.
  [[nodiscard]] std::optional<memory::GuestVirtual> find(std::string_view name) const;
  [[nodiscard]] std::optional<memory::GuestVirtual> find_with_suffix(std::string_view stem) const;
  void for_each(const std::function<void(std::string_view name, memory::GuestVirtual address, char type)>& visit) const;
  [[nodiscard]] uint32_t count() const { return tables_.count; }
  [[nodiscard]] AddressEncoding encoding() const { return encoding_; }

 private:
  SymbolTables tables_;
  AddressEncoding encoding_ = AddressEncoding::kPercpuAbsolute;
};

}  // namespace hyperward::kernel
