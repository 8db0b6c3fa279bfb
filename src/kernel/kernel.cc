#include "kernel/kernel.h"

#include <algorithm>

namespace hyperward::kernel {

bool Kernel::read_elsewhere(GuestVirtual address, std::span<std::byte> out) const {
  const auto physical = parts_.image.translate(address);
  if (physical && parts_.image.translate(address + out.size())) return memory_.read(*physical, out);
  return parts_.space.read(address, out);
}

std::optional<GuestPhysical> Kernel::translate(GuestVirtual address) const {
  if (const auto physical = parts_.direct_map.translate(address)) return physical;
  if (const auto physical = parts_.image.translate(address)) return physical;
  const auto translation = parts_.space.translate(address);
  if (!translation) return std::nullopt;
  return translation->address;
}

memory::AddressSpace Kernel::user_space(GuestVirtual pgd) const {
  // mm->pgd is the kernel's half of a KPTI pair, which maps all of the process too.
  constexpr GuestPhysical kNowhere{0x000ffffffffff000};
  return {memory_, translate(pgd).value_or(kNowhere), parts_.space.paging()};
}

GuestVirtual Kernel::percpu(GuestVirtual variable, unsigned cpu) const {
  HW_CHECK(cpu < parts_.percpu_offsets.size());
  return variable + parts_.percpu_offsets[cpu];
}

// The stack protector's secret of the first task is drawn anew by each boot (boot_init_stack_canary() in
// arch/x86/include/asm/stackprotector.h); the marks tell boots apart too, where KASLR is on.
uint64_t Kernel::boot_identity() const {
  const auto first_task = symbol("init_task");
  const auto field = parts_.types.field("task_struct", "stack_canary");
  const uint64_t canary = first_task && field ? read<uint64_t>(*first_task + field->offset_bytes).value_or(0) : 0;
  // FNV-1a: it tells apart, and does not tell the secret.
  uint64_t identity = 0xcbf29ce484222325;
  const auto add = [&](std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) identity = (identity ^ static_cast<uint64_t>(byte)) * 0x100000001b3;
  };
  add(std::as_bytes(std::span(&canary, 1)));
  for (const Mark& mark : parts_.marks) add(mark.bytes);
  return identity;
}

bool Kernel::is_running() const {
  std::vector<std::vector<std::byte>> now;
  std::vector<memory::Piece> pieces;
  now.reserve(parts_.marks.size());
  pieces.reserve(parts_.marks.size());
  for (const Mark& mark : parts_.marks) now.emplace_back(mark.bytes.size());
  for (size_t i = 0; i < now.size(); ++i) pieces.push_back({parts_.marks[i].address, now[i]});
  return memory_.read_many(pieces) && std::ranges::equal(now, parts_.marks, {}, {}, &Mark::bytes);
}

}  // namespace hyperward::kernel
