// What the daemon may do, by stages: it begins as root with everything, and gives up what it needs no more.
//
//   start     what follows, and to join groups and to give up. From the first line of the daemon until its
//             configuration is read.
//   running   what guests need that come and go. From before the first thread, for good.
//
// Capabilities belong to threads, and a thread begins with those of the one that starts it: so both stages are entered
// before any other thread is there. What a socket of the configuration needs its group for (chown to it) is allowed to
// its members: running joins these groups, and needs no CAP_CHOWN.
//
// This limits mistakes, and an attacker who can make one of its calls. It is no sandbox by itself: who may read every
// process, as this must, may also write them (CAP_SYS_PTRACE has no halves). The unit's filter of system calls and its
// read-only file system stand beside it (packaging/hyperward.service, whose CapabilityBoundingSet is this list).
#pragma once

#include <span>
#include <string>

#include "base/result.h"

namespace hyperward::daemon {

enum class Stage : uint8_t { kStart, kRunning };

struct Privilege {
  int capability;    // CAP_...
  const char* name;  // "cap_bpf", as capsh and libcap-ng have it, with the prefix
  Stage last;        // in which it is kept
  bool required;     // nothing can be guarded without it
  const char* why;
};

[[nodiscard]] std::span<const Privilege> privileges();

// No capability but those of the start, none for what is executed, no set-user-ID programs; no core dumps and nobody
// traces this process, which has read guests' memory. kPermission names what is required and missing.
[[nodiscard]] Result<void> enter_start();

// Joins the groups, by name; kInvalid: there is no such group. After that no capability but those of running is left.
[[nodiscard]] Result<void> enter_running(std::span<const std::string> groups);

}  // namespace hyperward::daemon
