#include "guest/tcp_sockets.h"

#include <bit>

#include "guest/jhash.h"

namespace hyperward::guest {
namespace {

constexpr uint64_t kListeningNullsBase = uint64_t{1} << 29;  // LISTENING_NULLS_BASE, include/net/inet_hashtables.h
constexpr uint32_t kMaxSocksOfTable = 1 << 20;

bool is_flow(const SockCommon& sock, const Namespace& space, const Endpoint& local, const Endpoint& remote) {
  return sock.local_port() == local.port && sock.remote_port() == remote.port && sock.net() == space.net &&
         sock.local_address() == local.address && sock.remote_address() == remote.address;
}

}  // namespace

SocketTable TcpSockets::connection_table(const TcpTable& table) const {
  return {.slots = table.ehash,
          .mask = table.ehash_mask,
          .slot_bytes = sizeof(uint64_t),
          .head_offset = 0,
          .node_offset = layout_.common.nulls_node,
          .nulls_base = 0};
}

SocketTable TcpSockets::listener_table(const TcpTable& table) const {
  SocketTable result{.slots = table.listeners,
                     .mask = table.listeners_mask,
                     .slot_bytes = layout_.tcp.listener_bucket_bytes,
                     .head_offset = layout_.tcp.listener_head,
                     .node_offset = layout_.common.nulls_node,
                     .nulls_base = kListeningNullsBase};
  if (layout_.tcp.listener_node) {
    result.node_offset = *layout_.tcp.listener_node;
    result.node_in_common = false;
    result.nulls_base.reset();
  }
  return result;
}

TcpSockets::Words TcpSockets::words(const Namespace& space, const IpAddress& local, const IpAddress& remote) const {
  const bool v4 = local.is_v4();
  const GuestVirtual secret_address = v4 ? roots_.ehash_secret : roots_.ehash6_secret;
  if (secret_address.is_null() || (!v4 && roots_.ehash6_address_secret.is_null())) return {};
  const auto secret = memory_.read<uint32_t>(secret_address);
  if (!secret) return {};
  if (*secret == 0) return {.hashed = Hashed::kNever};
  Words result{.hashed = Hashed::kYes, .seed = *secret + space.hash_mix};
  if (v4) {
    result.local = local.v4_be();
    result.remote = remote.v4_be();
    return result;
  }
  const auto address_secret = memory_.read<uint32_t>(roots_.ehash6_address_secret);
  if (!address_secret) return {};
  result.local = std::bit_cast<std::array<uint32_t, 4>>(local.bytes())[3];
  result.remote = jhash_4words(std::bit_cast<std::array<uint32_t, 4>>(remote.bytes()), *address_secret);
  return result;
}

uint32_t TcpSockets::hash(Formula formula, const Words& words, uint16_t local_port, uint16_t remote_port) {
  const uint32_t remote_port_be = __builtin_bswap16(remote_port);
  if (formula == Formula::kPortAdded)
    return local_port + jhash_3words(words.local, words.remote, remote_port_be, words.seed);
  return jhash_3words(words.local, words.remote, uint32_t{local_port} << 16 | remote_port_be, words.seed);
}

void TcpSockets::prove(const Namespace& space, const SockCommon& sock) const {
  if (sock.net() != space.net) return;
  const IpAddress local = sock.local_address();
  const IpAddress remote = sock.remote_address();
  if (local.is_v4() != remote.is_v4()) return;
  auto& proven = proven_[local.is_v4() ? 0 : 1];
  if (proven) return;
  const Words hashed = words(space, local, remote);
  if (hashed.hashed != Hashed::kYes) return;
  for (const Formula formula : kFormulas)
    if (hash(formula, hashed, sock.local_port(), sock.remote_port()) == sock.hash()) proven = formula;
}

Outcome TcpSockets::look_in_slot(const Namespace& space, uint32_t hash, const Endpoint& local, const Endpoint& remote,
                                 Budget& budget, SockCommon& found) const {
  const uint32_t slot = hash & space.tcp.ehash_mask;
  const Chain chain = connection_table(space.tcp).chain(slot);
  for (int restart = 0; restart <= kMaxChainRestarts; ++restart) {
    const ChainEnd end = walk_chain(memory_, layout_, chain, budget, [&](const SockCommon& sock) {
      if (sock.hash() != hash || !is_flow(sock, space, local, remote)) return false;
      found = sock;
      return true;
    });
    if (end == ChainEnd::kStopped) return Outcome::kFound;
    if (end == ChainEnd::kEnd) return Outcome::kAbsent;
    if (end == ChainEnd::kLimit) return Outcome::kInconsistent;
    memory_.forget();
  }
  return Outcome::kInconsistent;
}

Outcome TcpSockets::look_everywhere(const Namespace& space, const Endpoint& local, const Endpoint& remote,
                                    SockCommon& found) const {
  bool is_found = false;
  Budget budget(kMaxSocksOfTable);
  const auto walked = walk_table(memory_, layout_, connection_table(space.tcp), budget, [&](const SockCommon& sock) {
    prove(space, sock);
    if (is_found || !is_flow(sock, space, local, remote)) return;
    is_found = true;
    found = sock;
  });
  if (is_found) return Outcome::kFound;
  return walked ? Outcome::kAbsent : Outcome::kInconsistent;
}

Outcome TcpSockets::connected(const Namespace& space, const Endpoint& local, const Endpoint& remote, Budget& budget,
                              SockCommon& found) const {
  if (local.address.is_v4() != remote.address.is_v4() || space.tcp.ehash.is_null()) return Outcome::kAbsent;
  const Words hashed = words(space, local.address, remote.address);
  if (hashed.hashed == Hashed::kNever) return Outcome::kAbsent;

  auto& proven = proven_[local.address.is_v4() ? 0 : 1];
  if (hashed.hashed == Hashed::kYes) {
    if (proven)
      return look_in_slot(space, hash(*proven, hashed, local.port, remote.port), local, remote, budget, found);
    for (const Formula formula : kFormulas) {
      const uint32_t expected = hash(formula, hashed, local.port, remote.port);
      if (look_in_slot(space, expected, local, remote, budget, found) != Outcome::kFound) continue;
      proven = formula;
      return Outcome::kFound;
    }
  }
  return look_everywhere(space, local, remote, found);
}

Outcome TcpSockets::listeners(const Namespace& space, const Endpoint& local, Budget& budget, Candidates& found) const {
  if (space.tcp.listeners.is_null()) return Outcome::kAbsent;
  const SocketTable table = listener_table(space.tcp);
  for (const IpAddress& bound : {local.address, IpAddress()}) {
    const uint32_t slot = port_address_hash(bound, local.port, space.hash_mix) & table.mask;
    ChainEnd end = ChainEnd::kBroken;
    for (int restart = 0; restart <= kMaxChainRestarts && end != ChainEnd::kEnd; ++restart) {
      Candidates in_chain;
      end = walk_chain(memory_, layout_, table.chain(slot), budget, [&](const SockCommon& sock) {
        if (sock.state() == TcpState::kListen) in_chain.offer(sock.address(), score(sock, space.net, local, nullptr));
        return false;
      });
      if (end == ChainEnd::kLimit) return Outcome::kInconsistent;
      if (end == ChainEnd::kEnd) found.merge(in_chain);
    }
    if (end != ChainEnd::kEnd) return Outcome::kInconsistent;
    if (found.count != 0) return Outcome::kFound;
  }
  return Outcome::kAbsent;
}

}  // namespace hyperward::guest
