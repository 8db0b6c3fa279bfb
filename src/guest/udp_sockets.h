// UDP sockets: found by the guest's end, and by the other end where a socket is connected (net/ipv4/udp.c).
//
// A socket is in two tables: `hash` by its port, `hash2` by its port and the address it is bound to. Both link it in
// plain lists. (hash4 of 6.13 and later repeats connected sockets for speed; they stay in hash2.)
#pragma once

#include <cstdint>

#include "guest/namespaces.h"
#include "guest/socket_table.h"

namespace hyperward::guest {

class UdpSockets {
 public:
  UdpSockets(const KernelMemory& memory, const Layout& layout) : memory_(memory), layout_(layout) {}

  // Adds the sockets that this flow may belong to, the best fitting ones. Without `remote`: those that are not
  // connected.
  [[nodiscard]] Outcome find(const Namespace& space, const Endpoint& local, const Endpoint* remote, Budget& budget,
                             Candidates& found) const;

  [[nodiscard]] SocketTable port_table(const UdpTable& table) const;

 private:
  [[nodiscard]] SocketTable address_table(const UdpTable& table) const;
  [[nodiscard]] Outcome find_by_port(const Namespace& space, const Endpoint& local, const Endpoint* remote,
                                     Budget& budget, Candidates& found) const;

  const KernelMemory& memory_;
  const Layout& layout_;
};

}  // namespace hyperward::guest
