#include "guest/udp_sockets.h"

namespace hyperward::guest {
namespace {

bool is_multicast(const IpAddress& address) {
  if (address.is_v4()) return (address.bytes()[12] & 0xf0) == 0xe0 || address == IpAddress::v4(255, 255, 255, 255);
  return address.bytes()[0] == 0xff;
}

}  // namespace

SocketTable UdpSockets::port_table(const UdpTable& table) const {
  return {.slots = table.by_port,
          .mask = table.mask,
          .slot_bytes = layout_.udp.slot_bytes,
          .head_offset = layout_.udp.slot_head,
          .node_offset = layout_.common.node,
          .nulls_base = std::nullopt};
}

SocketTable UdpSockets::address_table(const UdpTable& table) const {
  return {.slots = table.by_address,
          .mask = table.mask,
          .slot_bytes = layout_.udp.address_slot_bytes,
          .head_offset = layout_.udp.slot_head,
          .node_offset = layout_.common.portaddr_node,
          .nulls_base = std::nullopt};
}

Outcome UdpSockets::find(const Namespace& space, const Endpoint& local, const Endpoint* remote, Budget& budget,
                         Candidates& found) const {
  if (space.udp.by_address.is_null()) return Outcome::kAbsent;
  const SocketTable table = address_table(space.udp);
  for (const IpAddress& bound : {local.address, IpAddress()}) {
    const uint32_t slot = port_address_hash(bound, local.port, space.hash_mix) & table.mask;
    ChainEnd end = ChainEnd::kBroken;
    for (int restart = 0; restart <= kMaxChainRestarts && end != ChainEnd::kEnd; ++restart) {
      Candidates in_chain;
      end = walk_chain(memory_, layout_, table.chain(slot), budget, [&](const SockCommon& sock) {
        // skc_u16hashes[1] is what hash2 is indexed by; another slot's: the socket was bound anew under us.
        if (((sock.hash() >> 16) & table.mask) != slot) return true;
        in_chain.offer(sock.address(), score(sock, space.net, local, remote));
        return false;
      });
      if (end == ChainEnd::kLimit) return Outcome::kInconsistent;
      if (end == ChainEnd::kEnd) found.merge(in_chain);
      if (end == ChainEnd::kStopped) memory_.forget();
    }
    if (end != ChainEnd::kEnd) return Outcome::kInconsistent;
    if (found.count != 0) return Outcome::kFound;
  }
  return find_by_port(space, local, remote, budget, found);
}

// For what hash2 cannot tell: a socket bound to a group sends from an address of the host's; and connect() sets a
// socket's address a moment before it moves it in hash2.
Outcome UdpSockets::find_by_port(const Namespace& space, const Endpoint& local, const Endpoint* remote, Budget& budget,
                                 Candidates& found) const {
  constexpr int kOnlyGroup = 1;
  const uint32_t slot = (local.port + space.hash_mix) & space.udp.mask;
  const ChainEnd end =
      walk_chain(memory_, layout_, port_table(space.udp).chain(slot), budget, [&](const SockCommon& sock) {
        int fits = score(sock, space.net, local, remote);
        if (fits == 0 && is_multicast(sock.local_address()))
          fits = score(sock, space.net, {sock.local_address(), local.port}, remote) != 0 ? kOnlyGroup : 0;
        found.offer(sock.address(), fits);
        return false;
      });
  if (end != ChainEnd::kEnd) return Outcome::kInconsistent;
  return found.count != 0 ? Outcome::kFound : Outcome::kAbsent;
}

}  // namespace hyperward::guest
