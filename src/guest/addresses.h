// Which network namespace has an address: where several listen on the same port, packets to an address reach the one
// that has it.
#pragma once

#include <cstdint>
#include <optional>

#include "base/net.h"
#include "guest/kernel_memory.h"
#include "guest/layout.h"
#include "guest/namespaces.h"
#include "guest/sock.h"

namespace hyperward::guest {

class Addresses {
 public:
  static constexpr uint32_t kTableSlots = 256;  // IN4_ADDR_HSIZE, IN6_ADDR_HSIZE

  Addresses(const KernelMemory& memory, const Layout& layout, const Roots& roots)
      : memory_(memory), layout_(layout), roots_(roots) {}

  // Has an interface of the namespace this address? Reads the whole table, which is small; false when it cannot tell.
  [[nodiscard]] bool has(const Namespace& space, const IpAddress& address, Budget& budget) const;

 private:
  // Where the addresses of one family are kept, and how to tell what each is and whose.
  struct Table {
    GuestVirtual slots;
    Layout::InterfaceAddress at;
    bool shared = false;  // by all namespaces
  };

  [[nodiscard]] Table table(const Namespace& space, bool v4) const;
  [[nodiscard]] IpAddress address_of(GuestVirtual entry, const Table& table, bool v4) const;
  [[nodiscard]] GuestVirtual net_of(GuestVirtual entry, const Table& table) const;

  const KernelMemory& memory_;
  const Layout& layout_;
  const Roots& roots_;
};

}  // namespace hyperward::guest
