#include "daemon/guest_source.h"

#include "memory/mapped_memory.h"
#include "memory/open.h"

namespace hyperward::daemon {

Result<Access> access_from(std::string_view text) {
  if (text == "auto") return Access::kAuto;
  if (text == "mapped") return Access::kMapped;
  if (text == "readv") return Access::kReadv;
  return fail(Code::kInvalid, "'{}' is no way to a guest's memory: write auto, mapped or readv", text);
}

Result<vm::Qemu> find_qemu(const GuestSource& source) {
  if (source.pid != 0) return vm::qemu_by_pid(source.pid);
  if (!source.qmp.empty()) return vm::qemu_by_qmp(source.qmp);
  return vm::qemu_by_name(source.name);
}

Result<std::unique_ptr<memory::PhysicalMemory>> open_memory(const vm::Qemu& qemu, Access access,
                                                            const std::string& libvirt_uri) {
  const std::optional<std::string> tree = vm::memory_tree(qemu, libvirt_uri);
  memory::OpenOptions options;
  if (tree) options.mtree = *tree;
  options.force_process_reads = access == Access::kReadv;
  HW_TRY(auto memory, memory::open_process(qemu.pid, options));
  if (access == Access::kMapped && dynamic_cast<const memory::MappedMemory*>(memory.get()) == nullptr)
    return fail(Code::kUnsupported, "the memory of QEMU process {} is not shared and cannot be mapped", qemu.pid);
  return memory;
}

}  // namespace hyperward::daemon
