// The QEMU processes of this host, as /proc shows them.
#pragma once

#include <sys/types.h>

#include <cstdint>
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
  std::string uuid;                      // -uuid, or ""; libvirt gives every domain one
  std::vector<std::string> taps;         // taps_of(pid); empty too when we are not permitted to look
  uint64_t start_time = 0;               // in clock ticks since the host booted: tells a reused pid apart
};

// Errors: kNotFound no such process, kInvalid it is no QEMU, kPermission it is not ours to look at.
[[nodiscard]] Result<Qemu> qemu_by_pid(pid_t pid);
[[nodiscard]] Result<Qemu> qemu_by_name(std::string_view name);
[[nodiscard]] Result<Qemu> qemu_by_qmp(const std::string& path);

// Every QEMU that runs here, by pid. One that ends meanwhile is left out.
[[nodiscard]] std::vector<Qemu> all_qemus();

// The tap interfaces that a process holds open, whoever opened them for it: itself, libvirt or a helper that passed a
// descriptor, with vhost or without. Sorted, each once however many queues it has, and named as the tap's own network
// namespace has it. What a process says of itself has no part in this. Errors as above, kLimit too many descriptors.
[[nodiscard]] Result<std::vector<std::string>> taps_of(pid_t pid);

// `info mtree -f` of the machine, from the first of its monitors that answers; when none does and its domain is
// libvirt's, by way of libvirt (vm/libvirt.h, which says what "" is). Nothing when nobody tells.
[[nodiscard]] std::optional<std::string> memory_tree(const Qemu& qemu, const std::string& libvirt_uri = "");

// What a QEMU command line says of its name, its UUID and its monitors; pure.
[[nodiscard]] Qemu parse_command_line(pid_t pid, const std::vector<std::string>& arguments);

// The start time from the text of /proc/PID/stat, and the tap from that of /proc/PID/fdinfo/FD; pure.
[[nodiscard]] std::optional<uint64_t> parse_start_time(std::string_view stat);
[[nodiscard]] std::optional<std::string> parse_tap(std::string_view fdinfo);

}  // namespace hyperward::vm
