// Where the fields lie that this layer reads, and where its walks start: resolved once, at attach, from the kernel's
// own types and symbols. A field that moved between kernels is found by asking for each of its names, never by the
// kernel's version.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "guest/kernel_memory.h"
#include "kernel/types.h"

namespace hyperward::guest {

// Room for the extents below, as the kernels we know have them, with space to spare.
constexpr size_t kMaxTaskExtentBytes = 8192;
constexpr size_t kMaxSocketExtentBytes = 256;
constexpr size_t kMaxSmallExtentBytes = 512;

// Bytes of task_struct.comm, its final NUL included.
constexpr size_t kCommBytes = 16;

struct Layout {
  struct Task {
    uint32_t tasks, pid, tgid, cred, files, comm, start_time, signal, real_parent, group_leader;
    uint32_t state;  // `__state` since 5.14 (2f064a59a11f "sched: Change task_struct::state"), before it `state`
    uint32_t exit_state, flags, mm, thread_node;
    Extent extent;  // from the first to the last of: tasks to group_leader
  } task{};
  struct Signal {
    uint32_t thread_count, thread_head;
  } signal{};
  struct Credentials {
    uint32_t uid, gid, euid, egid;
    Extent extent;
  } cred{};
  struct Mm {
    uint32_t pgd, arg_start, arg_end, env_end;
  } mm{};
  struct Files {
    uint32_t table, next_fd;   // files_struct.fdt, next_fd
    uint32_t capacity, slots;  // fdtable.max_fds, fd
    Extent extent;             // of files_struct
    Extent table_extent;       // of fdtable
  } files{};
  struct File {
    uint32_t inode, credentials, private_data, operations;
    Extent extent;
  } file{};
  struct Inode {
    uint32_t number;
  } inode{};

  struct Socket {  // struct socket
    uint32_t file, sock, wait_list;
    Extent extent;
  } socket{};
  struct SockCommon {  // struct sock_common, at the start of sock, inet_timewait_sock and request_sock alike
    uint32_t remote_v4, local_v4, remote_v6, local_v6, remote_port_be, local_port, hash, family, state, net;
    uint32_t ipv6_only_byte;
    uint8_t ipv6_only_bit;
    uint32_t nulls_node, node, portaddr_node, listener, flags;
    Extent extent;
  } common{};
  struct Sock {
    uint32_t socket, uid;
    uint32_t receive_bytes, send_bytes;  // sk_backlog.rmem_alloc, sk_wmem_alloc
    uint32_t accept_backlog, accept_backlog_limit;
    uint32_t rcv_nxt, copied_seq, write_seq, snd_una;  // of tcp_sock
    uint32_t forward_deficit;                          // of udp_sock
    uint64_t dead_flag;                                // 1 << SOCK_DEAD in common.flags
    // Bit fields, and so absent here, before 5.6 (bf9765145b85 "sock: Make sk_protocol a 16-bit value").
    std::optional<uint32_t> protocol, type;
    Extent extent;  // socket and uid
  } sock{};

  struct Net {
    uint32_t list, inum, hash_mix;
    std::optional<uint32_t> tcp_hashinfo;  // absent in 5.18 and 5.19 (fbb8295248e1): then the symbol tcp_hashinfo
    // Tables of the interfaces' addresses. IPv4's since 6.13 ("ipv4: Namespacify IPv4 address hash table"), IPv6's
    // since 5.18 ("ipv6/addrconf: allocate a per netns hash table"); else symbols.
    std::optional<uint32_t> v4_addresses, v6_addresses;
    std::optional<uint32_t> udp_table;  // since 6.2 (ba6aac151664 "udp: Access &udp_table via net")
  } net{};
  struct InterfaceAddress {  // in_ifaddr, inet6_ifaddr, and the way from there to the namespace
    uint32_t node, address, family_device, device, net;
  } v4_address{}, v6_address{};
  struct Tcp {  // struct inet_hashinfo
    uint32_t ehash, ehash_mask, listeners, listeners_mask;
    uint32_t listener_head, listener_bucket_bytes;
    // Before 5.19 (cae3873c5b3a "net: inet: Retire port only listening_hash") lhash2 linked inet_connection_sock by a
    // node of its own, in a plain hlist.
    std::optional<uint32_t> listener_node;
    Extent extent;
  } tcp{};
  struct Udp {  // struct udp_table
    uint32_t by_port, by_address, mask;
    uint32_t slot_head, slot_bytes;
    uint32_t address_slot_bytes;  // udp_hslot_main since 6.13 ("net/udp: Add 4-tuple hash list basis")
    Extent extent;
  } udp{};

  struct WaitEntry {
    uint32_t private_data, function, entry;
    uint32_t polling_task;               // poll_wqueues
    std::optional<uint32_t> epoll_wait;  // eppoll_entry.wait; absent, with what follows, without CONFIG_EPOLL
    uint32_t epoll_base, epitem_epoll, epitem_file, epoll_file;
    Extent extent;
  } wait{};

  // Byte of the queued rwlock that is 0xff while a writer holds it (include/asm-generic/qrwlock.h); absent with
  // PREEMPT_RT.
  std::optional<uint32_t> writer_byte;

  // kUnsupported, naming every field that is missing.
  [[nodiscard]] static Result<Layout> resolve(const kernel::Types& types);
};

using FindSymbol = std::function<std::optional<GuestVirtual>(std::string_view name)>;

// Where walks start, and the functions that tell waiters apart. What is null is not there.
struct Roots {
  GuestVirtual init_task, init_net, net_namespace_list, tasklist_lock;
  GuestVirtual tcp_hashinfo, udp_table, v4_addresses, v6_addresses;
  // Secrets of the socket hash (net/ipv4/inet_hashtables.c): function statics, and since 6.10 in net_hotdata
  // (include/net/hotdata.h: inet_ehash_secret).
  GuestVirtual ehash_secret, ehash6_secret, ehash6_address_secret;
  GuestVirtual autoremove_wake_function, woken_wake_function, default_wake_function, pollwake, ep_poll_callback;
  GuestVirtual eventpoll_fops;

  // `find_static` also takes names that the compiler numbered.
  [[nodiscard]] static Result<Roots> resolve(const kernel::Types& types, const FindSymbol& find,
                                             const FindSymbol& find_static);
};

}  // namespace hyperward::guest
