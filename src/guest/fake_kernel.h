// A kernel for tests: an arena with tasks, descriptor tables and sockets that the test links itself, and the Layout
// that says where its fields are.
#pragma once

#include <cstddef>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guest/jhash.h"
#include "guest/kernel_memory.h"
#include "guest/layout.h"
#include "guest/namespaces.h"
#include "guest/socket_table.h"
#include "guest/types.h"

namespace hyperward::guest {

class FakeKernel final : public KernelMemory {
 public:
  static constexpr uint64_t kBase = 0xffff888000000000;
  static constexpr uint32_t kSlots = 16;  // of every hash table
  static constexpr uint32_t kFds = 64;
  static constexpr uint32_t kSecret = 0x5ec2e7;
  static constexpr uint32_t kAddressSecret = 0xadd2e5;
  static constexpr uint64_t kListeningNullsBase = 1 << 29;
  static constexpr uint64_t kAutoremove = 0xffffffff81000010;
  static constexpr uint64_t kPollwake = 0xffffffff81000020;
  static constexpr uint64_t kEpollCallback = 0xffffffff81000030;
  static constexpr uint64_t kSocketOperations = 0xffffffff82000010;
  static constexpr uint64_t kPoison = 0xdead000000000122;  // LIST_POISON2

  struct List {
    uint64_t next, previous;
  };
  struct Task {
    List tasks, thread_node;
    uint32_t pid, tgid;
    uint64_t cred, files, signal, real_parent, group_leader, mm, fs, cgroups, start_time;
    char comm[kCommBytes];
    uint32_t state, exit_state, flags;
  };
  struct Cred {
    uint32_t uid, gid, euid, egid;
  };
  struct Signal {
    uint32_t threads;
    List thread_head;
  };
  struct Files {
    uint64_t table;
    uint32_t next_fd;
  };
  struct Table {
    uint32_t capacity;
    uint64_t slots;
  };
  struct File {
    uint64_t inode, cred, private_data, operations, mount, dentry;
  };
  struct Inode {
    uint64_t number;
  };
  struct Socket {
    uint64_t file, sock;
    List waiters;
  };
  struct Common {
    uint32_t remote_v4, local_v4, hash;
    uint16_t remote_port_be, local_port, family;
    uint8_t state, bits;  // bits: 1 is ipv6only
    uint64_t portaddr_node[2], net;
    uint8_t remote_v6[16], local_v6[16];
    uint64_t flags_or_listener;
    uint64_t node[2];
  };
  struct Sock {
    Common common;
    uint64_t socket;
    uint32_t uid, receive_bytes, send_bytes, backlog, backlog_limit, rcv_nxt, copied_seq, write_seq, snd_una, deficit;
    uint16_t protocol, type;
  };
  struct Hashinfo {
    uint64_t ehash, listeners;
    uint32_t ehash_mask, listeners_mask;
  };
  struct UdpTable {
    uint64_t by_port, by_address;
    uint32_t mask;
  };
  struct Net {
    List list;
    uint32_t inum, hash_mix;
    uint64_t hashinfo, udp_table, v4_addresses, v6_addresses;
  };
  struct Waiter {
    uint64_t private_data, function;
    List entry;
  };
  struct Mm {
    uint64_t pgd, arg_start, arg_end, env_end, executable;
  };
  struct InterfaceAddress {
    uint64_t node[2];
    uint8_t address[16];
  };

  explicit FakeKernel(size_t size_bytes = 1 << 20) : bytes_(size_bytes) {
    roots.init_task = add_task(0, "swapper", 0, {});
    auto& init = at<Task>(roots.init_task);
    init.tasks = {address_of(init.tasks), address_of(init.tasks)};
    roots.net_namespace_list = allocate<List>();
    auto& list = at<List>(roots.net_namespace_list);
    list = {roots.net_namespace_list.value, roots.net_namespace_list.value};
    roots.init_net = add_net(4026531840, 0x11112222);
    roots.ehash_secret = put(kSecret);
    roots.ehash6_secret = put(kSecret);
    roots.ehash6_address_secret = put(kAddressSecret);
    roots.autoremove_wake_function = {kAutoremove};
    roots.pollwake = {kPollwake};
    roots.ep_poll_callback = {kEpollCallback};
  }

  Layout layout = make_layout();
  Roots roots;

  template <typename T>
  [[nodiscard]] T& at(GuestVirtual address) {
    HW_CHECK(address.value >= kBase && address.value - kBase + sizeof(T) <= bytes_.size());
    return *reinterpret_cast<T*>(bytes_.data() + (address.value - kBase));
  }
  template <typename T>
  [[nodiscard]] uint64_t address_of(const T& object) const {
    return kBase + static_cast<uint64_t>(reinterpret_cast<const std::byte*>(&object) - bytes_.data());
  }
  template <typename T>
  GuestVirtual allocate(size_t count = 1) {
    used_ = (used_ + 63) & ~size_t{63};
    const GuestVirtual address{kBase + used_};
    used_ += sizeof(T) * count;
    HW_CHECK(used_ <= bytes_.size());
    return address;
  }
  template <typename T>
  GuestVirtual put(const T& value) {
    const GuestVirtual address = allocate<T>();
    at<T>(address) = value;
    return address;
  }
  [[nodiscard]] std::span<std::byte> bytes() { return bytes_; }

  // A process at the end of the task list, with credentials and a descriptor table of its own.
  GuestVirtual add_process(uint32_t pid, std::string_view comm, uint32_t uid, GuestVirtual parent = {}) {
    const GuestVirtual address = add_task(pid, comm, uid, parent.is_null() ? roots.init_task : parent);
    auto& head = at<Task>(roots.init_task).tasks;
    auto& node = at<Task>(address).tasks;
    node = {address_of(head), head.previous};
    at<List>({head.previous}).next = address_of(node);
    head.previous = address_of(node);
    return address;
  }
  // Takes the task out of the list as list_del_rcu() does, and its descriptors from it.
  void end_process(GuestVirtual task) {
    auto& node = at<Task>(task).tasks;
    at<List>({node.next}).previous = node.previous;
    at<List>({node.previous}).next = node.next;
    node.previous = kPoison;
    at<Task>(task).files = 0;
  }
  void set_arguments(GuestVirtual task, std::string bytes, std::string environment = {}) {
    constexpr uint64_t kStack = 0x7fff0000;
    const uint64_t end = kStack + bytes.size();
    auto& mm = at<Task>(task).mm;
    mm = put(Mm{mm, kStack, end, end + environment.size(), 0}).value;
    at<Mm>({mm}).pgd = mm;
    user_[mm] = {kStack, bytes + environment};
  }

  GuestVirtual add_net(uint32_t inum, uint32_t hash_mix) {
    const GuestVirtual net = allocate<Net>();
    auto& space = at<Net>(net);
    space.inum = inum;
    space.hash_mix = hash_mix;
    space.hashinfo =
        put(Hashinfo{add_nulls_table(0), add_nulls_table(kListeningNullsBase), kSlots - 1, kSlots - 1}).value;
    const uint64_t by_port = allocate<uint64_t>(size_t{2} * kSlots).value;
    const uint64_t by_address = allocate<uint64_t>(size_t{2} * kSlots).value;
    space.udp_table = put(UdpTable{by_port, by_address, kSlots - 1}).value;
    space.v4_addresses = allocate<uint64_t>(256).value;
    space.v6_addresses = allocate<uint64_t>(256).value;
    auto& head = at<List>(roots.net_namespace_list);
    auto& node = at<Net>(net).list;
    node = {roots.net_namespace_list.value, head.previous};
    at<List>({head.previous}).next = address_of(node);
    head.previous = address_of(node);
    return net;
  }
  void add_address(GuestVirtual net, const IpAddress& address) {
    const GuestVirtual entry = allocate<InterfaceAddress>();
    const uint8_t* bytes = address.bytes().data();
    std::memcpy(at<InterfaceAddress>(entry).address, bytes + (address.is_v4() ? 12 : 0), address.is_v4() ? 4 : 16);
    push({address.is_v4() ? at<Net>(net).v4_addresses : at<Net>(net).v6_addresses}, entry.value);
  }

  // A sock that no table links yet.
  GuestVirtual add_sock(GuestVirtual net, const Endpoint& local, const Endpoint& remote, TcpState state,
                        uint32_t uid = 0, bool v6 = false) {
    const GuestVirtual sock = allocate<Sock>();
    auto& common = at<Sock>(sock).common;
    at<Sock>(sock).uid = uid;
    at<Sock>(sock).protocol = 6;
    at<Sock>(sock).type = 1;
    common.net = net.value;
    common.state = static_cast<uint8_t>(state);
    common.family = v6 || !local.address.is_v4() ? 10 : 2;
    common.local_port = local.port;
    common.remote_port_be = __builtin_bswap16(remote.port);
    std::memcpy(&common.local_v4, local.address.bytes().data() + 12, 4);
    std::memcpy(&common.remote_v4, remote.address.bytes().data() + 12, 4);
    std::memcpy(common.local_v6, local.address.bytes().data(), 16);
    std::memcpy(common.remote_v6, remote.address.bytes().data(), 16);
    return sock;
  }
  // Into ehash, where the formula of kernels before 6.16 puts it, or the later one.
  void link_connection(GuestVirtual sock, const Endpoint& local, const Endpoint& remote, bool port_added = false) {
    auto& common = at<Sock>(sock).common;
    const auto& net = at<Net>({common.net});
    uint32_t local_word = common.local_v4;
    uint32_t remote_word = common.remote_v4;
    if (!remote.address.is_v4()) {
      std::array<uint32_t, 4> words;
      std::memcpy(words.data(), remote.address.bytes().data(), 16);
      remote_word = jhash_4words(words, kAddressSecret);
      std::memcpy(&local_word, local.address.bytes().data() + 12, 4);
    }
    const uint32_t seed = kSecret + net.hash_mix;
    const uint32_t ports = common.remote_port_be | (port_added ? 0U : uint32_t{local.port} << 16);
    common.hash = (port_added ? local.port : 0U) + jhash_3words(local_word, remote_word, ports, seed);
    push_nulls({at<Hashinfo>({net.hashinfo}).ehash + uint64_t{common.hash & (kSlots - 1)} * 8}, common.node);
  }
  GuestVirtual add_connection(GuestVirtual net, const Endpoint& local, const Endpoint& remote,
                              TcpState state = TcpState::kEstablished, uint32_t uid = 0, bool v6 = false) {
    const GuestVirtual sock = add_sock(net, local, remote, state, uid, v6);
    link_connection(sock, local, remote);
    return sock;
  }
  GuestVirtual add_listener(GuestVirtual net, const Endpoint& local, uint32_t uid = 0, bool v6 = false) {
    const GuestVirtual sock = add_sock(net, local, {}, TcpState::kListen, uid, v6);
    const auto& space = at<Net>(net);
    const uint32_t slot = port_address_hash(bound(local.address), local.port, space.hash_mix) & (kSlots - 1);
    push_nulls({at<Hashinfo>({space.hashinfo}).listeners + uint64_t{slot} * 8}, at<Sock>(sock).common.node);
    return sock;
  }
  GuestVirtual add_udp(GuestVirtual net, const Endpoint& local, const Endpoint& remote = {}, uint32_t uid = 0,
                       bool v6 = false) {
    const bool connected = remote.port != 0;
    const GuestVirtual sock =
        add_sock(net, local, remote, connected ? TcpState::kEstablished : TcpState::kClose, uid, v6);
    at<Sock>(sock).protocol = 17;
    at<Sock>(sock).type = 2;
    const auto& space = at<Net>(net);
    auto& common = at<Sock>(sock).common;
    const uint32_t hash = port_address_hash(bound(local.address), local.port, space.hash_mix);
    common.hash = hash << 16 | local.port;
    const auto& table = at<UdpTable>({space.udp_table});
    push({table.by_address + uint64_t{hash & (kSlots - 1)} * 16}, address_of(common.portaddr_node));
    push({table.by_port + uint64_t{(local.port + space.hash_mix) & (kSlots - 1)} * 16}, address_of(common.node));
    return sock;
  }

  // A struct socket and its file for the sock, with the credentials of `opener`; returns the file.
  GuestVirtual open_socket(GuestVirtual sock, GuestVirtual opener, uint64_t inode = 1000) {
    const GuestVirtual socket = put(Socket{0, sock.value, {}});
    auto& waiters = at<Socket>(socket).waiters;
    waiters = {address_of(waiters), address_of(waiters)};
    at<Sock>(sock).socket = socket.value;
    const GuestVirtual file =
        put(File{put(Inode{inode}).value, at<Task>(opener).cred, socket.value, kSocketOperations, 0, 0});
    at<Socket>(socket).file = file.value;
    return file;
  }
  void set_fd(GuestVirtual task, uint32_t fd, GuestVirtual file) {
    auto& files = at<Files>({at<Task>(task).files});
    at<uint64_t>({at<Table>({files.table}).slots + uint64_t{fd} * 8}) = file.value;
    files.next_fd = file.is_null() ? std::min(files.next_fd, fd) : fd + 1;
  }
  // A waiter on the socket; what it waits with is `function`'s to say.
  GuestVirtual add_waiter(GuestVirtual sock, uint64_t function, GuestVirtual private_data) {
    auto& head = at<Socket>({at<Sock>(sock).socket}).waiters;
    const GuestVirtual waiter = put(Waiter{private_data.value, function, {}});
    auto& entry = at<Waiter>(waiter).entry;
    entry = {head.next, address_of(head)};
    at<List>({head.next}).previous = address_of(entry);
    head.next = address_of(entry);
    return waiter;
  }

 protected:
  [[nodiscard]] bool do_read(GuestVirtual address, std::span<std::byte> out) const override {
    const uint64_t offset = address.value - kBase;
    if (offset > bytes_.size() || out.size() > bytes_.size() - offset) return false;
    std::memcpy(out.data(), bytes_.data() + offset, out.size());
    return true;
  }
  [[nodiscard]] bool do_read_user(GuestVirtual page_tables, GuestVirtual address,
                                  std::span<std::byte> out) const override {
    const auto space = user_.find(page_tables.value);
    if (space == user_.end()) return false;
    const auto& [start, text] = space->second;
    if (address.value < start || address.value - start + out.size() > text.size()) return false;
    std::memcpy(out.data(), text.data() + (address.value - start), out.size());
    return true;
  }

 private:
  // 0.0.0.0 hashes as :: does.
  static IpAddress bound(const IpAddress& address) { return address.is_unspecified() ? IpAddress() : address; }

  GuestVirtual add_task(uint32_t pid, std::string_view comm, uint32_t uid, GuestVirtual parent) {
    const GuestVirtual table = put(Table{kFds, allocate<uint64_t>(kFds).value});
    Task task{};
    task.pid = task.tgid = pid;
    task.cred = put(Cred{uid, uid, uid, uid}).value;
    task.files = put(Files{table.value, 0}).value;
    task.signal = put(Signal{1, {}}).value;
    task.real_parent = parent.value;
    task.start_time = pid * uint64_t{1000};
    task.state = 1;
    comm.copy(task.comm, kCommBytes - 1);
    const GuestVirtual address = put(task);
    at<Task>(address).group_leader = address.value;
    auto& node = at<Task>(address).thread_node;
    auto& head = at<Signal>({task.signal}).thread_head;
    node = {address_of(head), address_of(head)};
    head = {address_of(node), address_of(node)};
    return address;
  }
  uint64_t add_nulls_table(uint64_t base) {
    const GuestVirtual table = allocate<uint64_t>(kSlots);
    for (uint32_t i = 0; i < kSlots; ++i) at<uint64_t>(table + uint64_t{i} * 8) = (base + i) << 1 | 1;
    return table.value;
  }
  void push_nulls(GuestVirtual head, uint64_t (&node)[2]) {
    node[0] = at<uint64_t>(head);
    at<uint64_t>(head) = address_of(node);
  }
  void push(GuestVirtual head, uint64_t node) {
    at<uint64_t>({node}) = at<uint64_t>(head);
    at<uint64_t>(head) = node;
  }
  static Layout make_layout();

  std::vector<std::byte> bytes_;
  size_t used_ = 64;
  std::map<uint64_t, std::pair<uint64_t, std::string>> user_;
};

inline Layout FakeKernel::make_layout() {
  Layout layout;
  layout.task = {.tasks = offsetof(Task, tasks),
                 .pid = offsetof(Task, pid),
                 .tgid = offsetof(Task, tgid),
                 .cred = offsetof(Task, cred),
                 .files = offsetof(Task, files),
                 .comm = offsetof(Task, comm),
                 .start_time = offsetof(Task, start_time),
                 .signal = offsetof(Task, signal),
                 .real_parent = offsetof(Task, real_parent),
                 .group_leader = offsetof(Task, group_leader),
                 .state = offsetof(Task, state),
                 .exit_state = offsetof(Task, exit_state),
                 .flags = offsetof(Task, flags),
                 .mm = offsetof(Task, mm),
                 .thread_node = offsetof(Task, thread_node),
                 .extent = {0, sizeof(Task)}};
  layout.signal = {offsetof(Signal, threads), offsetof(Signal, thread_head)};
  layout.cred = {
      offsetof(Cred, uid), offsetof(Cred, gid), offsetof(Cred, euid), offsetof(Cred, egid), {0, sizeof(Cred)}};
  layout.mm = {offsetof(Mm, pgd), offsetof(Mm, arg_start), offsetof(Mm, arg_end), offsetof(Mm, env_end)};
  layout.files = {.table = offsetof(Files, table),
                  .next_fd = offsetof(Files, next_fd),
                  .capacity = offsetof(Table, capacity),
                  .slots = offsetof(Table, slots),
                  .extent = {0, sizeof(Files)},
                  .table_extent = {0, sizeof(Table)}};
  layout.file = {offsetof(File, inode),
                 offsetof(File, cred),
                 offsetof(File, private_data),
                 offsetof(File, operations),
                 {0, sizeof(File)}};
  layout.inode = {offsetof(Inode, number)};
  layout.socket = {offsetof(Socket, file), offsetof(Socket, sock), offsetof(Socket, waiters), {0, sizeof(Socket)}};
  layout.common = {.remote_v4 = offsetof(Common, remote_v4),
                   .local_v4 = offsetof(Common, local_v4),
                   .remote_v6 = offsetof(Common, remote_v6),
                   .local_v6 = offsetof(Common, local_v6),
                   .remote_port_be = offsetof(Common, remote_port_be),
                   .local_port = offsetof(Common, local_port),
                   .hash = offsetof(Common, hash),
                   .family = offsetof(Common, family),
                   .state = offsetof(Common, state),
                   .net = offsetof(Common, net),
                   .ipv6_only_byte = offsetof(Common, bits),
                   .ipv6_only_bit = 0,
                   .nulls_node = offsetof(Common, node),
                   .node = offsetof(Common, node),
                   .portaddr_node = offsetof(Common, portaddr_node),
                   .listener = offsetof(Common, flags_or_listener),
                   .flags = offsetof(Common, flags_or_listener),
                   .extent = {0, sizeof(Common)}};
  layout.sock = {.socket = offsetof(Sock, socket),
                 .uid = offsetof(Sock, uid),
                 .receive_bytes = offsetof(Sock, receive_bytes),
                 .send_bytes = offsetof(Sock, send_bytes),
                 .accept_backlog = offsetof(Sock, backlog),
                 .accept_backlog_limit = offsetof(Sock, backlog_limit),
                 .rcv_nxt = offsetof(Sock, rcv_nxt),
                 .copied_seq = offsetof(Sock, copied_seq),
                 .write_seq = offsetof(Sock, write_seq),
                 .snd_una = offsetof(Sock, snd_una),
                 .forward_deficit = offsetof(Sock, deficit),
                 .dead_flag = 1,
                 .protocol = offsetof(Sock, protocol),
                 .type = offsetof(Sock, type),
                 .extent = {offsetof(Sock, socket), offsetof(Sock, receive_bytes)}};
  layout.net = {.list = offsetof(Net, list),
                .inum = offsetof(Net, inum),
                .hash_mix = offsetof(Net, hash_mix),
                .tcp_hashinfo = offsetof(Net, hashinfo),
                .v4_addresses = offsetof(Net, v4_addresses),
                .v6_addresses = offsetof(Net, v6_addresses),
                .udp_table = offsetof(Net, udp_table)};
  layout.v4_address = {
      .node = 0, .address = offsetof(InterfaceAddress, address), .family_device = 0, .device = 0, .net = 0};
  layout.v6_address = layout.v4_address;
  layout.tcp = {.ehash = offsetof(Hashinfo, ehash),
                .ehash_mask = offsetof(Hashinfo, ehash_mask),
                .listeners = offsetof(Hashinfo, listeners),
                .listeners_mask = offsetof(Hashinfo, listeners_mask),
                .listener_head = 0,
                .listener_bucket_bytes = 8,
                .listener_node = std::nullopt,
                .extent = {0, sizeof(Hashinfo)}};
  layout.udp = {.by_port = offsetof(UdpTable, by_port),
                .by_address = offsetof(UdpTable, by_address),
                .mask = offsetof(UdpTable, mask),
                .slot_head = 0,
                .slot_bytes = 16,
                .address_slot_bytes = 16,
                .extent = {0, sizeof(UdpTable)}};
  layout.wait = {.private_data = offsetof(Waiter, private_data),
                 .function = offsetof(Waiter, function),
                 .entry = offsetof(Waiter, entry),
                 .polling_task = 0,
                 .epoll_wait = 16,  // eppoll_entry { next, base, wait }
                 .epoll_base = 8,
                 .epitem_epoll = 0,  // epitem { ep, file }
                 .epitem_file = 8,
                 .epoll_file = 0,
                 .extent = {0, sizeof(Waiter)}};
  layout.writer_byte = std::nullopt;
  return layout;
}

}  // namespace hyperward::guest
