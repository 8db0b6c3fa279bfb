// From a flow to its socket or sockets, and to the one owner that they agree on.
//
// A flow belongs to the socket that has exactly its endpoints (TCP), else to the sockets that would take a stranger's
// packets to its local end. Those may be several, where processes share a port: then an owner is named only if all of
// them have it. Of several network namespaces that could be meant the one counts that has the local address, and the
// initial one, whose addresses are the guest's own, before others.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "guest/addresses.h"
#include "guest/namespaces.h"
#include "guest/owners.h"
#include "guest/tcp_sockets.h"
#include "guest/udp_sockets.h"

namespace hyperward::guest {

class Flows {
 public:
  static constexpr int kMaxAttempts = 3;
  static constexpr uint32_t kMaxSocksPerLookup = 1 << 14;

  Flows(const KernelMemory& memory, const Layout& layout, Namespaces& namespaces, const TcpSockets& tcp,
        const UdpSockets& udp, const Addresses& addresses, Owners& owners)
      : memory_(memory),
        layout_(layout),
        namespaces_(namespaces),
        tcp_(tcp),
        udp_(udp),
        addresses_(addresses),
        owners_(owners) {}

  [[nodiscard]] Owner owner(Protocol protocol, const Endpoint& local, const Endpoint& remote) const;
  [[nodiscard]] bool listens(Protocol protocol, const Endpoint& local) const;

 private:
  [[nodiscard]] Owner tcp_owner(const Endpoint& local, const Endpoint& remote) const;
  [[nodiscard]] Owner tcp_sock_owner(const SockCommon& sock) const;
  [[nodiscard]] Owner listener_owner(const Endpoint& local, std::optional<GuestVirtual> only_net) const;
  [[nodiscard]] Owner udp_owner(const Endpoint& local, const Endpoint& remote) const;
  // Whose socket waits in one of the namespaces, of those that `find` finds there.
  using Find = std::function<Outcome(const Namespace&, Budget&, Candidates&)>;
  [[nodiscard]] Owner waiting_owner(const Endpoint& local, const Find& find) const;
  struct Hit {
    const Namespace* space = nullptr;
    Candidates candidates;
  };
  void keep_addressed(const Endpoint& local, Budget& budget, std::vector<Hit>& hits) const;
  [[nodiscard]] Owner agreed(const Candidates& candidates) const;
  void complete(Owner& owner, GuestVirtual net) const;

  const KernelMemory& memory_;
  const Layout& layout_;
  Namespaces& namespaces_;
  const TcpSockets& tcp_;
  const UdpSockets& udp_;
  const Addresses& addresses_;
  Owners& owners_;
};

}  // namespace hyperward::guest
