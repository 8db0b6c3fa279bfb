#include "guest/layout.h"

#include <vector>

#include "guest/resolver.h"

namespace hyperward::guest {
namespace {

void resolve_task(Resolver& find, Layout& layout) {
  auto& task = layout.task;
  task.tasks = find.offset("task_struct", "tasks");
  task.pid = find.offset("task_struct", "pid");
  task.tgid = find.offset("task_struct", "tgid");
  task.cred = find.offset("task_struct", "cred");
  task.files = find.offset("task_struct", "files");
  task.comm = find.offset("task_struct", "comm");
  task.start_time = find.offset("task_struct", "start_time");
  task.signal = find.offset("task_struct", "signal");
  task.real_parent = find.offset("task_struct", "real_parent");
  task.group_leader = find.offset("task_struct", "group_leader");
  task.state = find.offset_of_either("task_struct", "__state", "state");
  task.exit_state = find.offset("task_struct", "exit_state");
  task.flags = find.offset("task_struct", "flags");
  task.mm = find.offset("task_struct", "mm");
  task.thread_node = find.offset("task_struct", "thread_node");
  task.extent = extent_of({{task.tasks, 16},
                           {task.pid, 4},
                           {task.tgid, 4},
                           {task.cred, 8},
                           {task.files, 8},
                           {task.comm, kCommBytes},
                           {task.start_time, 8},
                           {task.signal, 8},
                           {task.real_parent, 8},
                           {task.group_leader, 8}});
  find.require_fits("task_struct's fields", task.extent, kMaxTaskExtentBytes);

  layout.signal.thread_count = find.offset("signal_struct", "nr_threads");
  layout.signal.thread_head = find.offset("signal_struct", "thread_head");

  auto& cred = layout.cred;
  cred.uid = find.offset("cred", "uid");
  cred.gid = find.offset("cred", "gid");
  cred.euid = find.offset("cred", "euid");
  cred.egid = find.offset("cred", "egid");
  cred.extent = extent_of({{cred.uid, 4}, {cred.gid, 4}, {cred.euid, 4}, {cred.egid, 4}});
  find.require_fits("cred's fields", cred.extent, kMaxSmallExtentBytes);

  layout.mm.pgd = find.offset("mm_struct", "pgd");
  layout.mm.arg_start = find.offset("mm_struct", "arg_start");
  layout.mm.arg_end = find.offset("mm_struct", "arg_end");
  layout.mm.env_end = find.offset("mm_struct", "env_end");
}

void resolve_files(Resolver& find, Layout& layout) {
  auto& files = layout.files;
  files.table = find.offset("files_struct", "fdt");
  files.next_fd = find.offset("files_struct", "next_fd");
  files.capacity = find.offset("fdtable", "max_fds");
  files.slots = find.offset("fdtable", "fd");
  files.extent = extent_of({{files.table, 8}, {files.next_fd, 4}});
  files.table_extent = extent_of({{files.capacity, 4}, {files.slots, 8}});
  find.require_fits("files_struct's fields", files.extent, kMaxSmallExtentBytes);
  find.require_fits("fdtable's fields", files.table_extent, kMaxSmallExtentBytes);

  auto& file = layout.file;
  file.inode = find.offset("file", "f_inode");
  file.credentials = find.offset("file", "f_cred");
  file.private_data = find.offset("file", "private_data");
  file.operations = find.offset("file", "f_op");
  file.extent = extent_of({{file.inode, 8}, {file.credentials, 8}, {file.private_data, 8}, {file.operations, 8}});
  find.require_fits("file's fields", file.extent, kMaxSmallExtentBytes);

  layout.inode.number = find.offset("inode", "i_ino");
}

void resolve_sockets(Resolver& find, const kernel::Types& types, Layout& layout) {
  auto& socket = layout.socket;
  socket.file = find.offset("socket", "file");
  socket.sock = find.offset("socket", "sk");
  socket.wait_list = find.offset("socket", "wq.wait.head");
  socket.extent = extent_of({{socket.file, 8}, {socket.sock, 8}});
  find.require_fits("socket's fields", socket.extent, kMaxSmallExtentBytes);

  auto& common = layout.common;
  common.remote_v4 = find.offset("sock_common", "skc_daddr");
  common.local_v4 = find.offset("sock_common", "skc_rcv_saddr");
  common.remote_v6 = find.offset("sock_common", "skc_v6_daddr");
  common.local_v6 = find.offset("sock_common", "skc_v6_rcv_saddr");
  common.remote_port_be = find.offset("sock_common", "skc_dport");
  common.local_port = find.offset("sock_common", "skc_num");
  common.hash = find.offset("sock_common", "skc_hash");
  common.family = find.offset("sock_common", "skc_family");
  common.state = find.offset("sock_common", "skc_state");
  common.net = find.offset("sock_common", "skc_net");
  const kernel::Field ipv6_only = find.field("sock_common", "skc_ipv6only");
  common.ipv6_only_byte = ipv6_only.offset_bytes + ipv6_only.bit_offset / 8;
  common.ipv6_only_bit = ipv6_only.bit_offset % 8;
  common.nulls_node = find.offset("sock_common", "skc_nulls_node");
  common.node = find.offset("sock_common", "skc_node");
  common.portaddr_node = find.offset("sock_common", "skc_portaddr_node");
  common.listener = find.offset("sock_common", "skc_listener");
  common.flags = find.offset("sock_common", "skc_flags");
  common.extent = extent_of({{common.remote_v4, 4},
                             {common.local_v4, 4},
                             {common.remote_v6, 16},
                             {common.local_v6, 16},
                             {common.remote_port_be, 2},
                             {common.local_port, 2},
                             {common.hash, 4},
                             {common.family, 2},
                             {common.state, 1},
                             {common.net, 8},
                             {common.ipv6_only_byte, 1},
                             {common.nulls_node, 8},
                             {common.node, 8},
                             {common.portaddr_node, 8},
                             {common.listener, 8},
                             {common.flags, 8}});
  find.require_fits("sock_common's fields", common.extent, kMaxSocketExtentBytes);

  auto& sock = layout.sock;
  sock.socket = find.offset("sock", "sk_socket");
  sock.uid = find.offset("sock", "sk_uid");
  sock.receive_bytes = find.offset("sock", "sk_backlog.rmem_alloc");
  sock.send_bytes = find.offset("sock", "sk_wmem_alloc");
  sock.accept_backlog = find.offset("sock", "sk_ack_backlog");
  sock.accept_backlog_limit = find.offset("sock", "sk_max_ack_backlog");
  sock.rcv_nxt = find.offset("tcp_sock", "rcv_nxt");
  sock.copied_seq = find.offset("tcp_sock", "copied_seq");
  sock.write_seq = find.offset("tcp_sock", "write_seq");
  sock.snd_una = find.offset("tcp_sock", "snd_una");
  sock.forward_deficit = find.offset("udp_sock", "forward_deficit");
  sock.dead_flag = uint64_t{1} << (static_cast<uint64_t>(types.enumerator("SOCK_DEAD").value_or(0)) & 63);
  sock.protocol = find.maybe_whole("sock", "sk_protocol");
  sock.type = find.maybe_whole("sock", "sk_type");
  sock.extent = extent_of({{sock.socket, 8}, {sock.uid, 4}});
  find.require_fits("sock's fields", sock.extent, kMaxSmallExtentBytes);
}

void resolve_tables(Resolver& find, Layout& layout) {
  auto& net = layout.net;
  net.list = find.offset("net", "list");
  net.inum = find.offset("net", "ns.inum");
  net.hash_mix = find.offset("net", "hash_mix");
  net.tcp_hashinfo = find.maybe("net", "ipv4.tcp_death_row.hashinfo");
  net.udp_table = find.maybe("net", "ipv4.udp_table");
  net.v4_addresses = find.maybe("net", "ipv4.inet_addr_lst");
  net.v6_addresses = find.maybe("net", "ipv6.inet6_addr_lst");
  const uint32_t device_net = find.offset("net_device", "nd_net");
  layout.v4_address = {.node = find.offset_of_either("in_ifaddr", "addr_lst", "hash"),
                       .address = find.offset("in_ifaddr", "ifa_local"),
                       .family_device = find.offset("in_ifaddr", "ifa_dev"),
                       .device = find.offset("in_device", "dev"),
                       .net = device_net};
  layout.v6_address = {.node = find.offset("inet6_ifaddr", "addr_lst"),
                       .address = find.offset("inet6_ifaddr", "addr"),
                       .family_device = find.offset("inet6_ifaddr", "idev"),
                       .device = find.offset("inet6_dev", "dev"),
                       .net = device_net};

  auto& tcp = layout.tcp;
  tcp.ehash = find.offset("inet_hashinfo", "ehash");
  tcp.ehash_mask = find.offset("inet_hashinfo", "ehash_mask");
  tcp.listeners = find.offset("inet_hashinfo", "lhash2");
  tcp.listeners_mask = find.offset("inet_hashinfo", "lhash2_mask");
  tcp.listener_bucket_bytes = find.size_of("inet_listen_hashbucket");
  tcp.listener_node = find.maybe("inet_connection_sock", "icsk_listen_portaddr_node");
  tcp.listener_head = find.offset("inet_listen_hashbucket", tcp.listener_node ? "head" : "nulls_head");
  tcp.extent = extent_of({{tcp.ehash, 8}, {tcp.ehash_mask, 4}, {tcp.listeners, 8}, {tcp.listeners_mask, 4}});
  find.require_fits("inet_hashinfo's fields", tcp.extent, kMaxSmallExtentBytes);

  auto& udp = layout.udp;
  udp.by_port = find.offset("udp_table", "hash");
  udp.by_address = find.offset("udp_table", "hash2");
  udp.mask = find.offset("udp_table", "mask");
  udp.slot_head = find.offset("udp_hslot", "head");
  udp.slot_bytes = find.size_of("udp_hslot");
  udp.address_slot_bytes = find.maybe("udp_hslot_main", "hslot") ? find.size_of("udp_hslot_main") : udp.slot_bytes;
  udp.extent = extent_of({{udp.by_port, 8}, {udp.by_address, 8}, {udp.mask, 4}});
  find.require_fits("udp_table's fields", udp.extent, kMaxSmallExtentBytes);
}

void resolve_waiting(Resolver& find, Layout& layout) {
  auto& wait = layout.wait;
  wait.private_data = find.offset("wait_queue_entry", "private");
  wait.function = find.offset("wait_queue_entry", "func");
  wait.entry = find.offset("wait_queue_entry", "entry");
  wait.polling_task = find.offset("poll_wqueues", "polling_task");
  wait.extent = extent_of({{wait.private_data, 8}, {wait.function, 8}, {wait.entry, 16}});
  find.require_fits("wait_queue_entry's fields", wait.extent, kMaxSmallExtentBytes);
  wait.epoll_wait = find.maybe("eppoll_entry", "wait");
  if (wait.epoll_wait) {
    wait.epoll_base = find.offset("eppoll_entry", "base");
    wait.epitem_epoll = find.offset("epitem", "ep");
    wait.epitem_file = find.offset("epitem", "ffd.file");
    wait.epoll_file = find.offset("eventpoll", "file");
  }
  layout.writer_byte = find.maybe("rwlock_t", "raw_lock.wlocked");
}

}  // namespace

Result<Layout> Layout::resolve(const kernel::Types& types) {
  Layout layout;
  Resolver find(types);
  resolve_task(find, layout);
  resolve_files(find, layout);
  resolve_sockets(find, types, layout);
  resolve_tables(find, layout);
  resolve_waiting(find, layout);
  HW_OK(find.finish());
  return layout;
}

Result<Roots> Roots::resolve(const kernel::Types& types, const FindSymbol& find, const FindSymbol& find_static) {
  std::vector<std::string_view> missing;
  const auto need = [&](std::string_view name) {
    const auto address = find(name);
    if (!address) missing.push_back(name);
    return address.value_or(GuestVirtual{});
  };
  const auto maybe = [&](std::string_view name) { return find(name).value_or(GuestVirtual{}); };

  Roots roots;
  roots.init_task = need("init_task");
  roots.init_net = need("init_net");
  roots.net_namespace_list = need("net_namespace_list");
  roots.tasklist_lock = maybe("tasklist_lock");
  if (!types.has_field("net", "ipv4.tcp_death_row.hashinfo")) roots.tcp_hashinfo = need("tcp_hashinfo");
  if (!types.has_field("net", "ipv4.udp_table")) roots.udp_table = need("udp_table");
  if (!types.has_field("net", "ipv4.inet_addr_lst")) roots.v4_addresses = maybe("inet_addr_lst");
  if (!types.has_field("net", "ipv6.inet6_addr_lst")) roots.v6_addresses = maybe("inet6_addr_lst");
  if (!missing.empty()) return fail(Code::kUnsupported, "the kernel lacks the symbols {}", fmt::join(missing, ", "));

  const auto hotdata = find("net_hotdata");
  const auto secret = [&](std::string_view path, std::string_view name) -> GuestVirtual {
    if (hotdata)
      if (const auto field = types.field("net_hotdata", path)) return *hotdata + field->offset_bytes;
    return find_static(name).value_or(GuestVirtual{});
  };
  roots.ehash_secret = secret("tcp_protocol.secret", "inet_ehash_secret");
  roots.ehash6_secret = secret("tcpv6_protocol.secret", "inet6_ehash_secret");
  roots.ehash6_address_secret = secret("tcpv6_offload.secret", "ipv6_hash_secret");

  roots.autoremove_wake_function = maybe("autoremove_wake_function");
  roots.woken_wake_function = maybe("woken_wake_function");
  roots.default_wake_function = maybe("default_wake_function");
  roots.pollwake = maybe("pollwake");
  roots.ep_poll_callback = maybe("ep_poll_callback");
  roots.eventpoll_fops = maybe("eventpoll_fops");
  return roots;
}

}  // namespace hyperward::guest
