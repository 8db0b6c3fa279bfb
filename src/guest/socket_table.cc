#include "guest/socket_table.h"

#include <bit>

#include "guest/jhash.h"

namespace hyperward::guest {

TcpState SockCommon::state() const {
  const auto value = copy_.at<uint8_t>(at_->state);
  return value <= static_cast<uint8_t>(TcpState::kNewSynReceived) ? static_cast<TcpState>(value) : TcpState::kUnknown;
}

void Candidates::offer(GuestVirtual sock, int sock_score) {
  if (sock_score < score || sock_score == 0) return;
  if (sock_score > score) {
    score = sock_score;
    count = 0;
    overflow = false;
  }
  if (count == kMax) {
    overflow = true;
    return;
  }
  socks[count++] = sock;
}

void Candidates::merge(const Candidates& other) {
  for (const GuestVirtual sock : other.all()) offer(sock, other.score);
  if (other.overflow && other.score == score) overflow = true;
}

int score(const SockCommon& sock, GuestVirtual net, const Endpoint& local, const Endpoint* remote) {
  constexpr int kFits = 1;
  constexpr int kOwnFamily = 2;
  constexpr int kAddress = 4;
  constexpr int kConnected = 8;  // once for the remote address, once for the remote port

  if (sock.net() != net || sock.local_port() != local.port) return 0;
  const bool v6 = sock.family() == kFamilyV6;
  if (!v6 && sock.family() != kFamilyV4) return 0;
  if (local.address.is_v4() ? v6 && sock.v6_only() : !v6) return 0;

  int result = kFits + (v6 && local.address.is_v4() ? 0 : kOwnFamily);
  const IpAddress bound = sock.local_address();
  if (bound == local.address) {
    result += kAddress;
  } else if (!bound.is_unspecified()) {
    return 0;
  }
  if (const IpAddress peer = sock.remote_address(); !peer.is_unspecified()) {
    if (remote == nullptr || peer != remote->address) return 0;
    result += kConnected;
  }
  if (const uint16_t peer_port = sock.remote_port(); peer_port != 0) {
    if (remote == nullptr || peer_port != remote->port) return 0;
    result += kConnected;
  }
  return result;
}

uint32_t port_address_hash(const IpAddress& address, uint16_t port, uint32_t hash_mix) {
  if (address.is_v4()) return jhash_1word(address.v4_be(), hash_mix) ^ port;
  if (address.is_unspecified()) return jhash_1word(0, hash_mix) ^ port;
  return jhash_4words(std::bit_cast<std::array<uint32_t, 4>>(address.bytes()), hash_mix) ^ port;
}

}  // namespace hyperward::guest
