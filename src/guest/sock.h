// struct sock, its smaller kin, and the chains that link them in the kernel's hash tables.
//
// sock_common begins a sock, an inet_timewait_sock and a request_sock alike; skc_state tells which it is. TCP's are
// freed and made anew in place (SLAB_TYPESAFE_BY_RCU): a sock that was found may be another one by now, so whoever
// follows its pointers reads sock_common again afterwards. A sock may also move to another chain while we stand on
// it: chains of TCP end in a "nulls" marker that names their slot (Documentation/RCU/rculist_nulls.rst), and the
// hash that UDP keeps in the sock tells its slot; when that is not where the walk began, the walk starts again.
#pragma once

#include <cstdint>
#include <optional>

#include "base/net.h"
#include "guest/kernel_memory.h"
#include "guest/layout.h"
#include "guest/types.h"

namespace hyperward::guest {

constexpr uint16_t kFamilyV4 = 2;   // AF_INET
constexpr uint16_t kFamilyV6 = 10;  // AF_INET6

// A copy of sock_common.
class SockCommon {
 public:
  [[nodiscard]] bool load(const KernelMemory& memory, const Layout& layout, GuestVirtual sock) {
    at_ = &layout.common;
    address_ = sock;
    return copy_.load(memory, sock, at_->extent);
  }

  [[nodiscard]] GuestVirtual address() const { return address_; }
  [[nodiscard]] uint16_t family() const { return copy_.at<uint16_t>(at_->family); }
  [[nodiscard]] TcpState state() const;
  [[nodiscard]] uint32_t hash() const { return copy_.at<uint32_t>(at_->hash); }
  [[nodiscard]] GuestVirtual net() const { return copy_.pointer(at_->net); }
  [[nodiscard]] GuestVirtual listener() const { return copy_.pointer(at_->listener); }
  [[nodiscard]] uint64_t flags() const { return copy_.at<uint64_t>(at_->flags); }
  [[nodiscard]] GuestVirtual pointer(uint32_t offset) const { return copy_.pointer(offset); }
  [[nodiscard]] uint16_t local_port() const { return copy_.at<uint16_t>(at_->local_port); }
  [[nodiscard]] uint16_t remote_port() const { return __builtin_bswap16(copy_.at<uint16_t>(at_->remote_port_be)); }
  [[nodiscard]] bool v6_only() const {
    return ((copy_.at<uint8_t>(at_->ipv6_only_byte) >> at_->ipv6_only_bit) & 1) != 0;
  }
  [[nodiscard]] IpAddress local_address() const { return address_at(at_->local_v4, at_->local_v6); }
  [[nodiscard]] IpAddress remote_address() const { return address_at(at_->remote_v4, at_->remote_v6); }
  [[nodiscard]] Endpoint local() const { return {local_address(), local_port()}; }
  [[nodiscard]] Endpoint remote() const { return {remote_address(), remote_port()}; }

  // Is this still the socket that `other` was copied from?
  [[nodiscard]] bool same_flow(const SockCommon& other) const {
    return hash() == other.hash() && net() == other.net() && family() == other.family() && local() == other.local() &&
           remote() == other.remote();
  }

 private:
  [[nodiscard]] IpAddress address_at(uint32_t v4_offset, uint32_t v6_offset) const {
    if (family() == kFamilyV6) return IpAddress::v6(copy_.at<std::array<uint8_t, 16>>(v6_offset));
    return IpAddress::v4_network_order(copy_.at<uint32_t>(v4_offset));
  }

  const Layout::SockCommon* at_ = nullptr;
  GuestVirtual address_;
  Copy<kMaxSocketExtentBytes> copy_;
};

// Bounds what one look-up may read, whatever its chains look like.
class Budget {
 public:
  explicit Budget(uint32_t steps) : left_(steps) {}
  [[nodiscard]] bool spend() {
    if (left_ == 0) return false;
    --left_;
    return true;
  }

 private:
  uint32_t left_;
};

// How a chain is linked and how it ends.
struct Chain {
  GuestVirtual head;
  uint32_t node_offset = 0;    // of the hlist node in the sock
  bool node_in_common = true;  // or beyond sock_common
  std::optional<uint64_t> nulls_value =
      std::nullopt;  // of the marker at the end; none: a plain hlist, which ends in null
};

enum class ChainEnd {
  kEnd,
  kStopped,  // by the visitor
  kMoved,    // the end is another chain's
  kBroken,   // leads to no memory
  kLimit,    // of the budget
};

// Visits the socks of a chain: bool(const SockCommon&), true to stop.
template <typename Visit>
ChainEnd walk_chain(const KernelMemory& memory, const Layout& layout, const Chain& chain, Budget& budget,
                    Visit&& visit) {
  SockCommon sock;
  auto node = memory.read<GuestVirtual>(chain.head);
  while (node) {
    if (chain.nulls_value) {
      if ((node->value & 1) != 0) return node->value >> 1 == *chain.nulls_value ? ChainEnd::kEnd : ChainEnd::kMoved;
    } else if (node->is_null()) {
      return ChainEnd::kEnd;
    }
    if (!budget.spend()) return ChainEnd::kLimit;
    if (!sock.load(memory, layout, *node - chain.node_offset)) return ChainEnd::kBroken;
    if (visit(sock)) return ChainEnd::kStopped;
    node = chain.node_in_common ? sock.pointer(chain.node_offset) : memory.read<GuestVirtual>(*node);
  }
  return ChainEnd::kBroken;
}

}  // namespace hyperward::guest
