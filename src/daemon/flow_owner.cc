#include "daemon/flow_owner.h"

#include <algorithm>
#include <cstring>

namespace hyperward::daemon {
namespace {

// hw_owner.flags: which of its facts are known.
constexpr uint8_t kHasUid = 1 << 0;
constexpr uint8_t kHasGid = 1 << 1;
constexpr uint8_t kHasProcess = 1 << 2;

}  // namespace

hw_owner pack(const guest::Owner& owner, uint32_t rule_line) {
  hw_owner packed{};
  packed.rule_line = rule_line;
  packed.how = static_cast<uint8_t>(owner.how);
  packed.reason = static_cast<uint8_t>(owner.reason);
  packed.socket = owner.evidence.socket.value;
  packed.inode = static_cast<uint32_t>(owner.evidence.inode);  // the kernel numbers sockets with 32 bits (get_next_ino)
  packed.state = static_cast<uint8_t>(owner.evidence.state);
  packed.fd = owner.evidence.fd;
  packed.network_namespace = owner.evidence.network_namespace;
  if (owner.uid) {
    packed.flags |= kHasUid;
    packed.uid = *owner.uid;
  }
  if (owner.gid) {
    packed.flags |= kHasGid;
    packed.gid = *owner.gid;
  }
  if (owner.process) {
    packed.flags |= kHasProcess;
    packed.pid = owner.process->pid;
    packed.start_time_ns = owner.process->start_time_ns;
    const size_t length = std::min(owner.process->comm.size(), sizeof(packed.comm) - 1);
    std::memcpy(packed.comm, owner.process->comm.data(), length);
  }
  return packed;
}

guest::Owner unpack(const hw_owner& packed) {
  guest::Owner owner;
  owner.how = static_cast<guest::How>(packed.how);
  owner.reason = static_cast<guest::Reason>(packed.reason);
  owner.evidence.socket = {packed.socket};
  owner.evidence.inode = packed.inode;
  owner.evidence.state = static_cast<guest::TcpState>(packed.state);
  owner.evidence.fd = packed.fd;
  owner.evidence.network_namespace = packed.network_namespace;
  if (packed.flags & kHasUid) owner.uid = packed.uid;
  if (packed.flags & kHasGid) owner.gid = packed.gid;
  if (packed.flags & kHasProcess) {
    const std::string comm(packed.comm, ::strnlen(packed.comm, sizeof(packed.comm)));
    owner.process = guest::ProcessId{.pid = packed.pid, .comm = comm, .start_time_ns = packed.start_time_ns};
  }
  return owner;
}

}  // namespace hyperward::daemon
