#include "guest/addresses.h"

#include <array>
#include <span>

namespace hyperward::guest {

Addresses::Table Addresses::table(const Namespace& space, bool v4) const {
  const auto& own = v4 ? layout_.net.v4_addresses : layout_.net.v6_addresses;
  Table result{.slots = v4 ? roots_.v4_addresses : roots_.v6_addresses,
               .at = v4 ? layout_.v4_address : layout_.v6_address,
               .shared = !own.has_value()};
  if (own) result.slots = memory_.read<GuestVirtual>(space.net + *own).value_or(GuestVirtual{});
  return result;
}

IpAddress Addresses::address_of(GuestVirtual entry, const Table& table, bool v4) const {
  if (v4) return IpAddress::v4_network_order(memory_.read<uint32_t>(entry + table.at.address).value_or(0));
  const auto bytes = memory_.read<std::array<uint8_t, 16>>(entry + table.at.address);
  return bytes ? IpAddress::v6(*bytes) : IpAddress();
}

GuestVirtual Addresses::net_of(GuestVirtual entry, const Table& table) const {
  GuestVirtual at = entry;
  for (const uint32_t offset : {table.at.family_device, table.at.device, table.at.net})
    at = memory_.read<GuestVirtual>(at + offset).value_or(GuestVirtual{});
  return at;
}

bool Addresses::has(const Namespace& space, const IpAddress& address, Budget& budget) const {
  const bool v4 = address.is_v4();
  const Table from = table(space, v4);
  std::array<GuestVirtual, kTableSlots> heads;
  if (from.slots.is_null() || !memory_.read(from.slots, std::as_writable_bytes(std::span(heads)))) return false;
  for (const GuestVirtual& head : heads) {
    std::optional<GuestVirtual> node = head;
    while (node && !node->is_null() && budget.spend()) {
      const GuestVirtual entry = *node - from.at.node;
      if (address_of(entry, from, v4) == address && (!from.shared || net_of(entry, from) == space.net)) return true;
      node = memory_.read<GuestVirtual>(*node);
    }
  }
  return false;
}

}  // namespace hyperward::guest
