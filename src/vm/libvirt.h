// The domains that libvirt runs on this host, and its way to their monitors.
//
// A domain is known by its UUID: libvirt gives it to QEMU on the command line, so the process that runs a domain is the
// QEMU with its UUID and name. That needs no file of libvirt's (whose place differs between system and session), and no
// XML: the taps are those that the process really holds (vm::taps_of), also after a card was plugged in.
//
// A `uri` is libvirt's: "qemu:///system"; "" is $LIBVIRT_DEFAULT_URI, as virsh takes it, else qemu:///system. Calls
// wait for libvirt kLibvirtPatience at most. Errors: kNotFound no libvirt there or no such domain, kPermission not for
// us, kLimit it does not answer, kSystem anything else that it said.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "vm/qemu.h"

namespace hyperward::vm {

constexpr std::chrono::seconds kLibvirtPatience{5};

struct Domain {
  std::string name;
  std::string uuid;  // as text, in lower case
  Qemu qemu;         // its process, with pid and taps
};

// Those that run and have a QEMU here, by pid; over a read-only connection.
[[nodiscard]] Result<std::vector<Domain>> running_domains(const std::string& uri = "");

// `info mtree -f` over libvirt, which holds the domain's only QMP monitor and lends it to connections that may write.
// libvirt notes in its log, once per domain, that somebody used the monitor ("tainted: custom-monitor").
[[nodiscard]] Result<std::string> domain_memory_tree(const Qemu& qemu, const std::string& uri = "");

// Name and UUID of each domain, and the processes to find theirs among; pure. A domain without one is left out: it has
// just ended, or runs elsewhere.
[[nodiscard]] std::vector<Domain> join_domains(const std::vector<std::pair<std::string, std::string>>& domains,
                                               std::vector<Qemu> qemus);

}  // namespace hyperward::vm
