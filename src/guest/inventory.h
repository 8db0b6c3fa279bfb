// Every socket of the guest, with every process that holds it: `ss -tuanp` from outside.
#pragma once

#include <vector>

#include "base/result.h"
#include "guest/files.h"
#include "guest/namespaces.h"
#include "guest/tasks.h"
#include "guest/tcp_sockets.h"
#include "guest/types.h"
#include "guest/udp_sockets.h"

namespace hyperward::guest {

class Inventory {
 public:
  static constexpr uint32_t kMaxSockets = 1 << 18;

  Inventory(const KernelMemory& memory, const Layout& layout, Namespaces& namespaces, const TcpSockets& tcp,
            const UdpSockets& udp, const Tasks& tasks, const Files& files)
      : memory_(memory), layout_(layout), namespaces_(namespaces), tcp_(tcp), udp_(udp), tasks_(tasks), files_(files) {}

  [[nodiscard]] Result<std::vector<Socket>> sockets() const;
  // The one at that struct sock, without its holders; see Guest::socket().
  [[nodiscard]] Result<Socket> socket(GuestVirtual sock) const;

 private:
  struct Found {
    Socket socket;
    GuestVirtual file{};  // null when no process has it open
  };

  [[nodiscard]] Result<std::vector<Found>> all() const;
  [[nodiscard]] Result<Protocol> protocol_of(const SockCommon& sock) const;
  [[nodiscard]] Found describe(Protocol protocol, const SockCommon& sock) const;
  void describe_open(const SockCommon& sock, Found& found) const;
  void measure_queues(const SockCommon& sock, Socket& socket) const;
  [[nodiscard]] Result<void> find_holders(std::vector<Found>& sockets) const;

  const KernelMemory& memory_;
  const Layout& layout_;
  Namespaces& namespaces_;
  const TcpSockets& tcp_;
  const UdpSockets& udp_;
  const Tasks& tasks_;
  const Files& files_;
};

}  // namespace hyperward::guest
