#include "kernel/symbols.h"

#include <gtest/gtest.h>

#include <random>

#include "kernel/fake_symbols.h"

namespace hyperward::kernel {
namespace {

using memory::GuestVirtual;

constexpr uint64_t kBase = 0xffffffff9ba00000;
constexpr GuestVirtual kOffsetsAddress{0xffffffff9cb1fad0};
constexpr AddressEncoding kEncodings[] = {AddressEncoding::kAbsolute, AddressEncoding::kPercpuAbsolute,
                                          AddressEncoding::kBaseRelative, AddressEncoding::kSelfRelative};

std::vector<FakeSymbol> some_symbols() {
  return {{"_stext", {kBase}},
          {"tcp_ex", {kBase + 0x10}, 't'},
          {"init_task", {kBase + 0x20000}, 'D'},
          {"twice", {kBase + 0x300}, 'd'},
          {"twice", {kBase + 0x400}, 'd'},
          {"inet_ehash_secret.12", {kBase + 0x500}, 'b'},
          {"inet_ehash_secret.12.more", {kBase + 0x501}, 'b'},
          {"ipv6_hash_secret", {kBase + 0x600}, 'b'},
          {"ipv6_hash_secret.3", {kBase + 0x700}, 'b'},
          {"plain.cold", {kBase + 0x800}, 't'},
          {"tx", {kBase + 0x900}},
          {std::string(200, 'l'), {kBase + 0xa00}}};
}

SymbolTables tables_of(const std::vector<FakeSymbol>& symbols, AddressEncoding encoding) {
  FakeSymbolTable fake = compress_symbols(symbols, encoding, kBase, kOffsetsAddress);
  SymbolTables tables;
  tables.count = static_cast<uint32_t>(symbols.size());
  tables.names = fake.names;
  tables.names.resize(tables.names.size() + 100);  // a copy of whole pages has what follows, too
  tables.token_table = fake.token_table;
  tables.token_index = fake.token_index;
  tables.offsets = fake.offsets;
  tables.has_addresses = encoding == AddressEncoding::kAbsolute;
  tables.offsets_address = kOffsetsAddress;
  if (encoding == AddressEncoding::kPercpuAbsolute || encoding == AddressEncoding::kBaseRelative)
    tables.relative_base = kBase;
  return tables;
}

Symbols decode(AddressEncoding encoding = AddressEncoding::kPercpuAbsolute) {
  auto symbols = Symbols::decode(tables_of(some_symbols(), encoding), "_stext", {kBase});
  HW_CHECK(symbols.has_value());
  return *std::move(symbols);
}

TEST(Symbols, decides_the_encoding_by_what_it_gives) {
  for (const AddressEncoding encoding : kEncodings) {
    const Symbols symbols = decode(encoding);
    EXPECT_EQ(symbols.find("init_task"), GuestVirtual{kBase + 0x20000}) << static_cast<int>(encoding);
    EXPECT_EQ(symbols.encoding(), encoding);
  }
}

TEST(Symbols, gives_all_of_them_in_the_kernels_order) {
  const std::vector<FakeSymbol> expected = some_symbols();
  size_t i = 0;
  decode().for_each([&](std::string_view name, GuestVirtual address, char type) {
    ASSERT_LT(i, expected.size());
    EXPECT_EQ(name, expected[i].name);
    EXPECT_EQ(address, expected[i].address);
    EXPECT_EQ(type, expected[i].type);
    ++i;
  });
  EXPECT_EQ(i, expected.size());
}

TEST(Symbols, finds_every_name_however_it_is_compressed) {
  const Symbols symbols = decode();
  for (const FakeSymbol& symbol : some_symbols()) {
    if (symbol.name == "twice") continue;
    EXPECT_EQ(symbols.find(symbol.name), symbol.address) << symbol.name;
  }
  for (const std::string_view name : {"", "T", "init_tas", "init_task_", "nit_task", ".12", "plain", "plain.col"})
    EXPECT_EQ(symbols.find(name), std::nullopt) << name;
}

TEST(Symbols, gives_the_first_of_those_that_share_a_name) {
  EXPECT_EQ(decode().find("twice"), GuestVirtual{kBase + 0x300});
}

TEST(Symbols, finds_what_the_compiler_has_numbered) {
  const Symbols symbols = decode();
  EXPECT_EQ(symbols.find_with_suffix("inet_ehash_secret"), GuestVirtual{kBase + 0x500});
  EXPECT_EQ(symbols.find_with_suffix("ipv6_hash_secret"), GuestVirtual{kBase + 0x600});
  EXPECT_EQ(symbols.find_with_suffix("plain"), std::nullopt);
  EXPECT_EQ(symbols.find_with_suffix("inet"), std::nullopt);
}

TEST(Symbols, keeps_absolute_percpu_addresses) {
  std::vector<FakeSymbol> list = some_symbols();
  list.insert(list.begin(), {"runqueues", {0x34c40}, 'A'});
  const auto symbols = Symbols::decode(tables_of(list, AddressEncoding::kPercpuAbsolute), "_stext", {kBase});
  ASSERT_TRUE(symbols) << symbols.error().message;
  EXPECT_EQ(symbols->find("runqueues"), GuestVirtual{0x34c40});
}

TEST(Symbols, refuses_tables_that_put_the_known_symbol_elsewhere) {
  const auto symbols =
      Symbols::decode(tables_of(some_symbols(), AddressEncoding::kBaseRelative), "_stext", {kBase + 1});
  ASSERT_FALSE(symbols);
  EXPECT_EQ(symbols.error().code, Code::kInvalid);
  EXPECT_FALSE(Symbols::decode(tables_of(some_symbols(), AddressEncoding::kBaseRelative), "_etext", {kBase}));
}

TEST(Symbols, refuses_names_that_are_cut_off) {
  const SymbolTables whole = tables_of(some_symbols(), AddressEncoding::kPercpuAbsolute);
  const size_t needed = whole.names.size() - 100;
  for (size_t size = 0; size < needed; ++size) {
    SymbolTables tables = whole;
    tables.names.resize(size);
    ASSERT_FALSE(Symbols::decode(std::move(tables), "_stext", {kBase})) << size;
  }
}

TEST(Symbols, refuses_tokens_that_are_cut_off_or_out_of_range) {
  SymbolTables tables = tables_of(some_symbols(), AddressEncoding::kPercpuAbsolute);
  tables.token_table.pop_back();
  EXPECT_FALSE(Symbols::decode(tables, "_stext", {kBase}));
  tables = tables_of(some_symbols(), AddressEncoding::kPercpuAbsolute);
  tables.token_index[7] = 0xffff;
  EXPECT_FALSE(Symbols::decode(tables, "_stext", {kBase}));
}

TEST(Symbols, refuses_a_name_that_expands_without_measure) {
  SymbolTables tables = tables_of(some_symbols(), AddressEncoding::kPercpuAbsolute);
  tables.token_table.insert(tables.token_table.begin(), 60000, std::byte{'x'});
  for (uint16_t& start : tables.token_index) start = 0;
  const auto symbols = Symbols::decode(std::move(tables), "_stext", {kBase});
  ASSERT_FALSE(symbols);
  EXPECT_EQ(symbols.error().code, Code::kInvalid);
}

TEST(Symbols, refuses_counts_that_do_not_fit) {
  for (const uint32_t count : {0U, 11U, 13U, kMaxSymbols + 1, 0xffffffffU}) {
    SymbolTables tables = tables_of(some_symbols(), AddressEncoding::kPercpuAbsolute);
    tables.count = count;
    EXPECT_FALSE(Symbols::decode(std::move(tables), "_stext", {kBase})) << count;
  }
}

TEST(Symbols, survives_flipped_bits) {
  const SymbolTables whole = tables_of(some_symbols(), AddressEncoding::kPercpuAbsolute);
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    SymbolTables tables = whole;
    tables.names[random() % tables.names.size()] ^= static_cast<std::byte>(1 << random() % 8);
    tables.token_table[random() % tables.token_table.size()] ^= static_cast<std::byte>(1 << random() % 8);
    tables.token_index[random() % 256] ^= static_cast<uint16_t>(1 << random() % 16);
    const auto symbols = Symbols::decode(std::move(tables), "_stext", {kBase});
    if (!symbols) continue;
    size_t seen = 0;
    symbols->for_each([&](std::string_view, GuestVirtual, char) { ++seen; });
    ASSERT_EQ(seen, whole.count);
  }
}

}  // namespace
}  // namespace hyperward::kernel
