#include "guest/inventory.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace hyperward::guest {

Result<std::vector<Socket>> Inventory::sockets() const {
  memory_.forget();
  namespaces_.refresh();
  HW_TRY(std::vector<Found> found, all());
  HW_OK(find_holders(found));
  std::vector<Socket> sockets;
  sockets.reserve(found.size());
  for (Found& each : found) sockets.push_back(std::move(each.socket));
  return sockets;
}

Result<Socket> Inventory::socket(GuestVirtual address) const {
  memory_.forget();
  namespaces_.refresh();
  SockCommon sock;
  if (!sock.load(memory_, layout_, address)) return fail(Code::kUnreadable, "no socket is at {:#x}", address.value);
  // What no namespace has is no socket, or one of another family that no namespace has either.
  const auto spaces = namespaces_.list();
  if (std::ranges::find(spaces, sock.net(), &Namespace::net) == spaces.end() || sock.state() == TcpState::kUnknown)
    return fail(Code::kNotFound, "what is at {:#x} is no socket", address.value);
  if (sock.family() != kFamilyV4 && sock.family() != kFamilyV6)
    return fail(Code::kUnsupported, "the socket at {:#x} is of family {}", address.value, sock.family());
  HW_TRY(const Protocol protocol, protocol_of(sock));
  Found found = describe(protocol, sock);
  // TCP's socks are made anew in place: was it the same one all the time?
  memory_.forget();
  SockCommon again;
  if (!again.load(memory_, layout_, address) || !again.same_flow(sock))
    return fail(Code::kInconsistent, "the socket at {:#x} changed while it was read", address.value);
  return std::move(found.socket);
}

Result<Protocol> Inventory::protocol_of(const SockCommon& sock) const {
  constexpr uint16_t kStream = 1;    // SOCK_STREAM, include/linux/net.h
  constexpr uint16_t kDatagram = 2;  // SOCK_DGRAM
  // No struct sock, but a smaller one of TCP's.
  if (sock.state() == TcpState::kTimeWait || sock.state() == TcpState::kNewSynReceived) return Protocol::kTcp;
  const auto& at = layout_.sock;
  if (!at.protocol || !at.type) return fail(Code::kUnsupported, "the kernel's types lack sk_protocol and sk_type");
  const auto protocol = memory_.read<uint16_t>(sock.address() + *at.protocol);
  const auto type = memory_.read<uint16_t>(sock.address() + *at.type);
  if (!protocol || !type) return fail(Code::kUnreadable, "no socket is at {:#x}", sock.address().value);
  if (*protocol == static_cast<uint16_t>(Protocol::kTcp) && *type == kStream) return Protocol::kTcp;
  if (*protocol == static_cast<uint16_t>(Protocol::kUdp) && *type == kDatagram) return Protocol::kUdp;
  return fail(Code::kUnsupported, "the socket at {:#x} is of protocol {}, type {}", sock.address().value, *protocol,
              *type);
}

Result<std::vector<Inventory::Found>> Inventory::all() const {
  std::vector<Found> found;
  Budget budget(kMaxSockets);
  std::unordered_set<uint64_t> seen;  // tables: namespaces share them
  const auto add_table = [&](Protocol protocol, const SocketTable& table) -> Result<void> {
    if (!seen.insert(table.slots.value).second) return {};
    return walk_table(memory_, layout_, table, budget,
                      [&](const SockCommon& sock) { found.push_back(describe(protocol, sock)); });
  };
  for (const Namespace& space : namespaces_.list()) {
    HW_OK(add_table(Protocol::kTcp, tcp_.listener_table(space.tcp)));
    HW_OK(add_table(Protocol::kTcp, tcp_.connection_table(space.tcp)));
    HW_OK(add_table(Protocol::kUdp, udp_.port_table(space.udp)));
  }
  return found;
}

Inventory::Found Inventory::describe(Protocol protocol, const SockCommon& sock) const {
  Found found{.socket = {.protocol = protocol,
                         .v6 = sock.family() == kFamilyV6,
                         .state = sock.state(),
                         .local = sock.local(),
                         .remote = sock.remote(),
                         .holders = {}}};
  Socket& socket = found.socket;
  const auto spaces = namespaces_.list();
  const auto space = std::ranges::find(spaces, sock.net(), &Namespace::net);
  if (space != spaces.end()) socket.network_namespace = space->inum;

  if (socket.state == TcpState::kTimeWait) return found;
  if (socket.state == TcpState::kNewSynReceived) {
    socket.uid = memory_.read<uint32_t>(sock.listener() + layout_.sock.uid).value_or(0);
    return found;
  }
  describe_open(sock, found);
  measure_queues(sock, socket);
  return found;
}

void Inventory::describe_open(const SockCommon& sock, Found& found) const {
  Copy<kMaxSmallExtentBytes> copy;
  if (!copy.load(memory_, sock.address(), layout_.sock.extent)) return;
  found.socket.uid = copy.at<uint32_t>(layout_.sock.uid);
  const GuestVirtual socket = copy.pointer(layout_.sock.socket);
  if (socket.is_null() || !copy.load(memory_, socket, layout_.socket.extent)) return;
  const GuestVirtual file_address = copy.pointer(layout_.socket.file);
  if (copy.pointer(layout_.socket.sock) != sock.address() || file_address.is_null()) return;
  const auto file = files_.read(file_address);
  if (!file || file->private_data != socket) return;
  found.file = file_address;
  found.socket.inode = files_.inode_number(*file);
}

// As /proc/net/tcp and udp count: get_tcp4_sock() in net/ipv4/tcp_ipv4.c, udp4_format_sock() in net/ipv4/udp.c.
void Inventory::measure_queues(const SockCommon& sock, Socket& socket) const {
  const auto number = [&](uint32_t offset) { return memory_.read<uint32_t>(sock.address() + offset).value_or(0); };
  const auto& at = layout_.sock;
  const auto positive = [](uint32_t difference) { return static_cast<int32_t>(difference) > 0 ? difference : 0; };
  if (socket.protocol == Protocol::kUdp) {
    socket.receive_queue = positive(number(at.receive_bytes) - number(at.forward_deficit));
    socket.send_queue = positive(number(at.send_bytes) - 1);  // sk_wmem_alloc holds one for the socket itself
  } else if (socket.state == TcpState::kListen) {
    socket.receive_queue = number(at.accept_backlog);
    socket.send_queue = number(at.accept_backlog_limit);
  } else {
    socket.receive_queue = positive(number(at.rcv_nxt) - number(at.copied_seq));
    socket.send_queue = positive(number(at.write_seq) - number(at.snd_una));
  }
}

Result<void> Inventory::find_holders(std::vector<Found>& sockets) const {
  std::unordered_map<uint64_t, Socket*> by_file;
  for (Found& found : sockets)
    if (!found.file.is_null()) by_file.emplace(found.file.value, &found.socket);

  HW_TRY(const std::vector<Task> processes, tasks_.all());
  uint64_t fds_seen = 0;
  for (const Task& leader : processes) {
    if (fds_seen > Files::kMaxFdsOfGuest)
      return fail(Code::kLimit, "the guest has more than {} file descriptors", Files::kMaxFdsOfGuest);
    const auto look_through = [&](GuestVirtual files_struct) {
      const auto table = files_.table(files_struct);
      if (!table) return;
      fds_seen += table->capacity;
      files_.for_each(*table, 0, table->capacity, [&](uint32_t fd, GuestVirtual file) {
        if (const auto socket = by_file.find(file.value); socket != by_file.end())
          socket->second->holders.push_back({leader.tgid, fd, std::string(leader.name())});
        return false;
      });
    };
    look_through(leader.files);
    if (tasks_.thread_count(leader) < 2) continue;
    std::unordered_set<uint64_t> seen{leader.files.value};
    for (const Task& thread : tasks_.threads(leader))
      if (seen.insert(thread.files.value).second) look_through(thread.files);
  }
  return {};
}

}  // namespace hyperward::guest
