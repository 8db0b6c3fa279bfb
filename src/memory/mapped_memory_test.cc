#include "memory/mapped_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "memory/open.h"
#include "memory/ram_handle.h"

namespace hyperward::memory {
namespace {

// A memory backend as QEMU makes it, of `size_bytes`, with nothing written.
Fd make_backend(uint64_t size_bytes) {
  Fd file(::memfd_create("test-ram", MFD_CLOEXEC));
  HW_CHECK(file.valid() && ::ftruncate(file.get(), static_cast<off_t>(size_bytes)) == 0);
  return file;
}

void write_at(const Fd& file, uint64_t offset, std::string_view text) {
  HW_CHECK(::pwrite(file.get(), text.data(), text.size(), static_cast<off_t>(offset)) ==
           static_cast<ssize_t>(text.size()));
}

std::string read_text(const PhysicalMemory& memory, GuestPhysical address, size_t size) {
  std::string text(size, '?');
  return memory.read(address, std::as_writable_bytes(std::span(text))) ? text : "(unreadable)";
}

uint64_t used_bytes(const Fd& file) {
  struct stat status{};
  HW_CHECK(::fstat(file.get(), &status) == 0);
  return static_cast<uint64_t>(status.st_blocks) * 512;
}

TEST(MappedMemory, reads_over_the_edge_of_adjacent_segments) {
  Fd file = make_backend(0x3000);
  write_at(file, 0x0ffe, "ab");
  write_at(file, 0x2000, "cd");
  const auto memory = MappedMemory::open(std::move(file), *Layout::of({{{0}, 0x1000, 0}, {{0x1000}, 0x1000, 0x2000}}));
  ASSERT_TRUE(memory) << memory.error().message;
  EXPECT_EQ(read_text(**memory, {0xffe}, 4), "abcd");
}

TEST(MappedMemory, refuses_what_is_no_ram) {
  const auto memory =
      MappedMemory::open(make_backend(0x2000), *Layout::of({{{0}, 0x1000, 0}, {{0x8000}, 0x1000, 0x1000}}));
  ASSERT_TRUE(memory);
  for (const uint64_t address : {uint64_t{0xfff}, uint64_t{0x1000}, uint64_t{0x7fff}, uint64_t{0x8fff}, ~uint64_t{0}})
    EXPECT_EQ(read_text(**memory, {address}, 2), "(unreadable)") << address;
}

TEST(MappedMemory, sees_what_is_written_later) {
  Fd file = make_backend(0x1000);
  const Fd guest(::dup(file.get()));
  const auto memory = MappedMemory::open(std::move(file), Layout::flat(0x1000));
  ASSERT_TRUE(memory);
  write_at(guest, 0x10, "new");
  EXPECT_EQ(read_text(**memory, {0x10}, 3), "new");
}

TEST(MappedMemory, names_the_written_parts_and_fills_no_hole) {
  Fd file = make_backend(1 << 20);
  write_at(file, 0x3000, "x");
  write_at(file, 0x80000, "y");
  const Fd guest(::dup(file.get()));
  const uint64_t used_before = used_bytes(guest);
  // The upper half of the file is the lower half of the guest.
  const auto memory =
      MappedMemory::open(std::move(file), *Layout::of({{{0x80000}, 0x80000, 0}, {{0}, 0x80000, 0x80000}}));
  ASSERT_TRUE(memory);
  const auto ranges = (*memory)->populated();
  ASSERT_TRUE(ranges) << ranges.error().message;
  ASSERT_EQ(ranges->size(), 2U);
  EXPECT_EQ((*ranges)[0].start, GuestPhysical{0});
  EXPECT_EQ((*ranges)[0].size_bytes, kPageSize);
  EXPECT_EQ((*ranges)[1].start, GuestPhysical{0x83000});
  EXPECT_EQ(used_bytes(guest), used_before);
}

TEST(MappedMemory, refuses_a_file_shorter_than_its_ram) {
  const auto memory = MappedMemory::open(make_backend(0x1000), Layout::flat(0x2000));
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().code, Code::kInvalid);
}

class Dump : public testing::Test {
 protected:
  Dump() {
    char name[] = "/tmp/hyperward-dump-XXXXXX";
    file_ = Fd(::mkstemp(name));
    path_ = name;
  }
  ~Dump() override { ::unlink(path_.c_str()); }

  Fd file_;
  std::filesystem::path path_;
};

TEST_F(Dump, is_read_by_guest_physical_offset) {
  write_at(file_, 0x1ff0, "in the dump");
  const auto memory = open_dump(path_);
  ASSERT_TRUE(memory) << memory.error().message;
  EXPECT_EQ(read_text(**memory, {0x1ff0}, 11), "in the dump");
  EXPECT_EQ(read_text(**memory, {0x2000}, 1), "(unreadable)");
}

TEST_F(Dump, follows_a_given_layout) {
  write_at(file_, 0x1000, "high");
  write_at(file_, 0x1fff, "");
  ASSERT_EQ(::ftruncate(file_.get(), 0x2000), 0);
  const auto memory = open_dump(path_, *Layout::of({{{0}, 0x1000, 0}, {{0x100000000}, 0x1000, 0x1000}}));
  ASSERT_TRUE(memory) << memory.error().message;
  EXPECT_EQ(read_text(**memory, {0x100000000}, 4), "high");
}

TEST_F(Dump, that_is_empty_or_compressed_or_missing_is_refused_in_words) {
  EXPECT_EQ(open_dump(path_).error().code, Code::kInvalid);
  write_at(file_, 0, "KDUMP   and so on");
  EXPECT_EQ(open_dump(path_).error().code, Code::kUnsupported);
  EXPECT_EQ(open_dump("/nonexistent/dump").error().code, Code::kNotFound);
  EXPECT_EQ(open_dump("/tmp").error().code, Code::kInvalid);
}

TEST(RamHandle, of_mapped_memory_cannot_be_mapped_for_writing) {
  Fd file = make_backend(0x1000);
  write_at(file, 0, "ram");
  const auto memory = MappedMemory::open(std::move(file), Layout::flat(0x1000));
  ASSERT_TRUE(memory);
  const auto shared = (*memory)->handle();
  ASSERT_TRUE(shared) << shared.error().message;
  EXPECT_EQ(::mmap(nullptr, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED, shared->ram.get(), 0), MAP_FAILED);
  void* const mapped = ::mmap(nullptr, 0x1000, PROT_READ, MAP_SHARED, shared->ram.get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  EXPECT_NE(::mprotect(mapped, 0x1000, PROT_READ | PROT_WRITE), 0);
  EXPECT_EQ(std::string_view(static_cast<const char*>(mapped), 3), "ram");
  ::munmap(mapped, 0x1000);
}

}  // namespace
}  // namespace hyperward::memory
