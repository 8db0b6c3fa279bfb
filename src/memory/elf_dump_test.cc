#include "memory/elf_dump.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace hyperward::memory {
namespace {

constexpr uint64_t kDataOffset = 0x1000;

Elf64_Ehdr header_for(size_t segments) {
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_type = ET_CORE;
  header.e_machine = EM_X86_64;
  header.e_phoff = sizeof(header);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = static_cast<uint16_t>(segments);
  return header;
}

Elf64_Phdr load_of(uint64_t physical, uint64_t offset, uint64_t size) {
  Elf64_Phdr segment{};
  segment.p_type = PT_LOAD;
  segment.p_paddr = physical;
  segment.p_offset = offset;
  segment.p_filesz = size;
  segment.p_memsz = size;
  return segment;
}

std::vector<std::byte> file_of(const Elf64_Ehdr& header, const std::vector<Elf64_Phdr>& segments, size_t size) {
  std::vector<std::byte> file(size);
  std::memcpy(file.data(), &header, sizeof(header));
  std::memcpy(file.data() + header.e_phoff, segments.data(), segments.size() * sizeof(Elf64_Phdr));
  return file;
}

TEST(ElfDump, gives_physical_addresses_their_offsets) {
  Elf64_Phdr note{};
  note.p_type = PT_NOTE;
  const std::vector<Elf64_Phdr> segments = {note, load_of(0, kDataOffset, 0x1000),
                                            load_of(0x100000000, kDataOffset + 0x1000, 0x1000)};
  const auto layout = elf_layout(file_of(header_for(segments.size()), segments, kDataOffset + 0x2000));
  ASSERT_TRUE(layout) << layout.error().message;
  EXPECT_EQ(layout->offset({0x10}, 1), kDataOffset + 0x10);
  EXPECT_EQ(layout->offset({0x100000010}, 1), kDataOffset + 0x1010);
  EXPECT_EQ(layout->offset({0x1000}, 1), std::nullopt);
}

// paging=true: one PT_LOAD for each virtual mapping of the same RAM.
TEST(ElfDump, takes_ram_that_is_named_twice_once) {
  const std::vector<Elf64_Phdr> segments = {load_of(0x1000, kDataOffset + 0x1000, 0x1000),
                                            load_of(0, kDataOffset, 0x2000), load_of(0, kDataOffset, 0x1000)};
  const auto layout = elf_layout(file_of(header_for(segments.size()), segments, kDataOffset + 0x2000));
  ASSERT_TRUE(layout) << layout.error().message;
  ASSERT_EQ(layout->segments().size(), 1U);
  EXPECT_EQ(layout->segments()[0].size_bytes, 0x2000U);
}

TEST(ElfDump, finds_the_count_of_very_many_segments) {
  Elf64_Ehdr header = header_for(PN_XNUM);
  header.e_shoff = sizeof(header);
  header.e_phoff = header.e_shoff + sizeof(Elf64_Shdr);
  std::vector<std::byte> file = file_of(header, {load_of(0, kDataOffset, 0x1000)}, kDataOffset + 0x1000);
  Elf64_Shdr section{};
  section.sh_info = 1;
  std::memcpy(file.data() + header.e_shoff, &section, sizeof(section));
  const auto layout = elf_layout(file);
  ASSERT_TRUE(layout) << layout.error().message;
  EXPECT_EQ(layout->end_offset(), kDataOffset + 0x1000);

  section.sh_info = 0xffffffff;
  std::memcpy(file.data() + header.e_shoff, &section, sizeof(section));
  EXPECT_EQ(elf_layout(file).error().code, Code::kLimit);
}

TEST(ElfDump, refuses_every_file_that_is_cut_off) {
  const std::vector<Elf64_Phdr> segments = {load_of(0, kDataOffset, 0x100),
                                            load_of(0x1000, kDataOffset + 0x100, 0x100)};
  const std::vector<std::byte> file = file_of(header_for(segments.size()), segments, kDataOffset + 0x200);
  ASSERT_TRUE(elf_layout(file));
  for (size_t size = 0; size < file.size(); ++size) ASSERT_FALSE(elf_layout(std::span(file).first(size))) << size;
}

TEST(ElfDump, refuses_sizes_that_wrap_around) {
  const Elf64_Phdr hostile[] = {load_of(0, ~uint64_t{0}, 0x1000), load_of(0, kDataOffset, ~uint64_t{0}),
                                load_of(~uint64_t{0}, kDataOffset, 0x100)};
  for (const Elf64_Phdr& segment : hostile)
    EXPECT_FALSE(elf_layout(file_of(header_for(1), {segment}, kDataOffset + 0x200)));
  Elf64_Ehdr header = header_for(1);
  std::vector<std::byte> file = file_of(header, {load_of(0, kDataOffset, 0x100)}, kDataOffset + 0x200);
  header.e_phoff = ~uint64_t{0};
  std::memcpy(file.data(), &header, sizeof(header));
  EXPECT_FALSE(elf_layout(file));
}

TEST(ElfDump, says_what_it_does_not_support) {
  Elf64_Ehdr header = header_for(1);
  header.e_machine = EM_AARCH64;
  EXPECT_EQ(elf_layout(file_of(header, {load_of(0, kDataOffset, 1)}, 0x2000)).error().code, Code::kUnsupported);
  header = header_for(1);
  header.e_type = ET_EXEC;
  EXPECT_EQ(elf_layout(file_of(header, {load_of(0, kDataOffset, 1)}, 0x2000)).error().code, Code::kInvalid);
}

}  // namespace
}  // namespace hyperward::memory
