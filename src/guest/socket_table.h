// One of the kernel's hash tables of sockets, whatever its slots look like; and the best of many sockets for a flow.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/net.h"
#include "base/result.h"
#include "guest/kernel_memory.h"
#include "guest/namespaces.h"
#include "guest/sock.h"

namespace hyperward::guest {

enum class Outcome { kFound, kAbsent, kInconsistent };

constexpr int kMaxChainRestarts = 4;

struct SocketTable {
  GuestVirtual slots;
  uint32_t mask = 0;
  uint32_t slot_bytes = 0;
  uint32_t head_offset = 0;
  uint32_t node_offset = 0;
  bool node_in_common = true;
  std::optional<uint64_t> nulls_base = std::nullopt;  // a slot's marker is this plus its number; none: plain hlists

  [[nodiscard]] Chain chain(uint32_t slot) const {
    Chain chain{.head = slots + uint64_t{slot} * slot_bytes + head_offset,
                .node_offset = node_offset,
                .node_in_common = node_in_common};
    if (nulls_base) chain.nulls_value = *nulls_base + slot;
    return chain;
  }
};

// Every sock of a table: void(const SockCommon&). A chain that changes under the walk is read again before any of it
// is visited. kLimit when the budget ends (a cycle, or a table beyond measure), kInconsistent when a chain leads
// nowhere.
template <typename Visit>
Result<void> walk_table(const KernelMemory& memory, const Layout& layout, const SocketTable& table, Budget& budget,
                        Visit&& visit) {
  if (table.slots.is_null()) return {};
  std::array<std::byte, memory::kPageSize> heads;
  const uint32_t slots_at_once = std::max<uint32_t>(1, static_cast<uint32_t>(heads.size()) / table.slot_bytes);
  std::vector<SockCommon> chain_socks;
  for (uint32_t slot = 0; slot <= table.mask; ++slot) {
    const uint32_t index = slot % slots_at_once;
    if (index == 0) {
      const size_t count = std::min(slots_at_once, table.mask - slot + 1);
      if (!memory.read(table.slots + uint64_t{slot} * table.slot_bytes,
                       std::span(heads).first(count * table.slot_bytes)))
        return fail(Code::kUnreadable, "the socket table at {:#x} is not there", table.slots.value);
    }
    uint64_t head = 0;
    std::memcpy(&head, heads.data() + size_t{index} * table.slot_bytes + table.head_offset, sizeof(head));
    if (head == 0 || (table.nulls_base && (head & 1) != 0)) continue;

    for (int restart = 0;; ++restart) {
      chain_socks.clear();
      const ChainEnd end = walk_chain(memory, layout, table.chain(slot), budget, [&](const SockCommon& sock) {
        chain_socks.push_back(sock);
        return false;
      });
      if (end == ChainEnd::kEnd) break;
      if (end == ChainEnd::kLimit)
        return fail(Code::kLimit, "the socket table at {:#x} has a cycle, or too many sockets", table.slots.value);
      if (restart == kMaxChainRestarts)
        return fail(Code::kInconsistent, "slot {} of the socket table at {:#x} leads astray", slot, table.slots.value);
      memory.forget();
    }
    for (const SockCommon& sock : chain_socks) visit(sock);
  }
  return {};
}

// The sockets that fit a flow equally well, which are several where they share a port (SO_REUSEPORT).
struct Candidates {
  static constexpr size_t kMax = 64;

  std::array<GuestVirtual, kMax> socks;
  size_t count = 0;
  int score = 0;
  bool overflow = false;

  void offer(GuestVirtual sock, int sock_score);  // a score of 0 is no offer
  void merge(const Candidates& other);
  [[nodiscard]] std::span<const GuestVirtual> all() const { return std::span(socks).first(count); }
};

// How well a listening or datagram socket fits, as compute_score() of net/ipv4/udp.c and net/ipv6/udp.c judges:
// connected before bound to the address before bound to any, IPv4's own before a dual-stack one. 0: not at all.
// Without a remote end only sockets that are not connected fit.
[[nodiscard]] int score(const SockCommon& sock, GuestVirtual net, const Endpoint& local, const Endpoint* remote);

// What lhash2 and udp_table.hash2 hash a bound socket by: ipv4_portaddr_hash(), ipv6_portaddr_hash().
[[nodiscard]] uint32_t port_address_hash(const IpAddress& address, uint16_t port, uint32_t hash_mix);

}  // namespace hyperward::guest
