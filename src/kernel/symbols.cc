#include "kernel/symbols.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>

#include "base/bytes.h"

namespace hyperward::kernel {
namespace {

using memory::GuestVirtual;

constexpr uint32_t kNone = 0xffffffff;
constexpr size_t kMaxNameLength = 1024;  // KSYM_NAME_LEN is 512 from 6.1 on, 128 before

std::string_view stem_of(std::string_view name) {
  return name.substr(0, name.find('.'));
}

// A polynomial in kBase modulo 2^64 with the characters as coefficients. The hash of two strings put together follows
// from their hashes and the second one's length, so that a compressed name is hashed token by token, unexpanded.
constexpr uint64_t kBase = 0x9e3779b97f4a7c15;

struct Hash {
  uint64_t value = 0;
  uint64_t power = 1;  // kBase to the number of characters

  static Hash of(std::string_view text) {
    Hash hash;
    for (const char c : text) hash = {hash.value * kBase + static_cast<unsigned char>(c), hash.power * kBase};
    return hash;
  }
  Hash operator+(const Hash& next) const { return {value * next.power + next.value, power * next.power}; }
  [[nodiscard]] size_t bucket(size_t buckets) const { return (value ^ (value >> 32)) & (buckets - 1); }
};

// The length of the name at `offset`, moved to its first token. In kernels before 6.1 lengths are below 128 (their
// KSYM_NAME_LEN), so that one reading serves both (73bbb94466fd, "kallsyms: support "big" kernel symbols").
std::optional<uint32_t> take_length(std::span<const std::byte> names, size_t& offset) {
  if (offset >= names.size()) return std::nullopt;
  auto length = std::to_integer<uint32_t>(names[offset++]);
  if ((length & 0x80) != 0) {
    if (offset >= names.size()) return std::nullopt;
    length = (length & 0x7f) | (std::to_integer<uint32_t>(names[offset++]) << 7);
  }
  if (length == 0 || length > names.size() - offset) return std::nullopt;
  return length;
}

}  // namespace

std::optional<std::vector<uint32_t>> name_offsets(std::span<const std::byte> names, uint32_t count) {
  std::vector<uint32_t> offsets;
  offsets.reserve(count);
  size_t offset = 0;
  for (uint32_t i = 0; i < count; ++i) {
    offsets.push_back(static_cast<uint32_t>(offset));
    const auto length = take_length(names, offset);
    if (!length) return std::nullopt;
    offset += *length;
  }
  offsets.push_back(static_cast<uint32_t>(offset));
  return offsets;
}

Result<Symbols> Symbols::decode(SymbolTables tables, std::string_view known_name, GuestVirtual known_address) {
  Symbols symbols;
  symbols.tables_ = std::move(tables);
  const SymbolTables& t = symbols.tables_;
  const uint64_t entry_size = t.has_addresses ? sizeof(uint64_t) : sizeof(uint32_t);
  if (t.count == 0 || t.count > kMaxSymbols || t.offsets.size() != t.count * entry_size)
    return fail(Code::kInvalid, "kallsyms has {} symbols and {} bytes of offsets", t.count, t.offsets.size());

  for (size_t i = 0; i < symbols.tokens_.size(); ++i) {
    const auto rest = slice(t.token_table, t.token_index[i],
                            t.token_table.size() - std::min<size_t>(t.token_index[i], t.token_table.size()));
    const void* end = rest && !rest->empty() ? std::memchr(rest->data(), 0, rest->size()) : nullptr;
    if (end == nullptr) return fail(Code::kInvalid, "kallsyms token {} does not end", i);
    const char* start = reinterpret_cast<const char*>(rest->data());
    symbols.tokens_[i] = {start, static_cast<size_t>(static_cast<const char*>(end) - start)};
  }
  HW_OK(symbols.index_names());

  const auto known = symbols.find_index(stem_of(known_name), [&](std::string_view name) { return name == known_name; });
  if (!known) return fail(Code::kInvalid, "kallsyms has no symbol \"{}\"", known_name);
  using enum AddressEncoding;
  for (const AddressEncoding encoding : {kAbsolute, kPercpuAbsolute, kBaseRelative, kSelfRelative}) {
    const bool is_possible = encoding == kAbsolute       ? t.has_addresses
                             : encoding == kSelfRelative ? !t.has_addresses
                                                         : !t.has_addresses && t.relative_base.has_value();
    if (!is_possible || symbols.address_of(*known, encoding) != known_address) continue;
    symbols.encoding_ = encoding;
    return symbols;
  }
  return fail(Code::kInvalid, "no known encoding of kallsyms puts \"{}\" at {:#x}", known_name, known_address.value);
}

Result<void> Symbols::index_names() {
  auto offsets = name_offsets(tables_.names, tables_.count);
  if (!offsets) return fail(Code::kInvalid, "kallsyms ends before its {} names", tables_.count);
  tables_.names.resize(offsets->back());
  tables_.names.shrink_to_fit();
  name_offsets_ = *std::move(offsets);

  // Of each token, as the first of a name (without the type) and as a later one: the hash of what it adds to the stem.
  struct TokenHash {
    Hash first;
    Hash later;
    bool ends_stem_first = false;
    bool ends_stem_later = false;
  };
  std::array<TokenHash, 256> hashes;
  for (size_t i = 0; i < hashes.size(); ++i) {
    const std::string_view token = tokens_[i];
    const std::string_view first = token.substr(std::min<size_t>(token.size(), 1));
    hashes[i] = {Hash::of(stem_of(first)), Hash::of(stem_of(token)), first.find('.') != std::string_view::npos,
                 token.find('.') != std::string_view::npos};
  }

  next_.resize(tables_.count);
  buckets_.assign(std::bit_ceil(tables_.count), kNone);
  for (uint32_t i = tables_.count; i-- > 0;) {  // backwards, so that each chain is in the kernel's order
    const std::span<const std::byte> name = compressed(i);
    size_t length = 0;
    for (const std::byte token : name) length += tokens_[std::to_integer<uint8_t>(token)].size();
    const auto first = std::to_integer<uint8_t>(name[0]);
    if (tokens_[first].empty() || length > kMaxNameLength)
      return fail(Code::kInvalid, "kallsyms name {} is empty or too long", i);
    Hash hash = hashes[first].first;
    bool is_stem = !hashes[first].ends_stem_first;
    for (size_t at = 1; at < name.size() && is_stem; ++at) {
      const TokenHash& token = hashes[std::to_integer<uint8_t>(name[at])];
      hash = hash + token.later;
      is_stem = !token.ends_stem_later;
    }
    uint32_t& bucket = buckets_[hash.bucket(buckets_.size())];
    next_[i] = bucket;
    bucket = i;
  }
  return {};
}

std::span<const std::byte> Symbols::compressed(uint32_t index) const {
  size_t offset = name_offsets_[index];
  const auto length = take_length(tables_.names, offset);
  HW_CHECK(length && offset + *length == name_offsets_[index + 1]);
  return std::span(tables_.names).subspan(offset, *length);
}

// The type and the name, put into `name`.
void Symbols::expand(uint32_t index, std::string& name) const {
  name.clear();
  for (const std::byte token : compressed(index)) name += tokens_[std::to_integer<uint8_t>(token)];
}

GuestVirtual Symbols::address_of(uint32_t index, AddressEncoding encoding) const {
  if (encoding == AddressEncoding::kAbsolute) return {*load<uint64_t>(tables_.offsets, index * sizeof(uint64_t))};
  const auto offset = *load<uint32_t>(tables_.offsets, index * sizeof(uint32_t));
  const auto extended = static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(offset)));
  const uint64_t base = tables_.relative_base.value_or(0);
  switch (encoding) {
    case AddressEncoding::kPercpuAbsolute: return {(offset >> 31) != 0 ? base - 1 - extended : offset};
    case AddressEncoding::kBaseRelative: return {base + offset};
    default: return tables_.offsets_address + index * sizeof(uint32_t) + extended;
  }
}

template <typename Matches>
std::optional<uint32_t> Symbols::find_index(std::string_view stem, Matches matches) const {
  std::string expanded;
  for (uint32_t i = buckets_[Hash::of(stem).bucket(buckets_.size())]; i != kNone; i = next_[i]) {
    expand(i, expanded);
    if (matches(std::string_view(expanded).substr(1))) return i;
  }
  return std::nullopt;
}

std::optional<GuestVirtual> Symbols::find(std::string_view name) const {
  const auto index = find_index(stem_of(name), [&](std::string_view candidate) { return candidate == name; });
  if (!index) return std::nullopt;
  return address_of(*index, encoding_);
}

std::optional<GuestVirtual> Symbols::find_with_suffix(std::string_view stem) const {
  if (const auto exact = find(stem)) return exact;
  const auto index = find_index(stem_of(stem), [&](std::string_view candidate) {
    if (!candidate.starts_with(stem) || candidate.size() < stem.size() + 2 || candidate[stem.size()] != '.')
      return false;
    return std::ranges::all_of(candidate.substr(stem.size() + 1), [](char c) { return c >= '0' && c <= '9'; });
  });
  if (!index) return std::nullopt;
  return address_of(*index, encoding_);
}

void Symbols::for_each(const Visit& visit) const {
  std::string name;
  for (uint32_t i = 0; i < tables_.count; ++i) {
    expand(i, name);
    visit(std::string_view(name).substr(1), address_of(i, encoding_), name[0]);
  }
}

}  // namespace hyperward::kernel
