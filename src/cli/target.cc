#include "cli/target.h"

#include "memory/open.h"

namespace hyperward::cli {
void Target::add_options(CLI::App& command) {
  auto* by_pid = command.add_option("--pid", guest.pid, "the guest's QEMU process")->check(CLI::PositiveNumber);
  auto* by_qmp = command.add_option("--qmp", guest.qmp, "the guest's QMP socket");
  auto* by_file = command.add_option("--memory", memory_file, "a dump of the guest's memory, raw or ELF");
  by_pid->excludes(by_qmp)->excludes(by_file);
  by_qmp->excludes(by_file);
  command.add_option("--access", access, "how to reach the guest's memory")
      ->check(CLI::IsMember({"auto", "mapped", "readv"}))
      ->capture_default_str();
}

Result<std::unique_ptr<memory::PhysicalMemory>> open_memory(const Target& target) {
  const int ways = int{!target.guest.name.empty()} + int{target.guest.pid != 0} + int{!target.guest.qmp.empty()} +
                   int{!target.memory_file.empty()};
  if (ways == 0) return fail(Code::kInvalid, "name a guest: its name, --pid, --qmp or --memory");
  if (ways > 1) return fail(Code::kInvalid, "name the guest in one way only: its name, --pid, --qmp or --memory");
  if (!target.memory_file.empty()) return memory::open_dump(target.memory_file);

  HW_TRY(const vm::Qemu qemu, daemon::find_qemu(target.guest));
  HW_TRY(const daemon::Access access, daemon::access_from(target.access));
  return daemon::open_memory(qemu, access);
}

}  // namespace hyperward::cli
