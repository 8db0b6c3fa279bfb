// Which running guest is meant, and the way to its memory.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "memory/physical_memory.h"
#include "vm/qemu.h"

namespace hyperward::daemon {

enum class Access : uint8_t {
  kAuto,    // mapped when QEMU's memory backend is shared, else by system calls
  kMapped,  // mapped or not at all
  kReadv,   // process_vm_readv, mapped or not
};

[[nodiscard]] Result<Access> access_from(std::string_view text);  // "auto", "mapped", "readv"

// A guest is named by one of these.
struct GuestSource {
  std::string name;  // QEMU's -name
  int pid = 0;       // its process
  std::string qmp;   // its QMP socket
  Access access = Access::kAuto;

  bool operator==(const GuestSource&) const = default;
};

[[nodiscard]] Result<vm::Qemu> find_qemu(const GuestSource& source);
// `libvirt_uri` is asked for the memory's layout when the monitor is libvirt's (vm/libvirt.h says what "" is).
[[nodiscard]] Result<std::unique_ptr<memory::PhysicalMemory>> open_memory(const vm::Qemu& qemu, Access access,
                                                                          const std::string& libvirt_uri = "");

}  // namespace hyperward::daemon
