#include "memory/layout.h"

#include <gtest/gtest.h>

#include <limits>

namespace hyperward::memory {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kGiB = 1 << 30;

// QEMU 7.2, -M pc -m 5G.
constexpr std::string_view kMtree = R"(FlatView #0
 AS "I/O", root: io
 Root memory region: io
  0000000000000000-0000000000000007 (prio 0, i/o): dma-chan

FlatView #1
 AS "memory", root: system
 AS "cpu-memory-0", root: system
 Root memory region: system
  0000000000000000-000000000009ffff (prio 0, ram): pc.ram
  00000000000a0000-00000000000bffff (prio 1, i/o): vga-lowmem
  00000000000c0000-00000000000dffff (prio 1, rom): pc.rom
  00000000000e0000-00000000000fffff (prio 0, rom): pc.bios @0000000000020000
  0000000000100000-00000000bfffffff (prio 0, ram): pc.ram @0000000000100000
  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic
  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios
  0000000100000000-000000017fffffff (prio 0, ram): pc.ram @00000000c0000000

FlatView #2
 AS "cpu-smm-0", root: memory
 Root memory region: memory
  0000000000000000-00000000bfffffff (prio 0, ram): pc.ram
)";

std::vector<std::string> arguments(std::initializer_list<std::string> words) {
  std::vector<std::string> all{"qemu-system-x86_64"};
  all.insert(all.end(), words);
  return all;
}

TEST(Layout, reads_the_monitors_map) {
  const auto layout = Layout::from_mtree(kMtree);
  ASSERT_TRUE(layout) << layout.error().message;
  const std::vector<Segment> expected = {
      {{0}, 0xa0000, 0}, {{0x100000}, 0xbff00000, 0x100000}, {{0x100000000}, 2 * kGiB, 0xc0000000}};
  EXPECT_EQ(std::vector(layout->segments().begin(), layout->segments().end()), expected);
  EXPECT_EQ(layout->end_offset(), 5 * kGiB);
}

TEST(Layout, reads_the_monitors_map_with_a_consoles_line_ends) {
  std::string text;
  for (const char c : kMtree) text += c == '\n' ? std::string("\r\n") : std::string(1, c);
  const auto layout = Layout::from_mtree(text);
  ASSERT_TRUE(layout) << layout.error().message;
  EXPECT_EQ(layout->segments().size(), 3U);
}

TEST(Layout, refuses_a_text_that_is_no_map) {
  for (const std::string_view text : {"", "FlatView #0\n", "unknown command: 'info mtree'\n",
                                      "FlatView #0\n AS \"memory\", root: system\n  zzz-1 (prio 0, ram): pc.ram\n",
                                      "FlatView #0\n AS \"memory\", root: system\n  5-1 (prio 0, ram): pc.ram\n"})
    EXPECT_FALSE(Layout::from_mtree(text)) << text;
}

TEST(Layout, survives_every_prefix_of_a_map) {
  for (size_t size = 0; size < kMtree.size(); ++size) {
    const auto layout = Layout::from_mtree(kMtree.substr(0, size));
    EXPECT_LE(layout ? layout->end_offset() : 0, 5 * kGiB) << size;
  }
}

struct Split {
  std::vector<std::string> arguments;
  uint64_t below;
  uint64_t above;
};

// As QEMU 7.2's `info mtree -f` shows it for the same arguments.
TEST(Layout, follows_qemus_split_below_4_gib) {
  const Split splits[] = {
      {arguments({"-m", "512"}), 512 * kMiB, 0},
      {arguments({}), 128 * kMiB, 0},
      {arguments({"-M", "pc", "-m", "3583M"}), 3583 * kMiB, 0},
      {arguments({"-M", "pc", "-m", "3584M"}), 3 * kGiB, 512 * kMiB},
      {arguments({"-machine", "pc-i440fx-7.2,accel=kvm", "-m", "5G,slots=2,maxmem=8G"}), 3 * kGiB, 2 * kGiB},
      {arguments({"-machine", "type=pc+pve0", "-m", "size=5242880k"}), 3 * kGiB, 2 * kGiB},
      {arguments({"-machine", "pc,max-ram-below-4g=2G", "-m", "4G"}), 2 * kGiB, 2 * kGiB},
      {arguments({"-machine", "accel=tcg", "-M", "q35", "-m", "2815M"}), 2815 * kMiB, 0},
      {arguments({"--machine", "pc-q35-7.2,usb=off", "-m", "4G"}), 2 * kGiB, 2 * kGiB},
      {arguments({"-M", "q35,max-ram-below-4g=1G", "-m", "4G"}), kGiB, 3 * kGiB},
      {arguments({"-M", "q35,memory-backend=ram", "-object", "memory-backend-memfd,id=ram,size=268435456,share=on"}),
       256 * kMiB, 0},
  };
  for (const Split& split : splits) {
    SCOPED_TRACE(fmt::format("{}", fmt::join(split.arguments, " ")));
    const auto layout = Layout::from_arguments(split.arguments);
    ASSERT_TRUE(layout) << layout.error().message;
    std::vector<Segment> expected{{{0}, split.below, 0}};
    if (split.above != 0) expected.push_back({{4 * kGiB}, split.above, split.below});
    EXPECT_EQ(std::vector(layout->segments().begin(), layout->segments().end()), expected);
  }
}

TEST(Layout, refuses_to_guess_for_other_machines_and_sizes) {
  EXPECT_EQ(Layout::from_arguments(arguments({"-M", "microvm", "-m", "1G"})).error().code, Code::kUnsupported);
  EXPECT_EQ(Layout::from_arguments(arguments({"-m", "2T"})).error().code, Code::kUnsupported);
  EXPECT_EQ(Layout::from_arguments(arguments({"-m", "lots"})).error().code, Code::kInvalid);
  EXPECT_EQ(Layout::from_arguments(arguments({"-m", "99999999999999999999G"})).error().code, Code::kInvalid);
}

TEST(Layout, gives_the_offset_of_what_lies_in_one_segment) {
  const auto layout = Layout::of({{{0}, 0x1000, 0}, {{0x4000}, 0x1000, 0x1000}});
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->offset({0xff0}, 0x10), 0xff0U);
  EXPECT_EQ(layout->offset({0x4010}, 8), 0x1010U);
  EXPECT_EQ(layout->offset({0xff1}, 0x10), std::nullopt);
  EXPECT_EQ(layout->offset({0x1000}, 1), std::nullopt);
  EXPECT_EQ(layout->offset({0x5000}, 1), std::nullopt);
  EXPECT_EQ(layout->offset({0x4000}, std::numeric_limits<uint64_t>::max()), std::nullopt);
}

TEST(Layout, drops_what_an_earlier_segment_has) {
  const auto layout = Layout::of({{{0x1000}, 0x3000, 0x1000}, {{0}, 0x2000, 0}, {{0x2000}, 0x1000, 0x2000}});
  ASSERT_TRUE(layout);
  const std::vector<Segment> expected = {{{0}, 0x4000, 0}};
  EXPECT_EQ(std::vector(layout->segments().begin(), layout->segments().end()), expected);
}

TEST(Layout, refuses_segments_that_wrap_around) {
  EXPECT_FALSE(Layout::of({{{~uint64_t{0} - 0xfff}, 0x2000, 0}}));
  EXPECT_FALSE(Layout::of({{{0}, 0x2000, ~uint64_t{0} - 0xfff}}));
  EXPECT_FALSE(Layout::of({}));
}

}  // namespace
}  // namespace hyperward::memory
