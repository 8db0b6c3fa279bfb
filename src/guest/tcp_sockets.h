// TCP sockets: found by their two endpoints as the kernel itself finds them (net/ipv4/inet_hashtables.c,
// net/ipv6/inet6_hashtables.c).
//
// Whatever has a remote end (sockets that connect or are connected, TIME_WAIT, handshakes under way) is in one table,
// `ehash`, by a hash of both endpoints keyed with secrets of the guest's boot. How the hash is made has changed once;
// a formula is believed when it gives the hash that a live sock carries. Until one is proven, or when none is right, a
// sock that is not where the formulas point is looked for in the whole table.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "guest/namespaces.h"
#include "guest/socket_table.h"

namespace hyperward::guest {

class TcpSockets {
 public:
  TcpSockets(const KernelMemory& memory, const Layout& layout, const Roots& roots)
      : memory_(memory), layout_(layout), roots_(roots) {}

  // The sock with exactly these endpoints.
  [[nodiscard]] Outcome connected(const Namespace& space, const Endpoint& local, const Endpoint& remote, Budget& budget,
                                  SockCommon& found) const;
  // Adds the sockets that listen there.
  [[nodiscard]] Outcome listeners(const Namespace& space, const Endpoint& local, Budget& budget,
                                  Candidates& found) const;

  [[nodiscard]] SocketTable connection_table(const TcpTable& table) const;
  [[nodiscard]] SocketTable listener_table(const TcpTable& table) const;

 private:
  enum class Formula : uint8_t {
    kPortInWords,  // jhash_3words(local, remote, local_port << 16 | remote_port)
    kPortAdded,    // local_port + jhash_3words(local, remote, remote_port), since 6.16 ("inet: change lport
                   // contribution to inet_ehashfn() and inet6_ehashfn()")
  };
  static constexpr std::array kFormulas = {Formula::kPortInWords, Formula::kPortAdded};

  enum class Hashed : uint8_t { kYes, kNever, kUnknown };
  // The words that the formulas hash. kNever: the guest has not drawn its secret, so no sock was ever hashed.
  struct Words {
    Hashed hashed = Hashed::kUnknown;
    uint32_t local = 0, remote = 0, seed = 0;
  };

  [[nodiscard]] Words words(const Namespace& space, const IpAddress& local, const IpAddress& remote) const;
  [[nodiscard]] static uint32_t hash(Formula formula, const Words& words, uint16_t local_port, uint16_t remote_port);
  [[nodiscard]] Outcome look_in_slot(const Namespace& space, uint32_t hash, const Endpoint& local,
                                     const Endpoint& remote, Budget& budget, SockCommon& found) const;
  [[nodiscard]] Outcome look_everywhere(const Namespace& space, const Endpoint& local, const Endpoint& remote,
                                        SockCommon& found) const;
  void prove(const Namespace& space, const SockCommon& sock) const;

  const KernelMemory& memory_;
  const Layout& layout_;
  const Roots& roots_;
  mutable std::array<std::optional<Formula>, 2> proven_;  // for IPv4, for IPv6
};

}  // namespace hyperward::guest
