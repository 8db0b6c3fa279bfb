#include "memory/open.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "memory/cached_memory.h"
#include "memory/elf_dump.h"
#include "memory/mapped_memory.h"
#include "memory/process_handle.h"
#include "memory/process_memory.h"
#include "memory/qemu_process.h"

namespace hyperward::memory {
namespace {

// RAM that the layout may lack of what QEMU was told: the VGA window and the firmware's shadow.
constexpr uint64_t kMaxUnmappedBytes = 1 << 20;

Result<Layout> layout_of(std::span<const std::string> arguments, const OpenOptions& options, uint64_t size_bytes) {
  if (!options.mtree) return Layout::from_arguments(arguments);
  HW_TRY(Layout layout, Layout::from_mtree(*options.mtree));
  uint64_t mapped = 0;
  for (const Range& range : layout.ranges()) mapped += range.size_bytes;
  if (mapped > size_bytes || layout.end_offset() > size_bytes)
    return fail(Code::kInvalid, "the given `info mtree -f` is another guest's: its RAM is larger than {} MiB",
                size_bytes >> 20);
  if (mapped + kMaxUnmappedBytes < size_bytes)
    return fail(Code::kUnsupported, "the guest's RAM is spread over several memory backends");
  return layout;
}

// A look-up comes back to the same few pages: fetched once each, it takes half the time.
Result<std::unique_ptr<PhysicalMemory>> open_by_reads(pid_t pid, uint64_t host_address, Layout layout) {
  HW_TRY(auto memory, ProcessMemory::open(pid, host_address, std::move(layout)));
  return std::make_unique<CachedMemory>(std::move(memory));
}

Result<std::unique_ptr<PhysicalMemory>> open_ram(pid_t pid, const OpenOptions& options) {
  HW_TRY(const std::vector<std::string> arguments, qemu_arguments(pid));
  HW_TRY(const uint64_t size_bytes, ram_size_bytes(arguments));
  HW_TRY(Layout layout, layout_of(arguments, options, size_bytes));
  HW_TRY(const std::vector<HostMapping> mappings, read_maps(pid));
  if (options.ram_host_address) return open_by_reads(pid, *options.ram_host_address, std::move(layout));

  HW_TRY(const HostMapping ram, find_ram(mappings, size_bytes));
  const bool is_mappable = ram.shared && ram.inode != 0 && ram.offset == 0;
  if (!is_mappable || options.force_process_reads) return open_by_reads(pid, ram.start, std::move(layout));
  HW_TRY(Fd file, open_mapped_file(pid, ram));
  return MappedMemory::open(std::move(file), std::move(layout));
}

}  // namespace

Result<std::unique_ptr<PhysicalMemory>> open_process(pid_t pid, const OpenOptions& options) {
  // Held over all the steps, so that they are known to have looked at one process: its number may be reused.
  HW_TRY(const ProcessHandle process, ProcessHandle::open(pid));
  auto memory = open_ram(pid, options);
  if (!memory) return within(std::move(memory).error(), "open the guest of process {}", pid);
  if (!process.is_alive()) return fail(Code::kNotFound, "process {} has ended", pid);
  return memory;
}

Result<std::unique_ptr<PhysicalMemory>> open_dump(const std::filesystem::path& path, std::optional<Layout> layout) {
  Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return fail_errno(errno, fmt::format("open {}", path.native()));
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return fail_errno(errno, fmt::format("stat {}", path.native()));
  if (!S_ISREG(status.st_mode)) return fail(Code::kInvalid, "{} is no file", path.native());
  const auto size_bytes = static_cast<uint64_t>(status.st_size);
  if (size_bytes == 0) return fail(Code::kInvalid, "{} is empty", path.native());

  HW_TRY(const Mapping mapping, Mapping::read_only(file, size_bytes));
  constexpr std::string_view kCompressed = "KDUMP   ";
  if (size_bytes >= kCompressed.size() &&
      std::memcmp(mapping.bytes().data(), kCompressed.data(), kCompressed.size()) == 0)
    return fail(Code::kUnsupported, "{} is a compressed kdump; write a raw or an ELF dump", path.native());
  if (is_elf(mapping.bytes())) {
    auto elf = elf_layout(mapping.bytes());
    if (!elf) return within(std::move(elf).error(), "open {}", path.native());
    return MappedMemory::open(std::move(file), *std::move(elf));
  }
  return MappedMemory::open(std::move(file), layout ? *std::move(layout) : Layout::flat(size_bytes));
}

}  // namespace hyperward::memory
