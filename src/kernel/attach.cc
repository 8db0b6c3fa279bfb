// How a kernel is found, and why it is believed.
//
// VMCOREINFO leads to the kernel, but it is only a page of text. A process of the guest can forge one, and after a
// reboot the last kernel's may still lie about, with its page tables and tables of symbols whole: a reset does not
// clear RAM. So a note is a claim, and each of these must hold before it is believed:
//
//   - the page tables that it names map themselves and the kernel's text where it says, for the kernel alone;
//   - the release that it names is the one in init_uts_ns, and in linux_banner;
//   - the symbol tables lie in the image which those page tables map, decode, and put _stext where the note does;
//   - the note that the kernel itself points to, vmcoreinfo_note, says the same.
//
// What passes may still be another kernel, complete but forged or dead. What such a kernel cannot have is the
// trampoline: the page table in the lowest megabyte by which processors are woken, whose last entry the kernel that
// runs has copied from its own (setup_real_mode() in arch/x86/realmode/init.c). No process is given a page down there,
// and the next kernel writes over the last one's. A kernel with the only trampoline is the one, and ends the search.
// Otherwise all of memory is looked through, and two kernels are an error: a wrong answer is worse than none.
//
// The same things tell later whether the kernel still runs: Kernel::is_running().
#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "kernel/image.h"
#include "kernel/kallsyms.h"
#include "kernel/kernel.h"
#include "kernel/vmcoreinfo.h"

namespace hyperward::kernel {
namespace {

using memory::AddressSpace;
using memory::kPageSize;
using memory::PhysicalMemory;

// Different notes that agree with their page tables: a guest that runs has one. Each costs some milliseconds, so this
// bounds what forged ones do; who can forge that many knows the kernel's addresses already.
constexpr size_t kMaxNotes = 64;
constexpr unsigned kMaxCpus = 8192;
constexpr uint64_t kMaxBtfBytes = 64 << 20;
constexpr uint64_t kLowMemoryBytes = 1 << 20;
constexpr size_t kUtsNamespaceBytes = 512;  // holds struct new_utsname, wherever in the namespace it starts
constexpr size_t kNoteMarkBytes = 512;      // of the note: its first addresses, which KASLR moves
constexpr uint64_t kLastEntryOffset = kPageSize - sizeof(uint64_t);

// A note whose page tables agree with it.
struct Candidate {
  GuestPhysical note;
  std::string text;
  VmcoreInfo info;
  std::optional<GuestPhysical> trampoline;  // its page table

  [[nodiscard]] bool is_same_kernel(const Candidate& other) const {
    return info.swapper_pg_dir == other.info.swapper_pg_dir && info.stext == other.info.stext &&
           info.phys_base == other.info.phys_base;
  }
};

// 0 when there is none.
uint64_t last_entry(const PhysicalMemory& memory, GuestPhysical table) {
  uint64_t entry = 0;
  const bool is_read = memory.read(table + kLastEntryOffset, std::as_writable_bytes(std::span(&entry, 1)));
  return is_read ? entry : 0;
}

AddressSpace address_space_of(const PhysicalMemory& memory, const VmcoreInfo& info) {
  return {memory, info.image_physical(info.swapper_pg_dir), info.paging};
}

// The pages of the lowest megabyte by their last entry, if it may be a page table's: trampoline_pgd is among them, and
// rarely anything else.
std::map<uint64_t, GuestPhysical> find_trampolines(const PhysicalMemory& memory) {
  constexpr uint64_t kPresentAndWritable = 3;
  constexpr uint64_t kFlags = 0xfff;
  std::map<uint64_t, GuestPhysical> trampolines;
  for (GuestPhysical page{0}; page.value < kLowMemoryBytes; page = page + kPageSize) {
    const uint64_t entry = last_entry(memory, page);
    const bool is_table = (entry & kPresentAndWritable) == kPresentAndWritable && entry > kFlags;
    std::byte probe{};
    if (is_table && memory.read({entry & ~kFlags}, std::span(&probe, 1))) trampolines.emplace(entry, page);
  }
  return trampolines;
}

Result<void> check_page_tables(const PhysicalMemory& memory, const VmcoreInfo& info) {
  const AddressSpace space = address_space_of(memory, info);
  for (const GuestVirtual address : {info.swapper_pg_dir, info.stext, info.init_uts_ns}) {
    const auto translation = space.translate(address);
    if (!translation || translation->address != info.image_physical(address) || translation->user)
      return fail(Code::kNotFound, "its VMCOREINFO and its page tables disagree about {:#x}", address.value);
  }
  std::string uts(kUtsNamespaceBytes, '\0');
  if (!space.read(info.init_uts_ns, std::as_writable_bytes(std::span(uts))) ||
      uts.find(info.release + '\0') == std::string::npos)
    return fail(Code::kNotFound, "it calls itself {}, but its init_uts_ns does not", info.release);
  return {};
}

}  // namespace

// The steps from a candidate to a Kernel.
class Attachment {
 public:
  Attachment(const PhysicalMemory& memory, const Candidate& candidate)
      : memory_(memory),
        candidate_(candidate),
        info_(candidate.info),
        space_(address_space_of(memory, info_)),
        image_(space_, info_.stext, info_.image_size_limit_bytes) {}

  [[nodiscard]] Result<std::unique_ptr<Kernel>> run() const {
    HW_TRY(SymbolTables tables, find_symbol_tables(image_, info_));
    HW_TRY(Symbols symbols, Symbols::decode(std::move(tables), "_stext", info_.stext));
    HW_OK(check_symbols(symbols));
    HW_TRY(Types types, find_types(symbols));
    HW_TRY(const LinearMap direct_map, find_direct_map(symbols));
    HW_TRY(std::vector<uint64_t> percpu_offsets, read_percpu_offsets(symbols));
    const LinearMap image = image_map(symbols);
    return std::unique_ptr<Kernel>(new Kernel(memory_, {.release = info_.release,
                                                        .marks = marks(),
                                                        .space = space_,
                                                        .symbols = std::move(symbols),
                                                        .types = std::move(types),
                                                        .direct_map = direct_map,
                                                        .image = image,
                                                        .percpu_offsets = std::move(percpu_offsets)}));
  }

 private:
  // Data symbols are there only with CONFIG_KALLSYMS_ALL, which distributions set: each is checked if it is there.
  [[nodiscard]] Result<void> check_symbols(const Symbols& symbols) const {
    const std::pair<std::string_view, GuestVirtual> expected[] = {{"init_top_pgt", info_.swapper_pg_dir},
                                                                  {"init_uts_ns", info_.init_uts_ns}};
    for (const auto& [name, address] : expected) {
      const auto symbol = symbols.find(name);
      if (symbol && *symbol != address)
        return fail(Code::kInconsistent, "its VMCOREINFO and its symbols disagree about {}", name);
    }
    if (const auto note_pointer = symbols.find("vmcoreinfo_note")) {
      const auto note = image_.read<GuestVirtual>(*note_pointer);
      const auto translation = note ? space_.translate(*note) : std::nullopt;
      if (!translation || read_vmcoreinfo(memory_, translation->address) != candidate_.text)
        return fail(Code::kInconsistent, "the kernel does not know this VMCOREINFO as its own");
    }
    if (const auto banner = symbols.find("linux_banner")) {
      const std::string expected_banner = "Linux version " + info_.release + " ";
      std::string text(expected_banner.size(), '\0');
      if (!image_.read(*banner, std::as_writable_bytes(std::span(text))) || text != expected_banner)
        return fail(Code::kInconsistent, "it calls itself {}, but its banner does not", info_.release);
    }
    return {};
  }

  [[nodiscard]] Result<Types> find_types(const Symbols& symbols) const {
    const auto start = symbols.find("__start_BTF");
    const auto stop = symbols.find("__stop_BTF");
    if (start && stop) {
      const uint64_t size = stop->value - start->value;
      if (size > kMaxBtfBytes) return fail(Code::kLimit, "the kernel's BTF claims {} bytes", size);
      auto bytes = image_.read_bytes(*start, size);
      if (!bytes) return fail(Code::kInconsistent, "the kernel's BTF is not all there");
      return Types::parse(*std::move(bytes));
    }
    return fail(Code::kUnsupported, "kernel {} does not describe its types: it was built without CONFIG_DEBUG_INFO_BTF",
                info_.release);
  }

  [[nodiscard]] Result<LinearMap> find_direct_map(const Symbols& symbols) const {
    // __PAGE_OFFSET_BASE_L4 and _L5 where CONFIG_DYNAMIC_MEMORY_LAYOUT is off.
    GuestVirtual base{info_.paging.levels == 5 ? 0xff11000000000000 : 0xffff888000000000};
    if (const auto symbol = symbols.find("page_offset_base")) base = image_.read<GuestVirtual>(*symbol).value_or(base);
    const GuestPhysical known = info_.image_physical(info_.swapper_pg_dir);
    const auto translation = space_.translate(base + known.value);
    if (!translation || translation->address != known)
      return fail(Code::kInconsistent, "the direct map is not at {:#x}", base.value);
    const memory::Range& last = memory_.ram().back();
    return LinearMap{base, last.start.value + last.size_bytes, GuestPhysical{0}};
  }

  [[nodiscard]] std::vector<Kernel::Mark> marks() const {
    std::vector<std::pair<GuestPhysical, size_t>> places = {{candidate_.note, kNoteMarkBytes},
                                                            {space_.root() + kLastEntryOffset, sizeof(uint64_t)}};
    if (candidate_.trampoline) places.emplace_back(*candidate_.trampoline + kLastEntryOffset, sizeof(uint64_t));
    std::vector<Kernel::Mark> marks;
    for (const auto& [address, size] : places) {
      Kernel::Mark mark{address, std::vector<std::byte>(size)};
      if (memory_.read(address, mark.bytes)) marks.push_back(std::move(mark));
    }
    return marks;
  }

  [[nodiscard]] LinearMap image_map(const Symbols& symbols) const {
    const GuestVirtual end = symbols.find("_end").value_or(info_.stext);
    const bool is_plausible = end > info_.stext && end.value - info_.stext.value <= info_.image_size_limit_bytes;
    return {info_.stext, is_plausible ? end.value - info_.stext.value : 0, info_.image_physical(info_.stext)};
  }

  // __per_cpu_offset[nr_cpu_ids]. A kernel for one processor has neither, and offset 0.
  [[nodiscard]] Result<std::vector<uint64_t>> read_percpu_offsets(const Symbols& symbols) const {
    const auto table = symbols.find("__per_cpu_offset");
    if (!table) return std::vector<uint64_t>{0};
    uint32_t count = 1;
    if (const auto symbol = symbols.find("nr_cpu_ids")) count = image_.read<uint32_t>(*symbol).value_or(0);
    if (count == 0 || count > kMaxCpus) return fail(Code::kInconsistent, "the kernel claims {} processors", count);
    std::vector<uint64_t> offsets(count);
    if (!image_.read(*table, std::as_writable_bytes(std::span(offsets))))
      return fail(Code::kInconsistent, "the offsets of {} processors are not all there", count);
    return offsets;
  }

  const PhysicalMemory& memory_;
  const Candidate& candidate_;
  const VmcoreInfo& info_;
  AddressSpace space_;
  Image image_;
};

namespace {

// Goes through the notes, and ends with the kernel or why there is none.
class Search {
 public:
  explicit Search(const PhysicalMemory& memory) : memory_(memory), trampolines_(find_trampolines(memory)) {}

  // True when the kernel is found and no other can be.
  bool consider(GuestPhysical page) {
    const auto text = read_vmcoreinfo(memory_, page);
    auto info = text ? parse_vmcoreinfo(*text) : fail(Code::kNotFound, "its VMCOREINFO has changed");
    if (!info) return refuse(std::move(info).error());
    if (auto checked = check_page_tables(memory_, *info); !checked) return refuse(std::move(checked).error());
    const uint64_t entry = last_entry(memory_, info->image_physical(info->swapper_pg_dir));
    const auto found = trampolines_.find(entry);
    const bool has_trampoline = found != trampolines_.end();
    if (tried_.size() >= kMaxNotes || !tried_.insert(*text).second) return false;
    const Candidate candidate{page, *text, *std::move(info),
                              has_trampoline ? std::optional(found->second) : std::nullopt};
    if (has_trampoline && trampolines_.size() == 1) return accept(candidate);
    rivals_.push_back(candidate);
    return false;
  }

  [[nodiscard]] Result<std::unique_ptr<Kernel>> finish(uint64_t seen_bytes) && {
    if (found_ != nullptr) return std::move(found_);
    for (const bool with_trampoline : {true, false}) {
      HW_TRY(std::unique_ptr<Kernel> kernel, only_one(with_trampoline));
      if (kernel != nullptr) return kernel;
    }
    return within(std::move(error_), "find a Linux kernel in {} MiB of used memory", seen_bytes >> 20);
  }

 private:
  bool accept(const Candidate& candidate) {
    auto kernel = Attachment(memory_, candidate).run();
    if (!kernel) return refuse(std::move(kernel).error());
    found_ = *std::move(kernel);
    return true;
  }

  [[nodiscard]] Result<std::unique_ptr<Kernel>> only_one(bool with_trampoline) {
    std::unique_ptr<Kernel> kernel;
    const Candidate* winner = nullptr;
    for (const Candidate& rival : rivals_) {
      if (rival.trampoline.has_value() != with_trampoline || (winner != nullptr && rival.is_same_kernel(*winner)))
        continue;
      if (!accept(rival)) continue;
      if (kernel != nullptr)
        return fail(Code::kInconsistent, "find the guest's kernel: {} and {} both claim to be it", kernel->release(),
                    found_->release());
      kernel = std::move(found_);
      winner = &rival;
    }
    return kernel;
  }

  // What went wrong first says most: later notes are leftovers, or worse.
  bool refuse(Error error) {
    if (std::exchange(is_first_error_, false)) error_ = std::move(error);
    return false;
  }

  const PhysicalMemory& memory_;
  std::map<uint64_t, GuestPhysical> trampolines_;
  std::set<std::string> tried_;  // texts of notes
  std::vector<Candidate> rivals_;
  std::unique_ptr<Kernel> found_;
  bool is_first_error_ = true;
  Error error_{Code::kNotFound, "no VMCOREINFO (still in its firmware or boot loader, or another system?)"};
};

}  // namespace

Result<std::unique_ptr<Kernel>> Kernel::attach(const memory::PhysicalMemory& memory) {
  Search search(memory);
  HW_TRY(const uint64_t seen_bytes,
         for_each_vmcoreinfo(memory, [&](GuestPhysical page) { return search.consider(page); }));
  return std::move(search).finish(seen_bytes);
}

}  // namespace hyperward::kernel
