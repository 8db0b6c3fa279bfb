#include "guest/namespaces.h"

#include <algorithm>
#include <bit>

namespace hyperward::guest {
namespace {

// A mask that is none, or too large, leaves a table without slots to look at.
bool is_mask(uint32_t mask) {
  return std::has_single_bit(mask + 1) && mask <= Namespaces::kMaxTableMask;
}

}  // namespace

Namespace Namespaces::read(GuestVirtual net) const {
  Namespace result{.net = net,
                   .inum = memory_.read<uint32_t>(net + layout_.net.inum).value_or(0),
                   .hash_mix = memory_.read<uint32_t>(net + layout_.net.hash_mix).value_or(0)};
  Copy<kMaxSmallExtentBytes> copy;

  const auto& tcp = layout_.tcp;
  const GuestVirtual hashinfo =
      layout_.net.tcp_hashinfo ? memory_.read<GuestVirtual>(net + *layout_.net.tcp_hashinfo).value_or(GuestVirtual{})
                               : roots_.tcp_hashinfo;
  if (copy.load(memory_, hashinfo, tcp.extent)) {
    const auto ehash_mask = copy.at<uint32_t>(tcp.ehash_mask);
    const auto listeners_mask = copy.at<uint32_t>(tcp.listeners_mask);
    if (is_mask(ehash_mask) && is_mask(listeners_mask))
      result.tcp = {copy.pointer(tcp.ehash), ehash_mask, copy.pointer(tcp.listeners), listeners_mask};
  }

  const auto& udp = layout_.udp;
  const GuestVirtual udp_table = layout_.net.udp_table
                                     ? memory_.read<GuestVirtual>(net + *layout_.net.udp_table).value_or(GuestVirtual{})
                                     : roots_.udp_table;
  if (copy.load(memory_, udp_table, udp.extent)) {
    const auto mask = copy.at<uint32_t>(udp.mask);
    if (is_mask(mask)) result.udp = {copy.pointer(udp.by_port), copy.pointer(udp.by_address), mask};
  }
  return result;
}

bool Namespaces::walk() {
  namespaces_.assign(1, read(roots_.init_net));
  GuestVirtual before = roots_.net_namespace_list;
  for (auto node = memory_.read<GuestVirtual>(before); node && *node != roots_.net_namespace_list;) {
    if (namespaces_.size() == kMaxNamespaces) return true;
    const auto links = memory_.read<Ends>(*node);
    if (!links || links->last != before) return false;
    const GuestVirtual net = *node - layout_.net.list;
    if (net != roots_.init_net) namespaces_.push_back(read(net));
    before = *node;
    node = links->first;
  }
  return true;
}

void Namespaces::refresh() {
  const Ends ends = memory_.read<Ends>(roots_.net_namespace_list).value_or(Ends{});
  if (!namespaces_.empty() && ends == ends_) return;
  ends_ = ends;
  for (int restart = 0; restart < kMaxRestarts && !walk(); ++restart) {
    ends_ = {};  // so that the next look-up reads the list again
    memory_.forget();
  }
  if (memory_.refused()) ends_ = {};  // what could not be read must not be taken for what there is
}

}  // namespace hyperward::guest
