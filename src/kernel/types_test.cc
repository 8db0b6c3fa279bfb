#include "kernel/types.h"

#include <gtest/gtest.h>

#include <random>

#include "kernel/fake_types.h"

namespace hyperward::kernel {
namespace {

Types parse(const FakeTypes& fake) {
  auto types = Types::parse(fake.build());
  HW_CHECK(types.has_value());
  return *std::move(types);
}

// A little of what struct sock looks like.
FakeTypes socket_types() {
  FakeTypes fake;
  const uint32_t u16 = fake.integer("unsigned short", 2);
  const uint32_t u32 = fake.integer("unsigned int", 4);
  const uint32_t be16 = fake.alias("__be16", u16);
  const uint32_t ports = fake.structure("", 4, {{"skc_dport", be16, 0}, {"skc_num", u16, 16}});
  const uint32_t pair = fake.union_of("", 4, {{"skc_portpair", u32, 0}, {"", ports, 0}});
  const uint32_t common = fake.structure("sock_common", 16,
                                         {{"skc_daddr", u32, 0},
                                          {"", pair, 32},
                                          {"skc_reuse", u32, 64, 4},
                                          {"skc_reuseport", u32, 68, 1},
                                          {"skc_net", u32, 96}});
  const uint32_t name = fake.array(fake.integer("char", 1), 16);
  fake.structure("sock", 64,
                 {{"__sk_common", fake.constant(common), 0},
                  {"sk_name", name, 128},
                  {"sk_next", fake.pointer(fake.next_id() + 1), 256}});
  return fake;
}

TEST(Types, finds_a_field_through_typedefs_qualifiers_and_anonymous_members) {
  const Types types = parse(socket_types());
  const auto field = types.field("sock", "__sk_common.skc_num");
  ASSERT_TRUE(field) << field.error().message;
  EXPECT_EQ(field->offset_bytes, 6U);
  EXPECT_EQ(field->size_bytes, 2U);
  EXPECT_EQ(field->bit_size, 0U);
}

TEST(Types, gives_sizes_of_arrays_pointers_and_structs) {
  const Types types = parse(socket_types());
  EXPECT_EQ(types.field("sock", "sk_name")->size_bytes, 16U);
  EXPECT_EQ(types.field("sock", "sk_next")->size_bytes, 8U);
  EXPECT_EQ(types.field("sock", "__sk_common")->size_bytes, 16U);
  EXPECT_TRUE(types.field("sock", "sk_next")->is_pointer);
  EXPECT_FALSE(types.field("sock", "sk_name")->is_pointer);
  EXPECT_EQ(types.size_of("sock"), 64U);
  EXPECT_EQ(types.size_of("__be16"), 2U);
}

TEST(Types, gives_bit_fields_as_the_bits_of_some_bytes) {
  const Types types = parse(socket_types());
  const auto reuseport = types.field("sock_common", "skc_reuseport");
  ASSERT_TRUE(reuseport);
  EXPECT_EQ(reuseport->offset_bytes, 8U);
  EXPECT_EQ(reuseport->size_bytes, 1U);
  EXPECT_EQ(reuseport->bit_offset, 4U);
  EXPECT_EQ(reuseport->bit_size, 1U);
  EXPECT_EQ(types.field("sock_common", "skc_net")->bit_size, 0U);
}

TEST(Types, follows_no_pointer_and_finds_no_nonsense) {
  const Types types = parse(socket_types());
  for (const std::string_view path : {"", ".", "sk_next.__sk_common", "__sk_common.", ".sk_name", "sk_nam", "sk_names",
                                      "__sk_common.skc_num.x", "__sk_common.skc_reuse.x"})
    EXPECT_FALSE(types.has_field("sock", path)) << path;
  EXPECT_FALSE(types.has_type("soc"));
  EXPECT_FALSE(types.has_type(""));
  const auto missing = types.field("sock", "sk_gone");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::kNotFound);
  EXPECT_NE(missing.error().message.find("sock.sk_gone"), std::string::npos);
}

TEST(Types, looks_through_all_types_of_one_name) {
  FakeTypes fake;
  const uint32_t u32 = fake.integer("int", 4);
  fake.structure("twice", 4, {{"first", u32, 0}});
  fake.structure("twice", 8, {{"pad", u32, 0}, {"second", u32, 32}});
  const Types types = parse(fake);
  EXPECT_EQ(types.field("twice", "first")->offset_bytes, 0U);
  EXPECT_EQ(types.field("twice", "second")->offset_bytes, 4U);
}

TEST(Types, knows_enumerators_of_either_sign_and_size) {
  FakeTypes fake;
  fake.enumeration("states", {{"TCP_ESTABLISHED", 1}, {"TCP_LISTEN", 10}, {"LARGE", 0xffffffff}});
  fake.enumeration("", {{"MINUS_ONE", -1}}, true);
  fake.enumeration64("flags", {{"WIDE", int64_t{1} << 40}, {"WIDE_MINUS", -2}});
  const Types types = parse(fake);
  EXPECT_EQ(types.enumerator("TCP_LISTEN"), 10);
  EXPECT_EQ(types.enumerator("LARGE"), 0xffffffff);
  EXPECT_EQ(types.enumerator("MINUS_ONE"), -1);
  EXPECT_EQ(types.enumerator("WIDE"), int64_t{1} << 40);
  EXPECT_EQ(types.enumerator("WIDE_MINUS"), -2);
  EXPECT_FALSE(types.enumerator("TCP_LISTE"));
}

TEST(Types, survives_type_graphs_with_cycles) {
  FakeTypes fake;
  const uint32_t self = fake.next_id();
  fake.alias("self", self);
  const uint32_t nested = fake.next_id();
  fake.structure("nested", 8, {{"", nested, 0}, {"", nested, 32}, {"last", 1, 0}});
  const uint32_t endless = fake.next_id();
  fake.array(endless, 1);
  fake.structure("holder", 8, {{"endless", endless, 0}, {"gone", 9999, 0}});
  const Types types = parse(fake);
  EXPECT_FALSE(types.size_of("self"));
  EXPECT_FALSE(types.has_field("self", "x"));
  EXPECT_FALSE(types.has_field("nested", "x"));
  EXPECT_FALSE(types.has_field("holder", "endless"));
  EXPECT_FALSE(types.has_field("holder", "gone"));
}

TEST(Types, bounds_what_a_hostile_type_graph_costs) {
  // Anonymous structs of 100 anonymous members each, 15 deep: 10^30 members, if one looked at all of them.
  FakeTypes fake;
  uint32_t inner = fake.structure("", 1, {});
  for (int depth = 0; depth < 15; ++depth)
    inner = fake.structure(depth == 14 ? "bomb" : "", 1, std::vector<FakeTypes::Member>(100, {"", inner, 0}));
  EXPECT_FALSE(parse(fake).has_field("bomb", "x"));
}

TEST(Types, refuses_sizes_that_overflow) {
  FakeTypes fake;
  uint32_t inner = fake.integer("int", 4);
  for (int depth = 0; depth < 8; ++depth) inner = fake.array(inner, 0xffff);
  fake.structure("huge", 4, {{"all", inner, 0}});
  EXPECT_FALSE(parse(fake).has_field("huge", "all"));
}

TEST(Types, refuses_every_blob_that_is_cut_off) {
  const std::vector<std::byte> whole = socket_types().build();
  ASSERT_TRUE(Types::parse(whole));
  for (size_t size = 0; size < whole.size(); ++size)
    ASSERT_FALSE(Types::parse({whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size)})) << size;
}

TEST(Types, says_which_kind_it_does_not_know) {
  FakeTypes fake;
  fake.add("future", 25, 0, 0, {});
  const auto types = Types::parse(fake.build());
  ASSERT_FALSE(types);
  EXPECT_EQ(types.error().code, Code::kUnsupported);
  EXPECT_EQ(types.error().message, "BTF type 1 is of the unknown kind 25");
}

TEST(Types, survives_flipped_bits) {
  const std::vector<std::byte> whole = socket_types().build();
  std::mt19937 random(1);
  for (int round = 0; round < 5000; ++round) {
    std::vector<std::byte> blob = whole;
    for (int flips = 0; flips < 3; ++flips) blob[random() % blob.size()] ^= static_cast<std::byte>(1 << random() % 8);
    const auto types = Types::parse(std::move(blob));
    if (!types) continue;
    const auto field = types->field("sock", "__sk_common.skc_num");
    const auto size = types->size_of("sock");
    EXPECT_TRUE(!field || field->size_bytes <= 1 << 30);
    EXPECT_TRUE(!size || *size <= 1 << 30);
  }
}

}  // namespace
}  // namespace hyperward::kernel
