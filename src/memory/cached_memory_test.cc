#include "memory/cached_memory.h"

#include <gtest/gtest.h>

#include "memory/fake_memory.h"

namespace hyperward::memory {
namespace {

// Counts the calls that would be system calls.
class CountingMemory final : public PhysicalMemory {
 public:
  explicit CountingMemory(uint64_t size_bytes) : fake(size_bytes) {}
  [[nodiscard]] bool read(GuestPhysical address, std::span<std::byte> out) const override {
    ++calls;
    return fake.read(address, out);
  }
  [[nodiscard]] bool read_many(std::span<const Piece> pieces) const override {
    ++calls;
    return fake.read_many(pieces);
  }
  [[nodiscard]] std::span<const Range> ram() const override { return fake.ram(); }
  [[nodiscard]] Result<std::vector<Range>> populated() const override { return fake.populated(); }

  FakeMemory fake;
  mutable int calls = 0;
};

uint32_t word_at(const PhysicalMemory& memory, uint64_t address) {
  uint32_t word = 0;
  EXPECT_TRUE(memory.read({address}, std::as_writable_bytes(std::span(&word, 1))));
  return word;
}

TEST(CachedMemory, reads_a_page_once) {
  CountingMemory inner(1 << 20);
  inner.fake.put<uint32_t>({0x2004}, 7);
  const CachedMemory memory(inner);
  EXPECT_EQ(word_at(memory, 0x2004), 7U);
  EXPECT_EQ(word_at(memory, 0x2ff0), 0U);
  EXPECT_EQ(inner.calls, 1);
}

TEST(CachedMemory, keeps_a_page_as_it_was_until_it_forgets) {
  CountingMemory inner(1 << 20);
  const CachedMemory memory(inner);
  EXPECT_EQ(word_at(memory, 0x2000), 0U);
  inner.fake.put<uint32_t>({0x2000}, 8);
  EXPECT_EQ(word_at(memory, 0x2000), 0U);
  memory.forget();
  EXPECT_EQ(word_at(memory, 0x2000), 8U);
}

TEST(CachedMemory, reads_over_the_edge_of_a_page) {
  CountingMemory inner(1 << 20);
  inner.fake.put<uint32_t>({0x2ffe}, 0xabcdef01);
  const CachedMemory memory(inner);
  EXPECT_EQ(word_at(memory, 0x2ffe), 0xabcdef01U);
  EXPECT_EQ(inner.calls, 2);
}

TEST(CachedMemory, tells_pages_apart_that_share_a_slot) {
  CountingMemory inner(1 << 20);
  for (uint32_t page = 0; page < 256; ++page) inner.fake.put<uint32_t>({page * kPageSize}, page);
  const CachedMemory memory(inner, 2);
  for (int round = 0; round < 2; ++round)
    for (uint32_t page = 0; page < 256; ++page) ASSERT_EQ(word_at(memory, page * kPageSize), page);
}

TEST(CachedMemory, fetches_announced_pages_in_one_call) {
  CountingMemory inner(1 << 20);
  inner.fake.put<uint32_t>({0x3000}, 3);
  inner.fake.put<uint32_t>({0x9000}, 9);
  const CachedMemory memory(inner);
  const GuestPhysical addresses[] = {{0x3000}, {0x9010}, {0x3008}, {0xffffffff000}};
  memory.prefetch(addresses);
  EXPECT_EQ(inner.calls, 1);
  EXPECT_EQ(word_at(memory, 0x3000), 3U);
  EXPECT_EQ(word_at(memory, 0x9000), 9U);
  EXPECT_EQ(inner.calls, 1);
}

TEST(CachedMemory, refuses_what_is_no_ram) {
  CountingMemory inner(0x2000);
  const CachedMemory memory(inner);
  uint32_t word = 0;
  EXPECT_FALSE(memory.read({0x1ffe}, std::as_writable_bytes(std::span(&word, 1))));
  EXPECT_FALSE(memory.read({0x2000}, std::as_writable_bytes(std::span(&word, 1))));
  EXPECT_EQ(word_at(memory, 0x1ffc), 0U);
}

TEST(CachedMemory, passes_large_reads_by) {
  CountingMemory inner(1 << 20);
  inner.fake.put<uint32_t>({0x5000}, 5);
  const CachedMemory memory(inner, 1);
  std::vector<std::byte> large(0x8000);
  ASSERT_TRUE(memory.read({0}, large));
  EXPECT_EQ(large[0x5000], std::byte{5});
  EXPECT_EQ(inner.calls, 1);
}

}  // namespace
}  // namespace hyperward::memory
