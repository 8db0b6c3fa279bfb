#include "memory/process_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "memory/open.h"
#include "memory/qemu_process.h"
#include "memory/ram_handle.h"

namespace hyperward::memory {
namespace {

constexpr size_t kRamBytes = 64 * kPageSize;

// A process that holds "RAM" like a QEMU, until it is ended.
class FakeQemu {
 public:
  FakeQemu() {
    void* ram = ::mmap(nullptr, kRamBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    HW_CHECK(ram != MAP_FAILED);
    ram_ = static_cast<char*>(ram);
    ::madvise(ram, kRamBytes, MADV_NOHUGEPAGE);
    std::strcpy(ram_ + 5 * kPageSize, "five");
    std::strcpy(ram_ + 6 * kPageSize - 2, "edge");
    pid_ = ::fork();
    HW_CHECK(pid_ >= 0);
    if (pid_ == 0) {
      ::pause();
      ::_exit(0);
    }
  }
  ~FakeQemu() {
    if (pid_ != 0) end();
    ::munmap(ram_, kRamBytes);
  }
  void end() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] uint64_t ram() const { return reinterpret_cast<uint64_t>(ram_); }

 private:
  char* ram_ = nullptr;
  pid_t pid_ = 0;
};

std::string read_text(const PhysicalMemory& memory, GuestPhysical address, size_t size) {
  std::string text(size, '?');
  return memory.read(address, std::as_writable_bytes(std::span(text))) ? text : "(unreadable)";
}

TEST(ProcessMemory, reads_another_process) {
  const FakeQemu qemu;
  const auto memory = ProcessMemory::open(qemu.pid(), qemu.ram(), Layout::flat(kRamBytes));
  ASSERT_TRUE(memory) << memory.error().message;
  EXPECT_EQ(read_text(**memory, {5 * kPageSize}, 4), "five");
  EXPECT_EQ(read_text(**memory, {6 * kPageSize - 2}, 4), "edge");
  EXPECT_EQ(read_text(**memory, {kRamBytes - 1}, 2), "(unreadable)");
}

TEST(ProcessMemory, reads_more_pieces_than_one_call_takes) {
  const FakeQemu qemu;
  const auto memory = ProcessMemory::open(qemu.pid(), qemu.ram(), Layout::flat(kRamBytes));
  ASSERT_TRUE(memory);
  std::vector<char> letters(3000);
  std::vector<Piece> pieces;
  for (size_t i = 0; i < letters.size(); ++i)
    pieces.push_back({GuestPhysical{5 * kPageSize + i % 4}, std::as_writable_bytes(std::span(&letters[i], 1))});
  ASSERT_TRUE((*memory)->read_many(pieces));
  for (size_t i = 0; i < letters.size(); ++i) ASSERT_EQ(letters[i], "five"[i % 4]) << i;
}

TEST(ProcessMemory, names_the_touched_pages_and_touches_no_other) {
  const FakeQemu qemu;
  const auto memory = ProcessMemory::open(qemu.pid(), qemu.ram() + kPageSize, Layout::flat(kRamBytes - kPageSize));
  ASSERT_TRUE(memory);
  for (int round = 0; round < 2; ++round) {
    const auto ranges = (*memory)->populated();
    ASSERT_TRUE(ranges) << ranges.error().message;
    // Page 0 of this layout: opening it reads a byte, to know that it may.
    ASSERT_EQ(ranges->size(), 2U);
    EXPECT_EQ((*ranges)[0].start.value, 0U);
    EXPECT_EQ((*ranges)[1].start.value, 4 * kPageSize);
    EXPECT_EQ((*ranges)[1].size_bytes, 2 * kPageSize);
  }
}

TEST(ProcessMemory, fails_once_the_process_has_ended) {
  FakeQemu qemu;
  const auto memory = ProcessMemory::open(qemu.pid(), qemu.ram(), Layout::flat(kRamBytes));
  ASSERT_TRUE(memory);
  qemu.end();
  EXPECT_EQ(read_text(**memory, {5 * kPageSize}, 4), "(unreadable)");
  EXPECT_FALSE((*memory)->populated());
}

TEST(RamHandle, is_read_by_who_does_not_know_the_process) {
  const FakeQemu qemu;
  auto handle = ProcessMemory::open(qemu.pid(), qemu.ram(), Layout::flat(kRamBytes)).value()->handle();
  ASSERT_TRUE(handle) << handle.error().message;
  const auto memory = open(*std::move(handle));
  ASSERT_TRUE(memory) << memory.error().message;
  const auto ranges = (*memory)->populated();
  ASSERT_TRUE(ranges) << ranges.error().message;
  EXPECT_EQ(ranges->back().start.value, 5 * kPageSize);
  EXPECT_EQ(read_text(**memory, {5 * kPageSize}, 4), "five");
  EXPECT_EQ(read_text(**memory, {6 * kPageSize - 2}, 4), "edge");
  EXPECT_EQ(read_text(**memory, {kRamBytes - 1}, 2), "(unreadable)");
}

TEST(RamHandle, lets_nobody_write) {
  const FakeQemu qemu;
  const auto handle = ProcessMemory::open(qemu.pid(), qemu.ram(), Layout::flat(kRamBytes)).value()->handle();
  ASSERT_TRUE(handle);
  EXPECT_EQ(::fcntl(handle->ram.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
  EXPECT_EQ(::fcntl(handle->pages.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
}

TEST(RamHandle, reads_nothing_once_the_process_has_ended) {
  FakeQemu qemu;
  const auto memory =
      open(ProcessMemory::open(qemu.pid(), qemu.ram(), Layout::flat(kRamBytes)).value()->handle().value());
  ASSERT_TRUE(memory);
  qemu.end();
  EXPECT_EQ(read_text(**memory, {5 * kPageSize}, 4), "(unreadable)");
  EXPECT_FALSE((*memory)->populated());
}

TEST(OpenProcess, says_what_is_wrong_in_a_sentence) {
  FakeQemu qemu;
  const auto no_qemu = open_process(qemu.pid());
  ASSERT_FALSE(no_qemu);
  EXPECT_EQ(no_qemu.error().code, Code::kInvalid);
  EXPECT_NE(no_qemu.error().message.find("is no QEMU but \"memory_test\""), std::string::npos)
      << no_qemu.error().message;

  const pid_t pid = qemu.pid();
  qemu.end();
  const auto ended = open_process(pid);
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, Code::kNotFound);
  EXPECT_FALSE(open_process(0));
  EXPECT_FALSE(open_process(-1));
}

constexpr std::string_view kMaps =
    "55d0c0000000-55d0c0100000 r-xp 00000000 08:01 100    /usr/bin/qemu-system-x86_64\n"
    "7f0000000000-7f0020000000 rwxp 00000000 00:00 0 \n"
    "7f0030000000-7f0050000000 rw-s 00000000 00:01 1049    /memfd:memory-backend-memfd (deleted)\n"
    "7f0060000000-7f0080000000 rw-p 00000000 00:00 0 \n"
    "7f0090000000-7f0090001000 ---p 00000000 00:00 0 \n";

TEST(FindRam, takes_the_shared_mapping_before_the_private_one) {
  const auto ram = find_ram(parse_maps(kMaps), 512 << 20);
  ASSERT_TRUE(ram) << ram.error().message;
  EXPECT_EQ(ram->start, 0x7f0030000000U);
  EXPECT_TRUE(ram->shared);
  EXPECT_EQ(ram->inode, 1049U);
  EXPECT_EQ(ram->path, "/memfd:memory-backend-memfd (deleted)");
}

TEST(FindRam, takes_no_code_buffer_of_the_same_size) {
  std::vector<HostMapping> mappings = parse_maps(kMaps);
  std::erase_if(mappings, [](const HostMapping& mapping) { return mapping.shared; });
  const auto ram = find_ram(mappings, 512 << 20);
  ASSERT_TRUE(ram) << ram.error().message;
  EXPECT_EQ(ram->start, 0x7f0060000000U);
}

TEST(FindRam, refuses_to_choose_among_several) {
  std::vector<HostMapping> mappings = parse_maps(kMaps);
  mappings.push_back(mappings[2]);
  EXPECT_EQ(find_ram(mappings, 512 << 20).error().code, Code::kUnsupported);
  EXPECT_EQ(find_ram(mappings, 513 << 20).error().code, Code::kUnsupported);
}

TEST(ParseMaps, passes_over_lines_that_are_none) {
  EXPECT_TRUE(parse_maps("").empty());
  EXPECT_TRUE(parse_maps("garbage\n7f-\n7f0-7e0 rw-p 0 0:0 0\n1-2 rw 0 0:0 0\n1-2 rw-p\n").empty());
}

}  // namespace
}  // namespace hyperward::memory
