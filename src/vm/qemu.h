// The QEMU processes of this host, as /proc shows them.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hyperward::vm {

struct Qemu {
  pid_t pid = 0;
  std::string name;                      // -name, or "" when it has none
  std::vector<std::string> qmp_sockets;  // Unix sockets of its QMP monitors, as its command line names them
};

// Errors: kNotFound no such process, kInvalid it is no QEMU, kPermission it is not ours to look at.
[[nodiscard]] Result<Qemu> qemu_by_pid(pid_t pid);
[[nodiscard]] Result<Qemu> qemu_by_name(std::string_view name);
[[nodiscard]] Result<Qemu> qemu_by_qmp(const std::string& path);

// `info mtree -f` of the machine, from the first of its monitors that answers; nothing when none does.
[[nodiscard]] std::optional<std::string> memory_tree(const Qemu& qemu);

// What a QEMU command line says of its name and its monitors; pure.
[[nodiscard]] Qemu parse_command_line(pid_t pid, const std::vector<std::string>& arguments);

}  // namespace hyperward::vm
