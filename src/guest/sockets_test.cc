// The socket tables: TCP's and UDP's look-ups on tables that the test links.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guest/fake_kernel.h"
#include "guest/jhash.h"
#include "guest/tcp_sockets.h"
#include "guest/udp_sockets.h"

namespace hyperward::guest {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

const Endpoint kLocal{IpAddress::v4(10, 0, 0, 5), 40000};
const Endpoint kRemote{IpAddress::v4(192, 0, 2, 1), 25};
const Endpoint kOther{IpAddress::v4(192, 0, 2, 2), 25};

IpAddress v6(uint8_t last) {
  return IpAddress::v6({0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last});
}

class SocketsTest : public testing::Test {
 protected:
  Namespace space() {
    Namespaces namespaces(kernel_, kernel_.layout, kernel_.roots);
    namespaces.refresh();
    return namespaces.list().front();
  }
  Outcome connected(const Endpoint& local, const Endpoint& remote) {
    Budget budget(1000);
    return tcp_.connected(space(), local, remote, budget, found_);
  }
  std::vector<GuestVirtual> listeners(const Endpoint& local) {
    Budget budget(1000);
    Candidates candidates;
    static_cast<void>(tcp_.listeners(space(), local, budget, candidates));
    return {candidates.all().begin(), candidates.all().end()};
  }
  std::vector<GuestVirtual> datagrams(const Endpoint& local, const Endpoint* remote) {
    Budget budget(1000);
    Candidates candidates;
    static_cast<void>(udp_.find(space(), local, remote, budget, candidates));
    return {candidates.all().begin(), candidates.all().end()};
  }
  FakeKernel::Common& common(GuestVirtual sock) { return kernel_.at<FakeKernel::Sock>(sock).common; }
  uint64_t& slot_of(GuestVirtual sock) {
    const auto& hashinfo = kernel_.at<FakeKernel::Hashinfo>({kernel_.at<FakeKernel::Net>(net_).hashinfo});
    return kernel_.at<uint64_t>({hashinfo.ehash + uint64_t{common(sock).hash & hashinfo.ehash_mask} * 8});
  }

  FakeKernel kernel_;
  GuestVirtual net_ = kernel_.roots.init_net;
  TcpSockets tcp_{kernel_, kernel_.layout, kernel_.roots};
  UdpSockets udp_{kernel_, kernel_.layout};
  SockCommon found_;
};

// The expected values are what the kernel's include/linux/jhash.h computes.
TEST(Jhash, gives_the_hash_that_the_kernel_gives) {
  EXPECT_EQ(jhash_3words(1, 2, 3, 4), 0x8103143fU);
  EXPECT_EQ(jhash_1word(1, 2), 0xf1524a01U);
  EXPECT_EQ(jhash_4words({1, 2, 3, 4}, 5), 0x73558c35U);
}

TEST_F(SocketsTest, finds_a_connection_by_its_endpoints) {
  const GuestVirtual sock = kernel_.add_connection(net_, kLocal, kRemote);
  kernel_.add_connection(net_, kLocal, kOther);
  ASSERT_EQ(connected(kLocal, kRemote), Outcome::kFound);
  EXPECT_EQ(found_.address(), sock);
  EXPECT_EQ(connected(kRemote, kLocal), Outcome::kAbsent);
}

TEST_F(SocketsTest, finds_a_connection_where_later_kernels_hash_it) {
  const GuestVirtual sock = kernel_.add_sock(net_, kLocal, kRemote, TcpState::kEstablished);
  kernel_.link_connection(sock, kLocal, kRemote, /*port_added=*/true);
  ASSERT_EQ(connected(kLocal, kRemote), Outcome::kFound);
  EXPECT_EQ(found_.address(), sock);
}

TEST_F(SocketsTest, finds_a_connection_over_ipv6) {
  const GuestVirtual sock = kernel_.add_connection(net_, {v6(1), 40000}, {v6(2), 443});
  ASSERT_EQ(connected({v6(1), 40000}, {v6(2), 443}), Outcome::kFound);
  EXPECT_EQ(found_.address(), sock);
}

TEST_F(SocketsTest, finds_ipv4_spoken_through_an_ipv6_socket) {
  const GuestVirtual sock = kernel_.add_connection(net_, kLocal, kRemote, TcpState::kEstablished, 0, /*v6=*/true);
  ASSERT_EQ(connected(kLocal, kRemote), Outcome::kFound);
  EXPECT_EQ(found_.address(), sock);
  EXPECT_EQ(found_.family(), kFamilyV6);
}

TEST_F(SocketsTest, looks_through_the_whole_table_when_the_secret_is_not_known) {
  kernel_.add_connection(net_, kLocal, kRemote);
  kernel_.roots.ehash_secret = {};
  EXPECT_EQ(connected(kLocal, kRemote), Outcome::kFound);
  EXPECT_EQ(connected(kLocal, kOther), Outcome::kAbsent);
}

TEST_F(SocketsTest, looks_through_the_whole_table_when_no_formula_fits) {
  const GuestVirtual sock = kernel_.add_sock(net_, kLocal, kRemote, TcpState::kEstablished);
  kernel_.link_connection(sock, kLocal, kRemote);
  slot_of(sock) = uint64_t{common(sock).hash & 15} << 1 | 1;
  common(sock).hash += 1;
  common(sock).node[0] = slot_of(sock);
  slot_of(sock) = kernel_.address_of(common(sock).node);
  EXPECT_EQ(connected(kLocal, kRemote), Outcome::kFound);
}

TEST_F(SocketsTest, looks_in_one_slot_only_once_a_formula_is_proven) {
  kernel_.add_connection(net_, kLocal, kRemote);
  ASSERT_EQ(connected(kLocal, kRemote), Outcome::kFound);
  const uint64_t before = kernel_.reads();
  EXPECT_EQ(connected(kLocal, kOther), Outcome::kAbsent);
  EXPECT_LT(kernel_.reads() - before, 30U);  // the namespace, the secret, one chain
}

TEST_F(SocketsTest, finds_no_connection_of_another_namespace) {
  kernel_.add_connection(kernel_.add_net(2, 7), kLocal, kRemote);
  EXPECT_EQ(connected(kLocal, kRemote), Outcome::kAbsent);
}

TEST_F(SocketsTest, gives_up_on_a_chain_that_ends_in_another_slot) {
  const GuestVirtual sock = kernel_.add_connection(net_, kLocal, kRemote);
  ASSERT_EQ(connected(kLocal, kRemote), Outcome::kFound);  // the formula is proven
  common(sock).node[0] = uint64_t{(common(sock).hash + 1) & 15} << 1 | 1;
  common(sock).local_port = 1;
  EXPECT_EQ(connected(kLocal, kRemote), Outcome::kInconsistent);
}

TEST_F(SocketsTest, gives_up_on_a_chain_that_is_a_cycle) {
  const GuestVirtual sock = kernel_.add_connection(net_, kLocal, kRemote);
  ASSERT_EQ(connected(kLocal, kRemote), Outcome::kFound);
  common(sock).node[0] = kernel_.address_of(common(sock).node);
  common(sock).local_port = 1;
  EXPECT_EQ(connected(kLocal, kRemote), Outcome::kInconsistent);
}

TEST_F(SocketsTest, finds_nothing_in_a_table_of_impossible_size) {
  kernel_.add_connection(net_, kLocal, kRemote);
  kernel_.at<FakeKernel::Hashinfo>({kernel_.at<FakeKernel::Net>(net_).hashinfo}).ehash_mask = UINT32_MAX;
  EXPECT_EQ(connected(kLocal, kRemote), Outcome::kAbsent);
}

TEST_F(SocketsTest, finds_the_listener_of_the_address_before_that_of_any) {
  kernel_.add_listener(net_, {IpAddress::v4(0, 0, 0, 0), 25});
  const GuestVirtual own = kernel_.add_listener(net_, {kLocal.address, 25});
  EXPECT_THAT(listeners({kLocal.address, 25}), ElementsAre(own));
}

TEST_F(SocketsTest, finds_the_listener_of_any_address) {
  const GuestVirtual any = kernel_.add_listener(net_, {IpAddress::v4(0, 0, 0, 0), 25});
  EXPECT_THAT(listeners({kLocal.address, 25}), ElementsAre(any));
  EXPECT_THAT(listeners({v6(1), 25}), testing::IsEmpty());
}

TEST_F(SocketsTest, takes_a_dual_stack_listener_for_ipv4_unless_it_wants_ipv6_only) {
  const GuestVirtual any = kernel_.add_listener(net_, {IpAddress(), 80}, 0, /*v6=*/true);
  EXPECT_THAT(listeners({kLocal.address, 80}), ElementsAre(any));
  common(any).bits = 1;
  EXPECT_THAT(listeners({kLocal.address, 80}), testing::IsEmpty());
  EXPECT_THAT(listeners({v6(1), 80}), ElementsAre(any));
}

TEST_F(SocketsTest, finds_all_listeners_that_share_a_port) {
  const GuestVirtual one = kernel_.add_listener(net_, {kLocal.address, 80});
  const GuestVirtual two = kernel_.add_listener(net_, {kLocal.address, 80});
  EXPECT_THAT(listeners({kLocal.address, 80}), UnorderedElementsAre(one, two));
}

TEST_F(SocketsTest, prefers_a_connected_datagram_socket_to_a_bound_one_to_one_for_any_address) {
  const Endpoint any{IpAddress::v4(0, 0, 0, 0), kLocal.port};
  const GuestVirtual wildcard = kernel_.add_udp(net_, any);
  EXPECT_THAT(datagrams(kLocal, &kRemote), ElementsAre(wildcard));
  const GuestVirtual bound = kernel_.add_udp(net_, kLocal);
  EXPECT_THAT(datagrams(kLocal, &kRemote), ElementsAre(bound));
  const GuestVirtual connected = kernel_.add_udp(net_, kLocal, kRemote);
  EXPECT_THAT(datagrams(kLocal, &kRemote), ElementsAre(connected));
  EXPECT_THAT(datagrams(kLocal, &kOther), ElementsAre(bound));
}

TEST_F(SocketsTest, takes_no_connected_datagram_socket_for_a_stranger) {
  kernel_.add_udp(net_, kLocal, kRemote);
  EXPECT_THAT(datagrams(kLocal, nullptr), testing::IsEmpty());
}

TEST_F(SocketsTest, finds_the_sender_that_is_bound_to_a_multicast_group) {
  const GuestVirtual sock = kernel_.add_udp(net_, {IpAddress::v4(224, 0, 0, 251), 5353});
  const Endpoint group{IpAddress::v4(224, 0, 0, 251), 5353};
  EXPECT_THAT(datagrams({kLocal.address, 5353}, &group), ElementsAre(sock));
}

TEST_F(SocketsTest, gives_up_on_datagram_sockets_that_stand_in_a_foreign_slot) {
  const GuestVirtual sock = kernel_.add_udp(net_, kLocal);
  common(sock).hash += 1 << 16;
  Budget budget(1000);
  Candidates candidates;
  EXPECT_EQ(udp_.find(space(), kLocal, nullptr, budget, candidates), Outcome::kInconsistent);
}

TEST_F(SocketsTest, lists_a_table_once_and_ends_a_cycle_in_an_error) {
  kernel_.add_connection(net_, kLocal, kRemote);
  const GuestVirtual sock = kernel_.add_connection(net_, kLocal, kOther);
  const SocketTable table = tcp_.connection_table(space().tcp);
  size_t count = 0;
  Budget budget(1000);
  EXPECT_TRUE(walk_table(kernel_, kernel_.layout, table, budget, [&](const SockCommon&) { ++count; }));
  EXPECT_EQ(count, 2U);
  common(sock).node[0] = kernel_.address_of(common(sock).node);
  const auto walked = walk_table(kernel_, kernel_.layout, table, budget, [](const SockCommon&) {});
  ASSERT_FALSE(walked);
  EXPECT_EQ(walked.error().code, Code::kLimit);
}

}  // namespace
}  // namespace hyperward::guest
