// A guest for tests with as much of a Linux kernel in its memory as attaching needs, written by the test itself:
// page tables, VMCOREINFO, symbols, types, a trampoline.
//
//   guest-physical   0x9c000   the trampoline's page table
//                    1 MiB     page tables
//                    2 MiB     the image, 2 MiB, at kFakeImage; swapper_pg_dir is its first page
//                    6 MiB     VMCOREINFO; what the test allocates follows
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernel/fake_symbols.h"
#include "kernel/fake_types.h"
#include "memory/address.h"
#include "memory/fake_memory.h"

namespace hyperward::kernel {

constexpr memory::GuestVirtual kFakeImage{0xffffffff9ba00000};
constexpr memory::GuestVirtual kFakeDirectMap{0xffff9ab500000000 & ~((uint64_t{1} << 39) - 1)};
constexpr uint64_t kFakeImageBytes = 2 << 20;

struct FakeKernelOptions {
  std::string release = "6.1.0-50-cloud-amd64";
  unsigned levels = 4;
  AddressEncoding encoding = AddressEncoding::kPercpuAbsolute;
  bool note_names_kallsyms = true;  // as from 6.0 on; else the old order of tables, to be searched for
  bool has_symbols = true;
  bool has_types = true;
  bool has_note = true;
  bool has_trampoline = true;
  bool has_data_symbols = true;  // CONFIG_KALLSYMS_ALL
  uint64_t physical_offset = 0;  // where all of it starts, but for the trampoline
  unsigned cpus = 2;
  FakeTypes types{};
};

class FakeKernel {
 public:
  // Writes the kernel into `memory`, which must hold 8 MiB from options.physical_offset on.
  FakeKernel(memory::FakeMemory& memory, FakeKernelOptions options) : memory_(memory), options_(std::move(options)) {
    write_page_tables();
    write_image();
    if (options_.has_note) write_note(physical(kNote), note_text());
    if (options_.has_trampoline) write_trampoline();
  }

  // Space for the test's own objects: page-aligned, in the direct map.
  [[nodiscard]] memory::GuestVirtual allocate(uint64_t size_bytes) {
    const uint64_t at = next_free_;
    next_free_ += (size_bytes + memory::kPageSize - 1) & ~(memory::kPageSize - 1);
    return kFakeDirectMap + physical(at).value;
  }
  template <typename T>
  void put(memory::GuestVirtual address, const T& value) {
    memory_.put(where(address), value);
  }

  // The guest-physical address of one in the image or the direct map.
  [[nodiscard]] memory::GuestPhysical where(memory::GuestVirtual address) const {
    if (address >= kFakeImage) return physical(kImage + (address.value - kFakeImage.value));
    return {address.value - kFakeDirectMap.value};
  }
  [[nodiscard]] memory::GuestVirtual address_of(std::string_view symbol) const {
    const auto found = std::ranges::find(symbols_, symbol, &FakeSymbol::name);
    HW_CHECK(found != symbols_.end());
    return found->address;
  }
  [[nodiscard]] const std::vector<FakeSymbol>& symbols() const { return symbols_; }
  [[nodiscard]] memory::GuestPhysical note() const { return physical(kNote); }
  [[nodiscard]] memory::GuestPhysical page_table() const { return physical(kImage); }

  [[nodiscard]] std::string note_text() const {
    const auto phys_base = static_cast<int64_t>(physical(kImage).value - (kFakeImage.value - 0xffffffff80000000));
    std::string text =
        fmt::format("OSRELEASE={}\nPAGESIZE=4096\nSYMBOL(init_uts_ns)={:x}\n", options_.release, uts_.value);
    text += fmt::format("SYMBOL(swapper_pg_dir)={:x}\nSYMBOL(_stext)={:x}\n", kFakeImage.value, kFakeImage.value);
    if (options_.note_names_kallsyms) {
      text += fmt::format("SYMBOL(kallsyms_names)={:x}\nSYMBOL(kallsyms_num_syms)={:x}\n", names_.value, count_.value);
      text += fmt::format("SYMBOL(kallsyms_token_table)={:x}\n", token_table_.value);
      text += fmt::format("SYMBOL(kallsyms_token_index)={:x}\n", token_index_.value);
      const bool is_absolute = options_.encoding == AddressEncoding::kAbsolute;
      text += fmt::format("SYMBOL(kallsyms_{})={:x}\n", is_absolute ? "addresses" : "offsets", offsets_.value);
      if (!is_absolute && options_.encoding != AddressEncoding::kSelfRelative)
        text += fmt::format("SYMBOL(kallsyms_relative_base)={:x}\n", relative_base_.value);
    }
    text +=
        fmt::format("NUMBER(phys_base)={}\nNUMBER(pgtable_l5_enabled)={}\n", phys_base, options_.levels == 5 ? 1 : 0);
    text += "NUMBER(KERNEL_IMAGE_SIZE)=1073741824\nNUMBER(sme_mask)=0\n";
    return text;
  }

  // A page that claims to be the note.
  void write_note(memory::GuestPhysical page, const std::string& text) {
    const uint32_t head[] = {11, static_cast<uint32_t>(text.size()), 0};
    memory_.write(page, std::as_bytes(std::span(head)));
    memory_.write(page + sizeof(head), std::as_bytes(std::span(std::string_view("VMCOREINFO\0\0", 12))));
    memory_.write(page + sizeof(head) + 12, std::as_bytes(std::span(text)));
  }

  void write_trampoline() {
    uint64_t entry = 0;
    HW_CHECK(memory_.read(page_table() + kLastEntry, std::as_writable_bytes(std::span(&entry, 1))));
    memory_.put({0x9c000 + kLastEntry}, entry);
  }

 private:
  static constexpr uint64_t kTables = 1 << 20;
  static constexpr uint64_t kImage = 2 << 20;
  static constexpr uint64_t kNote = 6 << 20;
  static constexpr uint64_t kLastEntry = 511 * sizeof(uint64_t);
  static constexpr size_t kTaskBytes = 64;
  static constexpr size_t kFillers = 1200;  // a kernel with hardly any symbols is none

  [[nodiscard]] memory::GuestPhysical physical(uint64_t offset) const { return {options_.physical_offset + offset}; }

  static uint64_t index(memory::GuestVirtual address, unsigned level) {
    return (address.value >> (12 + 9 * (level - 1))) & 511;
  }

  void write_page_tables() {
    constexpr uint64_t kTable = 0x067;
    constexpr uint64_t kKernelTable = 0x063;
    constexpr uint64_t kLargePage = 0x1e3;
    const memory::GuestPhysical image_upper = physical(kTables);
    const memory::GuestPhysical image_middle = physical(kTables + 0x1000);
    const memory::GuestPhysical direct_upper = physical(kTables + 0x2000);
    memory::GuestPhysical top = physical(kImage);  // swapper_pg_dir
    if (options_.levels == 5) {
      const memory::GuestPhysical fourth = physical(kTables + 0x3000);
      memory_.put(top + index(kFakeImage, 5) * 8, fourth.value | kTable);
      memory_.put(top + index(kFakeDirectMap, 5) * 8, fourth.value | kTable);
      top = fourth;
    }
    memory_.put(top + index(kFakeImage, 4) * 8, image_upper.value | kTable);
    memory_.put(image_upper + index(kFakeImage, 3) * 8, image_middle.value | kKernelTable);
    memory_.put(image_middle + index(kFakeImage, 2) * 8, physical(kImage).value | kLargePage);
    memory_.put(top + index(kFakeDirectMap, 4) * 8, direct_upper.value | kKernelTable);
    memory_.put(direct_upper, uint64_t{0} | kLargePage);
  }

  // Puts bytes into the image, aligned as the kernel does it.
  memory::GuestVirtual place(std::span<const std::byte> bytes) {
    next_in_image_ = (next_in_image_ + 7) & ~uint64_t{7};
    const memory::GuestVirtual address = kFakeImage + next_in_image_;
    memory_.write(physical(kImage + next_in_image_), bytes);
    next_in_image_ += bytes.size();
    HW_CHECK(next_in_image_ <= kFakeImageBytes);
    return address;
  }
  template <typename T>
  memory::GuestVirtual place_value(const T& value) {
    return place(std::as_bytes(std::span(&value, 1)));
  }

  void write_image() {
    const std::string banner = "Linux version " + options_.release + " (builder@host) #1 SMP\n";
    const memory::GuestVirtual linux_banner = place(std::as_bytes(std::span(banner)));
    std::string uts(4 + 390, '\0');
    uts.replace(4 + 2 * 65, options_.release.size(), options_.release);
    uts_ = place(std::as_bytes(std::span(uts)));
    const memory::GuestVirtual page_offset_base = place_value(kFakeDirectMap.value);
    const memory::GuestVirtual vmcoreinfo_note = place_value(kFakeDirectMap.value + physical(kNote).value);
    const memory::GuestVirtual nr_cpu_ids = place_value(options_.cpus);
    std::vector<uint64_t> percpu(options_.cpus);
    for (size_t i = 0; i < percpu.size(); ++i) percpu[i] = kFakeDirectMap.value + 0x100000 * i;
    const memory::GuestVirtual init_task = place(std::vector<std::byte>(kTaskBytes));
    const memory::GuestVirtual per_cpu_offset = place(std::as_bytes(std::span(percpu)));
    const std::vector<std::byte> btf = options_.types.build();
    const memory::GuestVirtual start_btf = place(btf);

    symbols_ = {{"_stext", kFakeImage}, {"_text", kFakeImage}};
    if (options_.has_data_symbols) {
      symbols_.insert(symbols_.end(), {{"linux_banner", linux_banner, 'D'},
                                       {"init_uts_ns", uts_, 'D'},
                                       {"init_top_pgt", kFakeImage, 'D'},
                                       {"page_offset_base", page_offset_base, 'D'},
                                       {"vmcoreinfo_note", vmcoreinfo_note, 'B'},
                                       {"init_task", init_task, 'D'},
                                       {"nr_cpu_ids", nr_cpu_ids, 'D'},
                                       {"__per_cpu_offset", per_cpu_offset, 'D'}});
    }
    if (options_.has_types)
      symbols_.insert(symbols_.end(), {{"__start_BTF", start_btf, 'R'}, {"__stop_BTF", start_btf + btf.size(), 'R'}});
    for (size_t i = 0; i < kFillers; ++i) symbols_.push_back({fmt::format("function_{}", i), kFakeImage + 64 * i, 't'});
    symbols_.push_back({"_end", kFakeImage + kFakeImageBytes, 'B'});
    if (options_.has_symbols) write_symbols();
  }

  // In the order of kernels up to 6.5.
  void write_symbols() {
    next_in_image_ = (next_in_image_ + 7) & ~uint64_t{7};
    const uint64_t base = kFakeImage.value;
    const FakeSymbolTable table = compress_symbols(symbols_, options_.encoding, base, kFakeImage + next_in_image_);
    offsets_ = place(table.offsets);
    relative_base_ = place_value(base);
    count_ = place_value(static_cast<uint32_t>(symbols_.size()));
    names_ = place(table.names);
    place(std::as_bytes(std::span(table.markers)));
    token_table_ = place(table.token_table);
    token_index_ = place_value(table.token_index);
  }

  memory::FakeMemory& memory_;
  FakeKernelOptions options_;
  uint64_t next_free_ = kNote + memory::kPageSize;
  uint64_t next_in_image_ = memory::kPageSize;  // behind swapper_pg_dir
  std::vector<FakeSymbol> symbols_;
  memory::GuestVirtual uts_;
  memory::GuestVirtual offsets_;
  memory::GuestVirtual relative_base_;
  memory::GuestVirtual count_;
  memory::GuestVirtual names_;
  memory::GuestVirtual token_table_;
  memory::GuestVirtual token_index_;
};

}  // namespace hyperward::kernel
