// Network namespaces: each has sockets of its own, in tables it shares with others or has for itself.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "guest/kernel_memory.h"
#include "guest/layout.h"

namespace hyperward::guest {

struct TcpTable {  // struct inet_hashinfo
  GuestVirtual ehash;
  uint32_t ehash_mask = 0;
  GuestVirtual listeners;
  uint32_t listeners_mask = 0;
};

struct UdpTable {
  GuestVirtual by_port;
  GuestVirtual by_address;
  uint32_t mask = 0;
};

struct Namespace {
  GuestVirtual net;
  uint32_t inum = 0;
  uint32_t hash_mix = 0;
  TcpTable tcp{};
  UdpTable udp{};
};

class Namespaces {
 public:
  static constexpr size_t kMaxNamespaces = 4096;
  static constexpr int kMaxRestarts = 4;
  // A table's mask is one less than a power of two and at most this (the kernel's own limits are half of it).
  static constexpr uint32_t kMaxTableMask = (1 << 20) - 1;

  Namespaces(const KernelMemory& memory, const Layout& layout, const Roots& roots)
      : memory_(memory), layout_(layout), roots_(roots) {}

  // The initial namespace first; as of the last refresh(), until the next one.
  [[nodiscard]] std::span<const Namespace> list() const { return namespaces_; }

  // Reads the list again if its ends have changed: a namespace made is linked at its end, and one that is gone from
  // the middle holds no sockets any more. Before each look-up.
  void refresh();

 private:
  struct Ends {
    GuestVirtual first;
    GuestVirtual last;
    bool operator==(const Ends&) const = default;
  };

  [[nodiscard]] Namespace read(GuestVirtual net) const;
  [[nodiscard]] bool walk();

  const KernelMemory& memory_;
  const Layout& layout_;
  const Roots& roots_;
  Ends ends_;
  std::vector<Namespace> namespaces_;
};

}  // namespace hyperward::guest
