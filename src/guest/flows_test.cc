#include "guest/flows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "guest/fake_kernel.h"
#include "guest/inventory.h"

namespace hyperward::guest {
namespace {

const Endpoint kLocal{IpAddress::v4(10, 0, 0, 5), 80};
const Endpoint kRemote{IpAddress::v4(192, 0, 2, 1), 40000};
const Endpoint kAny{IpAddress::v4(0, 0, 0, 0), 80};

// The whole layer above a KernelMemory.
struct Stack {
  explicit Stack(FakeKernel& kernel_) : kernel(kernel_) {}

  FakeKernel& kernel;
  Tasks tasks{kernel, kernel.layout, kernel.roots};
  Files files{kernel, kernel.layout};
  Namespaces namespaces{kernel, kernel.layout, kernel.roots};
  TcpSockets tcp{kernel, kernel.layout, kernel.roots};
  UdpSockets udp{kernel, kernel.layout};
  Addresses addresses{kernel, kernel.layout, kernel.roots};
  Owners owners{kernel, kernel.layout, kernel.roots, tasks, files};
  Flows flows{kernel, kernel.layout, namespaces, tcp, udp, addresses, owners};
  Inventory inventory{kernel, kernel.layout, namespaces, tcp, udp, tasks, files};
};

class FlowsTest : public testing::Test {
 protected:
  GuestVirtual hold(GuestVirtual sock, GuestVirtual process, uint32_t fd) {
    kernel_.set_fd(process, fd, kernel_.open_socket(sock, process, 1000 + fd));
    return sock;
  }
  uint32_t pid_of(const Owner& owner) { return owner.process ? owner.process->pid : 0; }

  FakeKernel kernel_;
  GuestVirtual net_ = kernel_.roots.init_net;
  GuestVirtual web_ = kernel_.add_process(10, "web", 33);
  GuestVirtual other_ = kernel_.add_process(20, "other", 1001);
  Stack stack_{kernel_};
  Flows& flows_ = stack_.flows;
};

TEST_F(FlowsTest, names_the_owner_of_a_connection) {
  hold(kernel_.add_connection(net_, kLocal, kRemote, TcpState::kEstablished, 33), web_, 4);
  const Owner owner = flows_.owner(Protocol::kTcp, kLocal, kRemote);
  EXPECT_EQ(pid_of(owner), 10U);
  EXPECT_EQ(owner.uid, 33U);
  EXPECT_EQ(owner.evidence.network_namespace, 4026531840U);
}

TEST_F(FlowsTest, names_the_listener_for_a_stranger) {
  hold(kernel_.add_listener(net_, kAny, 33), web_, 3);
  const Owner owner = flows_.owner(Protocol::kTcp, kLocal, kRemote);
  EXPECT_EQ(owner.how, How::kListener);
  EXPECT_EQ(pid_of(owner), 10U);
}

TEST_F(FlowsTest, names_the_listener_for_a_handshake_under_way) {
  const GuestVirtual listener = hold(kernel_.add_listener(net_, kAny, 33), web_, 3);
  const GuestVirtual request = kernel_.add_connection(net_, kLocal, kRemote, TcpState::kNewSynReceived);
  kernel_.at<FakeKernel::Sock>(request).common.flags_or_listener = listener.value;
  const Owner owner = flows_.owner(Protocol::kTcp, kLocal, kRemote);
  EXPECT_EQ(owner.how, How::kListener);
  EXPECT_EQ(pid_of(owner), 10U);
  EXPECT_EQ(owner.uid, 33U);
}

TEST_F(FlowsTest, names_the_listener_for_a_connection_nobody_accepted) {
  hold(kernel_.add_listener(net_, kAny, 33), web_, 3);
  kernel_.add_connection(net_, kLocal, kRemote, TcpState::kEstablished, 33);
  const Owner owner = flows_.owner(Protocol::kTcp, kLocal, kRemote);
  EXPECT_EQ(owner.how, How::kListener);
  EXPECT_EQ(pid_of(owner), 10U);
}

TEST_F(FlowsTest, names_nobody_for_time_wait) {
  kernel_.add_connection(net_, kLocal, kRemote, TcpState::kTimeWait);
  hold(kernel_.add_listener(net_, kAny, 33), web_, 3);
  const Owner owner = flows_.owner(Protocol::kTcp, kLocal, kRemote);
  EXPECT_EQ(owner.how, How::kUnknown);
  EXPECT_EQ(owner.reason, Reason::kTimeWait);
  EXPECT_FALSE(owner.uid);
}

TEST_F(FlowsTest, names_nobody_where_no_socket_is) {
  const Owner owner = flows_.owner(Protocol::kUdp, kLocal, kRemote);
  EXPECT_EQ(owner.how, How::kUnknown);
  EXPECT_EQ(owner.reason, Reason::kNoSocket);
}

TEST_F(FlowsTest, names_nobody_for_other_protocols) {
  EXPECT_EQ(flows_.owner(Protocol::kIcmp, kLocal, kRemote).reason, Reason::kProtocol);
}

TEST_F(FlowsTest, names_one_process_that_shares_a_port_with_itself) {
  hold(kernel_.add_listener(net_, kLocal, 33), web_, 3);
  hold(kernel_.add_listener(net_, kLocal, 33), web_, 4);
  EXPECT_EQ(pid_of(flows_.owner(Protocol::kTcp, kLocal, kRemote)), 10U);
}

TEST_F(FlowsTest, names_only_the_user_where_two_of_his_processes_share_a_port) {
  hold(kernel_.add_udp(net_, kLocal, {}, 33), web_, 3);
  hold(kernel_.add_udp(net_, kLocal, {}, 33), other_, 3);
  const Owner owner = flows_.owner(Protocol::kUdp, kLocal, kRemote);
  EXPECT_EQ(owner.how, How::kSocketOnly);
  EXPECT_EQ(owner.reason, Reason::kAmbiguous);
  EXPECT_EQ(owner.uid, 33U);
  EXPECT_FALSE(owner.process);
}

TEST_F(FlowsTest, names_nobody_where_two_users_share_a_port) {
  hold(kernel_.add_udp(net_, kLocal, {}, 33), web_, 3);
  hold(kernel_.add_udp(net_, kLocal, {}, 1001), other_, 3);
  const Owner owner = flows_.owner(Protocol::kUdp, kLocal, kRemote);
  EXPECT_EQ(owner.how, How::kUnknown);
  EXPECT_EQ(owner.reason, Reason::kAmbiguous);
  EXPECT_FALSE(owner.uid);
}

TEST_F(FlowsTest, finds_a_connection_in_another_namespace) {
  const GuestVirtual container = kernel_.add_net(4026532000, 0x77);
  hold(kernel_.add_connection(container, kLocal, kRemote, TcpState::kEstablished, 1001), other_, 3);
  const Owner owner = flows_.owner(Protocol::kTcp, kLocal, kRemote);
  EXPECT_EQ(pid_of(owner), 20U);
  EXPECT_EQ(owner.evidence.network_namespace, 4026532000U);
}

TEST_F(FlowsTest, sees_a_namespace_made_after_the_last_look) {
  EXPECT_EQ(flows_.owner(Protocol::kTcp, kLocal, kRemote).reason, Reason::kNoSocket);
  const GuestVirtual container = kernel_.add_net(4026532000, 0x77);
  hold(kernel_.add_connection(container, kLocal, kRemote, TcpState::kEstablished, 1001), other_, 3);
  EXPECT_EQ(pid_of(flows_.owner(Protocol::kTcp, kLocal, kRemote)), 20U);
}

TEST_F(FlowsTest, prefers_the_initial_namespace) {
  const GuestVirtual container = kernel_.add_net(4026532000, 0x77);
  hold(kernel_.add_connection(container, kLocal, kRemote, TcpState::kEstablished, 1001), other_, 3);
  hold(kernel_.add_connection(net_, kLocal, kRemote, TcpState::kEstablished, 33), web_, 3);
  EXPECT_EQ(pid_of(flows_.owner(Protocol::kTcp, kLocal, kRemote)), 10U);
}

TEST_F(FlowsTest, names_nobody_when_two_containers_have_the_same_connection) {
  hold(kernel_.add_connection(kernel_.add_net(2, 0x77), kLocal, kRemote, TcpState::kEstablished, 33), web_, 3);
  hold(kernel_.add_connection(kernel_.add_net(3, 0x78), kLocal, kRemote, TcpState::kEstablished, 1001), other_, 3);
  EXPECT_EQ(flows_.owner(Protocol::kTcp, kLocal, kRemote).reason, Reason::kAmbiguous);
}

TEST_F(FlowsTest, names_the_listener_of_the_namespace_that_has_the_address) {
  const GuestVirtual container = kernel_.add_net(4026532000, 0x77);
  hold(kernel_.add_listener(net_, kAny, 33), web_, 3);
  hold(kernel_.add_listener(container, kAny, 1001), other_, 3);
  kernel_.add_address(container, kLocal.address);
  EXPECT_EQ(pid_of(flows_.owner(Protocol::kTcp, kLocal, kRemote)), 20U);
  kernel_.add_address(net_, kLocal.address);
  EXPECT_EQ(pid_of(flows_.owner(Protocol::kTcp, kLocal, kRemote)), 10U);
}

TEST_F(FlowsTest, knows_who_listens) {
  kernel_.add_listener(net_, kAny);
  kernel_.add_udp(net_, kAny);
  kernel_.add_udp(net_, {kLocal.address, 5000}, kRemote);
  EXPECT_TRUE(flows_.listens(Protocol::kTcp, kLocal));
  EXPECT_TRUE(flows_.listens(Protocol::kUdp, kLocal));
  EXPECT_FALSE(flows_.listens(Protocol::kTcp, {kLocal.address, 81}));
  EXPECT_FALSE(flows_.listens(Protocol::kUdp, {kLocal.address, 5000}));  // connected: not for strangers
}

TEST_F(FlowsTest, lists_every_socket_with_its_holders) {
  const GuestVirtual file = kernel_.open_socket(kernel_.add_listener(net_, kAny, 33), web_, 77);
  kernel_.set_fd(web_, 3, file);
  kernel_.set_fd(other_, 5, file);
  kernel_.add_connection(net_, kLocal, kRemote, TcpState::kTimeWait);
  kernel_.add_udp(net_, kAny);
  const auto sockets = stack_.inventory.sockets();
  ASSERT_TRUE(sockets) << sockets.error().message;
  ASSERT_EQ(sockets->size(), 3U);
  const Socket& listener = sockets->front();
  EXPECT_EQ(listener.state, TcpState::kListen);
  EXPECT_EQ(listener.inode, 77U);
  EXPECT_EQ(listener.uid, 33U);
  ASSERT_EQ(listener.holders.size(), 2U);
  EXPECT_EQ(listener.holders[0].pid, 10U);
  EXPECT_EQ(listener.holders[1].fd, 5U);
}

TEST_F(FlowsTest, reads_one_socket_by_its_address) {
  const GuestVirtual sock = hold(kernel_.add_connection(net_, kLocal, kRemote, TcpState::kEstablished, 33), web_, 4);
  const auto socket = stack_.inventory.socket(sock);
  ASSERT_TRUE(socket) << socket.error().message;
  EXPECT_EQ(socket->protocol, Protocol::kTcp);
  EXPECT_EQ(socket->state, TcpState::kEstablished);
  EXPECT_EQ(socket->local, kLocal);
  EXPECT_EQ(socket->remote, kRemote);
  EXPECT_EQ(socket->uid, 33U);
  EXPECT_EQ(socket->inode, 1004U);
  EXPECT_EQ(stack_.inventory.socket(kernel_.add_udp(net_, kAny)).value().protocol, Protocol::kUdp);
}

TEST_F(FlowsTest, takes_nothing_else_for_a_socket) {
  const GuestVirtual sock = kernel_.add_connection(net_, kLocal, kRemote);
  const auto code = [&](GuestVirtual address) {
    const auto socket = stack_.inventory.socket(address);
    return socket ? Code::kSystem : socket.error().code;
  };
  EXPECT_EQ(code({0x1234}), Code::kUnreadable);
  EXPECT_EQ(code(web_), Code::kNotFound);
  auto& raw = kernel_.at<FakeKernel::Sock>(sock);
  raw.type = 3;  // SOCK_RAW, of TCP's packets
  EXPECT_EQ(code(sock), Code::kUnsupported);
  raw.common.family = 1;  // AF_UNIX
  EXPECT_EQ(code(sock), Code::kUnsupported);
  raw.common.net = 0x1234;
  EXPECT_EQ(code(sock), Code::kNotFound);
}

TEST_F(FlowsTest, keeps_no_namespace_that_was_half_read) {
  hold(kernel_.add_connection(net_, kLocal, kRemote, TcpState::kEstablished, 33), web_, 4);
  for (uint64_t reads = 0; reads < 20; ++reads) {
    kernel_.limit_reads(reads);
    static_cast<void>(flows_.owner(Protocol::kTcp, kLocal, kRemote));
    kernel_.limit_reads(KernelMemory::kUnlimited);
    EXPECT_EQ(pid_of(flows_.owner(Protocol::kTcp, kLocal, kRemote)), 10U) << reads;
    kernel_.add_net(static_cast<uint32_t>(reads + 2), 0x77);  // so that the list is read again
  }
}

// What a guest's own kernel could do: any byte may be anything. The answers may be wrong, but they come, soon, and
// nothing outside the guest's memory is touched.
TEST(HostileMemory, is_survived) {
  std::mt19937_64 random(20240501);
  for (int round = 0; round < 300; ++round) {
    FakeKernel kernel(1 << 18);
    const GuestVirtual web = kernel.add_process(10, "web", 33);
    for (uint32_t pid = 11; pid < 30; ++pid) kernel.add_process(pid, "idle", 0, web);
    kernel.add_net(2, 0x77);
    kernel.set_fd(web, 3, kernel.open_socket(kernel.add_listener(kernel.roots.init_net, kAny, 33), web));
    kernel.set_fd(web, 4, kernel.open_socket(kernel.add_connection(kernel.roots.init_net, kLocal, kRemote), web));
    kernel.set_fd(web, 5, kernel.open_socket(kernel.add_udp(kernel.roots.init_net, kAny), web));
    kernel.set_arguments(web, std::string("web\0", 4));
    Stack stack(kernel);
    ASSERT_TRUE(stack.owners.index_credentials());

    // From a few words that point elsewhere in the arena to memory full of noise.
    const auto bytes = kernel.bytes();
    const size_t words = bytes.size() / 8;
    const size_t spoilt = round < 250 ? 1 + static_cast<size_t>(round) : words;
    for (size_t i = 0; i < spoilt; ++i) {
      const uint64_t word = random() % 4 == 0 ? random() : FakeKernel::kBase + random() % bytes.size() / 8 * 8;
      // The arena is mostly empty: spoil where something is.
      std::memcpy(bytes.data() + random() % (round < 250 ? words / 8 : words) * 8, &word, 8);
    }
    const uint64_t before = kernel.reads();
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
      static_cast<void>(stack.flows.owner(protocol, kLocal, kRemote));
      static_cast<void>(stack.flows.listens(protocol, kLocal));
    }
    static_cast<void>(stack.inventory.sockets());
    if (const auto tasks = stack.tasks.all())
      for (const Task& task : *tasks) static_cast<void>(stack.tasks.describe(task));
    EXPECT_LT(kernel.reads() - before, 20'000'000U);
  }
}

}  // namespace
}  // namespace hyperward::guest
