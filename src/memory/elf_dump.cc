// QEMU's dump/dump.c: one PT_LOAD for each piece of RAM, or, with paging=true, one for each stretch of virtual memory
// that the processors' page tables map; then several name the same RAM, which lies in the file once. From 0xffff
// program headers on, their count stands in section header 0 (ELF's PN_XNUM).
#include "memory/elf_dump.h"

#include <elf.h>

#include <cstring>

#include "base/bytes.h"

namespace hyperward::memory {
namespace {

constexpr uint32_t kMaxProgramHeaders = 1U << 22;

}  // namespace

bool is_elf(std::span<const std::byte> file) {
  return file.size() >= SELFMAG && std::memcmp(file.data(), ELFMAG, SELFMAG) == 0;
}

Result<Layout> elf_layout(std::span<const std::byte> file) {
  const auto header = load<Elf64_Ehdr>(file, 0);
  if (!header || !is_elf(file)) return fail(Code::kInvalid, "no ELF file, or cut off in its header");
  if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
      header->e_machine != EM_X86_64)
    return fail(Code::kUnsupported, "this ELF dump is not of an x86-64 machine");
  if (header->e_type != ET_CORE) return fail(Code::kInvalid, "this ELF file is no dump (its type is not ET_CORE)");
  if (header->e_phentsize != sizeof(Elf64_Phdr))
    return fail(Code::kInvalid, "this ELF dump has program headers of {} bytes", header->e_phentsize);

  uint32_t count = header->e_phnum;
  if (count == PN_XNUM) {
    const auto section = load<Elf64_Shdr>(file, header->e_shoff);
    if (!section) return fail(Code::kInvalid, "this ELF dump is cut off: section header 0 is missing");
    count = section->sh_info;
  }
  if (count > kMaxProgramHeaders) return fail(Code::kLimit, "this ELF dump claims {} program headers", count);
  const auto table = slice(file, header->e_phoff, uint64_t{count} * sizeof(Elf64_Phdr));
  if (!table) return fail(Code::kInvalid, "this ELF dump is cut off in its {} program headers", count);

  std::vector<Segment> segments;
  for (uint32_t i = 0; i < count; ++i) {
    const auto segment = load<Elf64_Phdr>(*table, i * sizeof(Elf64_Phdr));
    if (segment->p_type != PT_LOAD || segment->p_filesz == 0) continue;
    if (!slice(file, segment->p_offset, segment->p_filesz))
      return fail(Code::kInvalid, "this ELF dump is cut off: {:#x} bytes at offset {:#x} are missing",
                  segment->p_filesz, segment->p_offset);
    segments.push_back({GuestPhysical{segment->p_paddr}, segment->p_filesz, segment->p_offset});
  }
  return Layout::of(std::move(segments));
}

}  // namespace hyperward::memory
