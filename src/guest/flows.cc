#include "guest/flows.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace hyperward::guest {
namespace {

Owner unknown(Reason reason) {
  Owner owner;
  owner.reason = reason;
  return owner;
}

// The process that listens, for a connection that no process has yet.
Owner as_listener(Owner owner) {
  if (owner.process) owner.how = How::kListener;
  return owner;
}

}  // namespace

Owner Flows::owner(Protocol protocol, const Endpoint& local, const Endpoint& remote) const {
  Owner owner = unknown(Reason::kProtocol);
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    memory_.forget();
    namespaces_.refresh();
    if (protocol == Protocol::kTcp) owner = tcp_owner(local, remote);
    if (protocol == Protocol::kUdp) owner = udp_owner(local, remote);
    if (owner.reason != Reason::kInconsistent) break;
  }
  owner.evidence.protocol = protocol;
  return owner;
}

Owner Flows::tcp_owner(const Endpoint& local, const Endpoint& remote) const {
  Budget budget(kMaxSocksPerLookup);
  SockCommon sock;
  bool found = false;
  for (const Namespace& space : namespaces_.list()) {
    SockCommon here;
    const Outcome outcome = tcp_.connected(space, local, remote, budget, here);
    if (outcome == Outcome::kInconsistent) return unknown(Reason::kInconsistent);
    if (outcome == Outcome::kAbsent) continue;
    if (found) return unknown(Reason::kAmbiguous);
    found = true;
    sock = here;
    if (&space == namespaces_.list().data()) break;  // the initial namespace's is the guest's own
  }
  return found ? tcp_sock_owner(sock) : listener_owner(local, std::nullopt);
}

Owner Flows::tcp_sock_owner(const SockCommon& sock) const {
  if (sock.state() == TcpState::kTimeWait) {
    Owner owner = unknown(Reason::kTimeWait);
    owner.evidence = {.socket = sock.address(), .state = sock.state()};
    complete(owner, sock.net());
    return owner;
  }
  if (sock.state() == TcpState::kNewSynReceived) {
    SockCommon listener;
    if (!listener.load(memory_, layout_, sock.listener()) || listener.state() != TcpState::kListen ||
        listener.net() != sock.net() || listener.local_port() != sock.local_port())
      return unknown(Reason::kInconsistent);
    Owner owner = as_listener(owners_.owner(listener));
    complete(owner, sock.net());
    return owner;
  }
  Owner owner = owners_.owner(sock);
  if (owner.reason == Reason::kNotAccepted) {
    // The child has its listener's uid; who would accept it is who listens there.
    Owner listener = listener_owner(sock.local(), sock.net());
    if (listener.process && listener.uid == owner.uid) return listener;
  }
  complete(owner, sock.net());
  return owner;
}

Owner Flows::listener_owner(const Endpoint& local, std::optional<GuestVirtual> only_net) const {
  return as_listener(waiting_owner(local, [&](const Namespace& space, Budget& budget, Candidates& found) {
    return only_net && space.net != *only_net ? Outcome::kAbsent : tcp_.listeners(space, local, budget, found);
  }));
}

Owner Flows::udp_owner(const Endpoint& local, const Endpoint& remote) const {
  return waiting_owner(local, [&](const Namespace& space, Budget& budget, Candidates& found) {
    return udp_.find(space, local, &remote, budget, found);
  });
}

Owner Flows::waiting_owner(const Endpoint& local, const Find& find) const {
  Budget budget(kMaxSocksPerLookup);
  std::vector<Hit> hits;
  for (const Namespace& space : namespaces_.list()) {
    Candidates found;
    const Outcome outcome = find(space, budget, found);
    if (outcome == Outcome::kInconsistent) return unknown(Reason::kInconsistent);
    if (outcome == Outcome::kFound) hits.push_back({&space, found});
  }
  if (hits.size() > 1) keep_addressed(local, budget, hits);
  Candidates candidates;
  for (const Hit& hit : hits) candidates.merge(hit.candidates);
  return agreed(candidates);
}

void Flows::keep_addressed(const Endpoint& local, Budget& budget, std::vector<Hit>& hits) const {
  std::vector<Hit> addressed;
  std::ranges::copy_if(hits, std::back_inserter(addressed),
                       [&](const Hit& hit) { return addresses_.has(*hit.space, local.address, budget); });
  if (!addressed.empty()) hits = std::move(addressed);
  if (hits.front().space == namespaces_.list().data()) hits.resize(1);
}

Owner Flows::agreed(const Candidates& candidates) const {
  if (candidates.count == 0) return unknown(Reason::kNoSocket);
  if (candidates.overflow) return unknown(Reason::kAmbiguous);
  Owner result;
  for (size_t i = 0; i < candidates.count; ++i) {
    SockCommon sock;
    if (!sock.load(memory_, layout_, candidates.socks[i])) return unknown(Reason::kInconsistent);
    Owner owner = owners_.owner(sock);
    if (owner.reason == Reason::kInconsistent) return owner;
    complete(owner, sock.net());
    if (i == 0) {
      result = std::move(owner);
      continue;
    }
    if (owner.uid != result.uid) return unknown(Reason::kAmbiguous);
    if (owner.gid != result.gid) result.gid.reset();
    if (owner.process && result.process && *owner.process == *result.process) continue;
    result.process.reset();
    result.how = How::kSocketOnly;
    result.reason = Reason::kAmbiguous;
  }
  return result;
}

void Flows::complete(Owner& owner, GuestVirtual net) const {
  for (const Namespace& space : namespaces_.list()) {
    if (space.net != net) continue;
    owner.evidence.network_namespace = space.inum;
    return;
  }
}

bool Flows::listens(Protocol protocol, const Endpoint& local) const {
  memory_.forget();
  namespaces_.refresh();
  Budget budget(kMaxSocksPerLookup);
  return std::ranges::any_of(namespaces_.list(), [&](const Namespace& space) {
    Candidates candidates;
    if (protocol == Protocol::kTcp) return tcp_.listeners(space, local, budget, candidates) == Outcome::kFound;
    if (protocol == Protocol::kUdp) return udp_.find(space, local, nullptr, budget, candidates) == Outcome::kFound;
    return false;
  });
}

}  // namespace hyperward::guest
