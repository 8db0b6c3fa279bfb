// VMCOREINFO: the note that a running kernel keeps for crash dumpers, and with it the way into its memory
// (Documentation/admin-guide/kdump/vmcoreinfo.rst, kernel/crash_core.c, arch/x86/kernel/crash_core_64.c).
//
// It stands alone in a page, as an ELF note. Any process of the guest can write a page that looks like it, and a
// kernel that ran before a reboot may have left one: what it says is a claim, to be checked against the page tables.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "memory/address.h"
#include "memory/address_space.h"
#include "memory/physical_memory.h"

namespace hyperward::kernel {

using memory::GuestPhysical;
using memory::GuestVirtual;

struct VmcoreInfo {
  std::string release;  // OSRELEASE
  GuestVirtual stext;
  GuestVirtual swapper_pg_dir;
  GuestVirtual init_uts_ns;
  uint64_t phys_base = 0;  // wraps: may stand for a negative number
  uint64_t image_size_limit_bytes = 0;
  memory::Paging paging;

  // From 6.0 on (5fd8fea935a1, "vmcoreinfo: include kallsyms symbols"); null where the kernel has no such table.
  struct Kallsyms {
    GuestVirtual names{};
    GuestVirtual num_syms{};
    GuestVirtual token_table{};
    GuestVirtual token_index{};
    GuestVirtual offsets{};
    GuestVirtual relative_base{};
    GuestVirtual addresses{};
  };
  std::optional<Kallsyms> kallsyms;

  // The kernel's image is contiguous in both address spaces.
  [[nodiscard]] GuestPhysical image_physical(GuestVirtual address) const;
};

// Parses the note's text. kInvalid when something that every supported kernel tells is missing.
[[nodiscard]] Result<VmcoreInfo> parse_vmcoreinfo(std::string_view text);

// The text of the note in the page `page`; nothing if it is none.
[[nodiscard]] std::optional<std::string> read_vmcoreinfo(const memory::PhysicalMemory& memory, GuestPhysical page);

// Calls `visit` for each page that starts like the note, until it returns true, and says how many bytes were looked
// through. From the top down: the kernel takes the page when it boots, and takes the highest that is free.
[[nodiscard]] Result<uint64_t> for_each_vmcoreinfo(const memory::PhysicalMemory& memory,
                                                   const std::function<bool(GuestPhysical page)>& visit);

}  // namespace hyperward::kernel
