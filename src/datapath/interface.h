// Network interfaces and their tc hooks, as far as the packet path needs them: by ioctl and rtnetlink, in the calling
// thread's network namespace.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace hyperward::datapath {

// A guest's tap, or the host's end of a container's veth pair: what it sends comes in, what it receives goes out.
// kNotFound: no such interface; kInvalid: it is neither.
[[nodiscard]] Result<unsigned> ifindex_of_tap(const std::string& name);

// Unique for as long as the machine runs, unlike the namespace's inode.
[[nodiscard]] Result<uint64_t> netns_cookie();

// A tap of our own, gone when the descriptor is closed: up, without ARP and IPv6, taking and giving frames with a
// virtio_net_hdr, unfinished checksums and segments included. It queues `frames` frames.
struct HoldTap {
  Fd fd;  // does not block
  std::string name;
  unsigned ifindex = 0;
};
[[nodiscard]] Result<HoldTap> make_hold_tap(unsigned frames);
[[nodiscard]] Result<void> bring_up(const std::string& name);

// Frames that could not be queued for the reader of a tap.
[[nodiscard]] Result<uint64_t> frames_lost(const std::string& name);

enum class Hook : uint8_t { kIngress, kEgress };

// Makes room for filters on both hooks. True: we made the qdisc; false: it was there. kUnsupported: another qdisc is.
[[nodiscard]] Result<bool> ensure_clsact(unsigned ifindex);
// The filter with our handle and priority, in place of one that is there.
[[nodiscard]] Result<void> attach_filter(unsigned ifindex, Hook hook, int program_fd);
[[nodiscard]] Result<void> detach_filter(unsigned ifindex, Hook hook);
// Removes the qdisc when no filters of others are left on it.
[[nodiscard]] Result<void> remove_unused_clsact(unsigned ifindex);

}  // namespace hyperward::datapath
