// The Linux kernel found in a guest's memory: its symbols, its types, and reads by virtual address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/result.h"
#include "kernel/symbols.h"
#include "kernel/types.h"
#include "memory/address.h"
#include "memory/address_space.h"
#include "memory/physical_memory.h"

namespace hyperward::kernel {

using memory::GuestPhysical;
using memory::GuestVirtual;

class Kernel {
 public:
  // Finds the kernel in `memory`, which must outlive the Kernel. Needs nothing but the memory.
  // kNotFound when no Linux kernel is there (yet); kUnsupported when it lacks what is needed, and says what;
  // kInconsistent when several kernels claim to be the one.
  [[nodiscard]] static Result<std::unique_ptr<Kernel>> attach(const memory::PhysicalMemory& memory);

  [[nodiscard]] const std::string& release() const { return release_; }  // "6.1.0-31-cloud-amd64"

  [[nodiscard]] std::optional<GuestVirtual> symbol(std::string_view name) const { return symbols_.find(name); }
  // The symbol itself, or one that the compiler numbered: "inet_ehash_secret" finds "inet_ehash_secret.12".
  [[nodiscard]] std::optional<GuestVirtual> symbol_with_suffix(std::string_view stem) const {
    return symbols_.find_with_suffix(stem);
  }
  // Every symbol of the kernel itself (no modules), in the kernel's order. `type` is as in /proc/kallsyms.
  void for_each_symbol(const std::function<void(std::string_view name, GuestVirtual address, char type)>& visit) const {
    symbols_.for_each(visit);
  }

  [[nodiscard]] const Types& types() const { return types_; }

  // Copies from the kernel's address space into all of `out`; false, with `out` unspecified, when any byte is not
  // there. The direct map, where nearly every object of the kernel lies, needs no page walk.
  [[nodiscard]] bool read(GuestVirtual address, std::span<std::byte> out) const {
    const uint64_t physical = address.value - direct_map_.value;
    if (physical < direct_map_size_bytes_) return memory_.read({physical}, out);
    return read_elsewhere(address, out);
  }
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  [[nodiscard]] std::optional<T> read(GuestVirtual address) const {
    T value;
    if (!read(address, std::as_writable_bytes(std::span(&value, 1)))) return std::nullopt;
    return value;
  }

  [[nodiscard]] std::optional<GuestPhysical> translate(GuestVirtual address) const;
  [[nodiscard]] const memory::PhysicalMemory& memory() const { return memory_; }
  [[nodiscard]] const memory::AddressSpace& address_space() const { return space_; }
  // The user memory of a process, by its mm->pgd.
  [[nodiscard]] memory::AddressSpace user_space(GuestVirtual pgd) const;

  [[nodiscard]] unsigned cpu_count() const { return cpu_count_; }  // possible processors, online or not
  // The copy that `cpu` has of a per-cpu variable.
  [[nodiscard]] GuestVirtual percpu(GuestVirtual variable, unsigned cpu) const;

 private:
  friend class Attachment;

  Kernel(const memory::PhysicalMemory& memory, memory::AddressSpace space, Symbols symbols, Types types)
      : memory_(memory), space_(space), symbols_(std::move(symbols)), types_(std::move(types)) {}

  [[nodiscard]] bool read_elsewhere(GuestVirtual address, std::span<std::byte> out) const;

  const memory::PhysicalMemory& memory_;
  memory::AddressSpace space_;
  GuestVirtual direct_map_;
  uint64_t direct_map_size_bytes_ = 0;
  GuestVirtual image_;  // the kernel's own code and data, contiguous in both address spaces
  uint64_t image_size_bytes_ = 0;
  GuestPhysical image_physical_;
  std::string release_;
  Symbols symbols_;
  Types types_;
  unsigned cpu_count_ = 1;
  std::vector<uint64_t> percpu_offsets_;
};

}  // namespace hyperward::kernel
