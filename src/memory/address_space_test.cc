#include "memory/address_space.h"

#include <gtest/gtest.h>

#include "memory/fake_memory.h"

namespace hyperward::memory {
namespace {

constexpr uint64_t kPresent = 1;
constexpr uint64_t kWritable = 2;
constexpr uint64_t kUser = 4;
constexpr uint64_t kLarge = 1 << 7;
constexpr uint64_t kNoExecute = uint64_t{1} << 63;
constexpr uint64_t kAll = kPresent | kWritable | kUser;

// Tables at 0x1000 (top), 0x2000, ... each with one entry of our choosing.
class AddressSpaceTest : public testing::Test {
 protected:
  void set(GuestPhysical table, uint64_t index, uint64_t entry) { memory_.put(table + index * 8, entry); }

  FakeMemory memory_{1 << 20};
};

TEST_F(AddressSpaceTest, walks_four_levels) {
  set({0x1000}, 0x111, 0x2000 | kAll);
  set({0x2000}, 0x022, 0x3000 | kAll);
  set({0x3000}, 0x033, 0x4000 | kAll);
  set({0x4000}, 0x044, 0x5000 | kAll);
  const GuestVirtual address{0xffff000000000000 | 0x111ULL << 39 | 0x022ULL << 30 | 0x033ULL << 21 | 0x044ULL << 12 |
                             0x567};
  const auto translation = AddressSpace(memory_, {0x1000}, {}).translate(address);
  ASSERT_TRUE(translation);
  EXPECT_EQ(translation->address, GuestPhysical{0x5567});
  EXPECT_EQ(translation->left_bytes, 0x1000U - 0x567);
}

TEST_F(AddressSpaceTest, walks_five_levels) {
  set({0x1000}, 0x110, 0x2000 | kAll);
  set({0x2000}, 0x001, 0x3000 | kAll);
  set({0x3000}, 0x002, 0x4000 | kAll);
  set({0x4000}, 0x003, 0x5000 | kAll);
  set({0x5000}, 0x004, 0x6000 | kAll);
  const GuestVirtual address{0xff00000000000000 | 0x110ULL << 48 | 1ULL << 39 | 2ULL << 30 | 3ULL << 21 | 4ULL << 12};
  const auto translation = AddressSpace(memory_, {0x1000}, {.levels = 5}).translate(address);
  ASSERT_TRUE(translation);
  EXPECT_EQ(translation->address, GuestPhysical{0x6000});
}

TEST_F(AddressSpaceTest, ends_at_pages_of_2_mib_and_1_gib) {
  set({0x1000}, 0, 0x2000 | kAll);
  set({0x2000}, 0, 0x3000 | kAll);
  set({0x2000}, 1, 0x40000000 | kAll | kLarge | 1 << 12);  // bit 12 is PAT here, no address
  set({0x3000}, 5, 0x600000 | kAll | kLarge | 1 << 12);
  const AddressSpace space(memory_, {0x1000}, {});
  const auto medium = space.translate({0xa12345});
  ASSERT_TRUE(medium);
  EXPECT_EQ(medium->address, GuestPhysical{0x612345});
  EXPECT_EQ(medium->left_bytes, 0x200000U - 0x12345);
  const auto large = space.translate({0x41234567});
  ASSERT_TRUE(large);
  EXPECT_EQ(large->address, GuestPhysical{0x41234567});
  EXPECT_EQ(large->left_bytes, 0x40000000U - 0x1234567);
}

TEST_F(AddressSpaceTest, refuses_addresses_that_are_not_canonical) {
  for (uint64_t i = 0; i < 512; ++i) set({0x1000}, i, 0x1000 | kAll);
  const AddressSpace four(memory_, {0x1000}, {});
  EXPECT_TRUE(four.translate({0x00007fffffffffff}));
  EXPECT_FALSE(four.translate({0x0000800000000000}));
  EXPECT_FALSE(four.translate({0xffff7fffffffffff}));
  EXPECT_TRUE(four.translate({0xffff800000000000}));
  const AddressSpace five(memory_, {0x1000}, {.levels = 5});
  EXPECT_TRUE(five.translate({0x00ffffffffffffff}));
  EXPECT_FALSE(five.translate({0x0100000000000000}));
  EXPECT_TRUE(five.translate({0xff00000000000000}));
}

TEST_F(AddressSpaceTest, refuses_entries_that_are_not_present_or_no_ram) {
  set({0x1000}, 0, 0x2000 | kWritable);
  set({0x1000}, 1, 0x7fff000 | kAll);
  const AddressSpace space(memory_, {0x1000}, {});
  EXPECT_FALSE(space.translate({0}));
  EXPECT_FALSE(space.translate({uint64_t{1} << 39}));
  EXPECT_FALSE(AddressSpace(memory_, {0xffffffffff000}, {}).translate({0}));
}

TEST_F(AddressSpaceTest, ends_in_tables_that_point_to_themselves) {
  for (uint64_t i = 0; i < 512; ++i) set({0x1000}, i, 0x1000 | kAll);
  const auto translation = AddressSpace(memory_, {0x1000}, {}).translate({0x123456789abc});
  ASSERT_TRUE(translation);
  EXPECT_EQ(translation->address, GuestPhysical{0x1abc});
}

TEST_F(AddressSpaceTest, takes_the_encryption_bit_for_no_address) {
  constexpr uint64_t kSme = uint64_t{1} << 47;
  set({0x1000}, 0, 0x2000 | kSme | kAll);
  set({0x2000}, 0, 0x3000 | kSme | kAll);
  set({0x3000}, 0, 0x4000 | kSme | kAll);
  set({0x4000}, 0, 0x5000 | kSme | kAll);
  const auto translation = AddressSpace(memory_, {0x1000 | kSme}, {.sme_mask = kSme}).translate({0});
  ASSERT_TRUE(translation);
  EXPECT_EQ(translation->address, GuestPhysical{0x5000});
}

TEST_F(AddressSpaceTest, grants_what_all_levels_grant) {
  set({0x1000}, 0, 0x2000 | kAll);
  set({0x2000}, 0, 0x3000 | kAll);
  set({0x3000}, 0, 0x4000 | kPresent | kWritable);
  set({0x4000}, 0, 0x5000 | kAll);
  set({0x4000}, 1, 0x5000 | kPresent | kUser | kNoExecute);
  const AddressSpace space(memory_, {0x1000}, {});
  const auto first = space.translate({0});
  ASSERT_TRUE(first);
  EXPECT_TRUE(first->writable);
  EXPECT_TRUE(first->executable);
  EXPECT_FALSE(first->user);
  const auto second = space.translate({0x1000});
  ASSERT_TRUE(second);
  EXPECT_FALSE(second->writable);
  EXPECT_FALSE(second->executable);
}

TEST_F(AddressSpaceTest, reads_over_pages_that_lie_apart) {
  set({0x1000}, 0, 0x2000 | kAll);
  set({0x2000}, 0, 0x3000 | kAll);
  set({0x3000}, 0, 0x4000 | kAll);
  set({0x4000}, 0, 0x9000 | kAll);
  set({0x4000}, 1, 0x6000 | kAll);
  memory_.put<char>({0x9fff}, 'a');
  memory_.put<char>({0x6000}, 'b');
  char text[2];
  const AddressSpace space(memory_, {0x1000}, {});
  ASSERT_TRUE(space.read({0xfff}, std::as_writable_bytes(std::span(text))));
  EXPECT_EQ(std::string_view(text, 2), "ab");
  EXPECT_FALSE(space.read({0x1fff}, std::as_writable_bytes(std::span(text))));
}

}  // namespace
}  // namespace hyperward::memory
