// The Linux kernel found in a guest's memory: its symbols, its types, and reads by virtual address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/result.h"
#include "kernel/symbols.h"
#include "kernel/types.h"
#include "memory/address.h"
#include "memory/address_space.h"
#include "memory/physical_memory.h"

namespace hyperward::kernel {

using memory::GuestPhysical;
using memory::GuestVirtual;

// A stretch of the kernel's address space that is contiguous in guest-physical memory too: it needs no page walk.
struct LinearMap {
  GuestVirtual start;
  uint64_t size_bytes = 0;
  GuestPhysical physical;

  [[nodiscard]] std::optional<GuestPhysical> translate(GuestVirtual address) const {
    const uint64_t within = address.value - start.value;
    if (within >= size_bytes) return std::nullopt;
    return physical + within;
  }
};

class Kernel {
 public:
  // Finds the kernel in `memory`, which must outlive the Kernel. Needs nothing but the memory.
  // kNotFound when no Linux kernel is there (yet); kUnsupported when it lacks what is needed, and says what;
  // kInconsistent when several kernels claim to be the one that runs.
  [[nodiscard]] static Result<std::unique_ptr<Kernel>> attach(const memory::PhysicalMemory& memory);

  [[nodiscard]] const std::string& release() const { return parts_.release; }  // "6.1.0-31-cloud-amd64"

  [[nodiscard]] std::optional<GuestVirtual> symbol(std::string_view name) const { return parts_.symbols.find(name); }
  // The symbol itself, or one that the compiler numbered: "inet_ehash_secret" finds "inet_ehash_secret.12".
  [[nodiscard]] std::optional<GuestVirtual> symbol_with_suffix(std::string_view stem) const {
    return parts_.symbols.find_with_suffix(stem);
  }
  // Every symbol of the kernel itself (no modules), in the kernel's order; its type is as in /proc/kallsyms.
  void for_each_symbol(const Symbols::Visit& visit) const { parts_.symbols.for_each(visit); }
  [[nodiscard]] const Symbols& symbols() const { return parts_.symbols; }

  [[nodiscard]] const Types& types() const { return parts_.types; }

  // Copies from the kernel's address space into all of `out`; false, with `out` unspecified, when any byte is not
  // there. Nearly every object of the kernel lies in the direct map.
  [[nodiscard]] bool read(GuestVirtual address, std::span<std::byte> out) const {
    if (const auto physical = parts_.direct_map.translate(address)) return memory_.read(*physical, out);
    return read_elsewhere(address, out);
  }
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  [[nodiscard]] std::optional<T> read(GuestVirtual address) const {
    T value;
    if (!read(address, std::as_writable_bytes(std::span(&value, 1)))) return std::nullopt;
    return value;
  }

  // Where `address` lies; nothing when it is not mapped.
  [[nodiscard]] std::optional<GuestPhysical> translate(GuestVirtual address) const;
  [[nodiscard]] const memory::PhysicalMemory& memory() const { return memory_; }
  [[nodiscard]] const memory::AddressSpace& address_space() const { return parts_.space; }
  // The memory of a process, by its mm->pgd. A pgd that is no address of the kernel gives a space with nothing in it.
  [[nodiscard]] memory::AddressSpace user_space(GuestVirtual pgd) const;

  // False once the guest has booted another kernel, or its memory is gone: attach again then. Looks past any cache.
  // Between a reset and the new kernel's first steps the old one still counts as running.
  [[nodiscard]] bool is_running() const;

  // Another one for each boot, whether KASLR moves the kernel or not. As with all of this: the guest's word.
  [[nodiscard]] uint64_t boot_identity() const;

  // Possible processors, online or not.
  [[nodiscard]] unsigned cpu_count() const { return static_cast<unsigned>(parts_.percpu_offsets.size()); }
  // The copy that `cpu`, below cpu_count(), has of a per-cpu variable.
  [[nodiscard]] GuestVirtual percpu(GuestVirtual variable, unsigned cpu) const;

 private:
  friend class Attachment;

  // Bytes that no kernel changes and the next one has otherwise.
  struct Mark {
    GuestPhysical address;
    std::vector<std::byte> bytes;
  };

  struct Parts {
    std::string release;
    std::vector<Mark> marks;
    memory::AddressSpace space;
    Symbols symbols;
    Types types;
    LinearMap direct_map;
    LinearMap image;
    std::vector<uint64_t> percpu_offsets;
  };

  Kernel(const memory::PhysicalMemory& memory, Parts parts) : memory_(memory), parts_(std::move(parts)) {}

  [[nodiscard]] bool read_elsewhere(GuestVirtual address, std::span<std::byte> out) const;

  const memory::PhysicalMemory& memory_;
  Parts parts_;
};

}  // namespace hyperward::kernel
