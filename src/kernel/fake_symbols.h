// Kallsyms for tests: compresses symbols as scripts/kallsyms.c does, with a fixed set of tokens.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernel/symbols.h"
#include "memory/address.h"

namespace hyperward::kernel {

struct FakeSymbol {
  std::string name;
  memory::GuestVirtual address;
  char type = 'T';
};

// The text of each token: itself for what names are made of, else something longer.
inline std::array<std::string, 256> fake_tokens() {
  std::array<std::string, 256> tokens;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const char c = static_cast<char>(i);
    const bool is_plain =
        (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '.';
    tokens[i] = is_plain ? std::string(1, c) : std::string("filler") + static_cast<char>('a' + i % 26);
  }
  tokens[1] = "init_";
  tokens[2] = "secret.";
  tokens[3] = "Tt";  // the type and the first letter
  tokens[4] = "_in";
  tokens[200] = "ex";
  return tokens;
}

struct FakeSymbolTable {
  std::vector<std::byte> names;
  std::vector<uint32_t> markers;
  std::vector<std::byte> token_table;
  std::array<uint16_t, 256> token_index{};
  std::vector<std::byte> offsets;
};

inline void append_bytes(std::vector<std::byte>& out, std::span<const std::byte> bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

inline FakeSymbolTable compress_symbols(const std::vector<FakeSymbol>& symbols, AddressEncoding encoding,
                                        uint64_t relative_base, memory::GuestVirtual offsets_address) {
  const std::array<std::string, 256> tokens = fake_tokens();
  FakeSymbolTable table;
  for (size_t i = 0; i < tokens.size(); ++i) {
    table.token_index[i] = static_cast<uint16_t>(table.token_table.size());
    append_bytes(table.token_table, std::as_bytes(std::span(tokens[i].c_str(), tokens[i].size() + 1)));
  }
  for (size_t i = 0; i < symbols.size(); ++i) {
    if (i % 256 == 0) table.markers.push_back(static_cast<uint32_t>(table.names.size()));
    std::vector<std::byte> compressed;
    const std::string whole = symbols[i].type + symbols[i].name;
    for (std::string_view rest = whole; !rest.empty();) {
      size_t best = 256;
      for (size_t token = 0; token < tokens.size(); ++token)
        if (rest.starts_with(tokens[token]) && (best == 256 || tokens[token].size() > tokens[best].size()))
          best = token;
      HW_CHECK(best != 256);
      compressed.push_back(static_cast<std::byte>(best));
      rest.remove_prefix(tokens[best].size());
    }
    if (compressed.size() < 128) {
      table.names.push_back(static_cast<std::byte>(compressed.size()));
    } else {
      table.names.push_back(static_cast<std::byte>((compressed.size() & 0x7f) | 0x80));
      table.names.push_back(static_cast<std::byte>(compressed.size() >> 7));
    }
    append_bytes(table.names, compressed);

    const uint64_t address = symbols[i].address.value;
    auto offset = static_cast<uint32_t>(address - relative_base);
    if (encoding == AddressEncoding::kPercpuAbsolute)
      offset =
          address < 0x80000000 ? static_cast<uint32_t>(address) : static_cast<uint32_t>(relative_base - 1 - address);
    if (encoding == AddressEncoding::kSelfRelative)
      offset = static_cast<uint32_t>(address - (offsets_address.value + i * sizeof(uint32_t)));
    if (encoding == AddressEncoding::kAbsolute)
      append_bytes(table.offsets, std::as_bytes(std::span(&address, 1)));
    else
      append_bytes(table.offsets, std::as_bytes(std::span(&offset, 1)));
  }
  return table;
}

}  // namespace hyperward::kernel
