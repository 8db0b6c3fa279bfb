#include "guest/owners.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guest/fake_kernel.h"

namespace hyperward::guest {
namespace {

const Endpoint kLocal{IpAddress::v4(10, 0, 0, 5), 40000};
const Endpoint kRemote{IpAddress::v4(192, 0, 2, 1), 25};

class OwnersTest : public testing::Test {
 protected:
  OwnersTest() {
    kernel_.add_process(1, "init", 0);
    alice_ = kernel_.add_process(100, "nc", 1000);
    sock_ = kernel_.add_connection(kernel_.roots.init_net, kLocal, kRemote, TcpState::kSynSent, 1000);
  }

  // The socket is open in alice's process, at descriptor 3.
  GuestVirtual open_in_alice() {
    const GuestVirtual file = kernel_.open_socket(sock_, alice_, 4711);
    kernel_.set_fd(alice_, 3, file);
    return file;
  }
  Owner owner() {
    SockCommon sock;
    EXPECT_TRUE(sock.load(kernel_, kernel_.layout, sock_));
    return owners_.owner(sock);
  }
  FakeKernel::Task& task(GuestVirtual address) { return kernel_.at<FakeKernel::Task>(address); }
  void change_credentials(GuestVirtual address) {
    task(address).cred = kernel_.put(kernel_.at<FakeKernel::Cred>({task(address).cred})).value;
  }

  FakeKernel kernel_;
  Tasks tasks_{kernel_, kernel_.layout, kernel_.roots};
  Files files_{kernel_, kernel_.layout};
  Owners owners_{kernel_, kernel_.layout, kernel_.roots, tasks_, files_};
  GuestVirtual alice_, sock_;
};

TEST_F(OwnersTest, names_the_process_whose_credentials_opened_the_socket) {
  ASSERT_TRUE(owners_.index_credentials());
  open_in_alice();
  const Owner found = owner();
  EXPECT_EQ(found.how, How::kCredentials);
  EXPECT_EQ(found.reason, Reason::kNone);
  EXPECT_EQ(found.uid, 1000U);
  EXPECT_EQ(found.gid, 1000U);
  ASSERT_TRUE(found.process);
  EXPECT_EQ(found.process->pid, 100U);
  EXPECT_EQ(found.process->comm, "nc");
  EXPECT_EQ(found.evidence.fd, 3U);
  EXPECT_EQ(found.evidence.inode, 4711U);
}

TEST_F(OwnersTest, finds_a_process_that_started_after_attach_without_a_walk) {
  ASSERT_TRUE(owners_.index_credentials());
  for (uint32_t pid = 200; pid < 300; ++pid) kernel_.add_process(pid, "idle", 0);
  alice_ = kernel_.add_process(300, "nc", 1000);
  open_in_alice();
  const uint64_t before = kernel_.reads();
  EXPECT_EQ(owner().how, How::kCredentials);
  EXPECT_LT(kernel_.reads() - before, 30U);
}

TEST_F(OwnersTest, knows_a_socket_again_by_its_descriptor) {
  open_in_alice();
  static_cast<void>(owner());
  EXPECT_EQ(owner().how, How::kIndex);
}

TEST_F(OwnersTest, forgets_a_socket_whose_descriptor_holds_another_file) {
  const GuestVirtual file = open_in_alice();
  static_cast<void>(owner());
  kernel_.set_fd(alice_, 3, {});
  const GuestVirtual bob = kernel_.add_process(101, "thief", 1001);
  kernel_.set_fd(bob, 9, file);
  const Owner found = owner();
  ASSERT_TRUE(found.process);
  EXPECT_EQ(found.process->pid, 101U);
  EXPECT_EQ(found.uid, 1000U);  // who opened it
}

TEST_F(OwnersTest, names_no_process_that_took_the_place_of_an_ended_one) {
  open_in_alice();
  static_cast<void>(owner());
  auto& reused = task(alice_);  // the same task_struct, the same open file, another process
  reused.start_time += 1;
  reused.pid = reused.tgid = 555;
  kernel_.set_fd(alice_, 3, {});
  const Owner found = owner();
  EXPECT_FALSE(found.process);
  EXPECT_EQ(found.how, How::kSocketOnly);
  EXPECT_EQ(found.reason, Reason::kNotConfirmed);
  EXPECT_EQ(found.uid, 1000U);
}

TEST_F(OwnersTest, names_no_process_by_its_credentials_alone) {
  ASSERT_TRUE(owners_.index_credentials());
  kernel_.open_socket(sock_, alice_);  // in no descriptor table
  const Owner found = owner();
  EXPECT_FALSE(found.process);
  EXPECT_EQ(found.uid, 1000U);
  EXPECT_EQ(found.reason, Reason::kNotConfirmed);
}

TEST_F(OwnersTest, finds_the_holder_by_a_walk_when_the_credentials_changed) {
  open_in_alice();
  change_credentials(alice_);
  for (uint32_t pid = 200; pid < 300; ++pid) kernel_.add_process(pid, "idle", 0);
  const Owner found = owner();
  EXPECT_EQ(found.how, How::kWalk);
  ASSERT_TRUE(found.process);
  EXPECT_EQ(found.process->pid, 100U);
}

TEST_F(OwnersTest, learns_where_other_sockets_are_from_a_walk) {
  const GuestVirtual first = sock_;
  open_in_alice();
  sock_ = kernel_.add_connection(kernel_.roots.init_net, kLocal, {kRemote.address, 26}, TcpState::kEstablished, 1000);
  kernel_.set_fd(alice_, 4, kernel_.open_socket(sock_, alice_));
  change_credentials(alice_);
  for (uint32_t pid = 200; pid < 300; ++pid) kernel_.add_process(pid, "idle", 0);
  ASSERT_EQ(owner().how, How::kWalk);
  sock_ = first;
  EXPECT_EQ(owner().how, How::kIndex);
}

TEST_F(OwnersTest, finds_the_child_that_a_server_gave_its_connection_to) {
  const GuestVirtual file = open_in_alice();
  const GuestVirtual child = kernel_.add_process(102, "child", 1000, alice_);
  kernel_.set_fd(child, 3, file);
  kernel_.set_fd(alice_, 3, {});
  const Owner found = owner();
  ASSERT_TRUE(found.process);
  EXPECT_EQ(found.process->pid, 102U);
}

TEST_F(OwnersTest, names_the_server_when_its_workers_hold_the_socket_too) {
  const GuestVirtual file = open_in_alice();
  change_credentials(alice_);  // it became a daemon's user after opening
  for (uint32_t pid = 102; pid < 105; ++pid) kernel_.set_fd(kernel_.add_process(pid, "worker", 1000, alice_), 3, file);
  const Owner found = owner();
  ASSERT_TRUE(found.process);
  EXPECT_EQ(found.process->pid, 100U);
}

TEST_F(OwnersTest, names_no_process_when_strangers_share_the_socket) {
  const GuestVirtual file = open_in_alice();
  kernel_.set_fd(alice_, 3, {});
  kernel_.set_fd(kernel_.add_process(102, "one", 1), 3, file);
  kernel_.set_fd(kernel_.add_process(103, "two", 2), 3, file);
  const Owner found = owner();
  EXPECT_FALSE(found.process);
  EXPECT_EQ(found.reason, Reason::kAmbiguous);
  EXPECT_EQ(found.uid, 1000U);
  EXPECT_EQ(found.others.size(), 2U);
}

TEST_F(OwnersTest, finds_the_task_that_waits_for_the_socket) {
  open_in_alice();
  change_credentials(alice_);
  for (uint32_t pid = 200; pid < 300; ++pid) kernel_.add_process(pid, "idle", 0);
  kernel_.add_waiter(sock_, FakeKernel::kAutoremove, alice_);
  const Owner found = owner();
  EXPECT_EQ(found.how, How::kWaitQueue);
  ASSERT_TRUE(found.process);
  EXPECT_EQ(found.process->pid, 100U);
}

TEST_F(OwnersTest, finds_the_task_that_polls_the_socket) {
  open_in_alice();
  change_credentials(alice_);
  kernel_.add_waiter(sock_, FakeKernel::kPollwake, kernel_.put(alice_));
  EXPECT_EQ(owner().how, How::kWaitQueue);
}

TEST_F(OwnersTest, finds_the_process_whose_epoll_set_watches_the_socket) {
  ASSERT_TRUE(owners_.index_credentials());
  const GuestVirtual file = open_in_alice();
  auto& opened = kernel_.at<FakeKernel::File>(file);
  opened.cred = kernel_.put(FakeKernel::Cred{}).value;  // opened by one that is gone
  FakeKernel::File epoll_file{};
  epoll_file.cred = task(alice_).cred;
  struct Item {
    GuestVirtual epoll, file;
  };
  const GuestVirtual item = kernel_.put(Item{kernel_.put(kernel_.put(epoll_file)), file});
  struct Entry {
    uint64_t next;
    GuestVirtual base;
    FakeKernel::Waiter wait;
  };
  const GuestVirtual entry = kernel_.put(Entry{0, item, {0, FakeKernel::kEpollCallback, {}}});
  auto& head = kernel_.at<FakeKernel::Socket>({kernel_.at<FakeKernel::Sock>(sock_).socket}).waiters;
  auto& node = kernel_.at<Entry>(entry).wait.entry;
  node = {kernel_.address_of(head), kernel_.address_of(head)};
  head = {kernel_.address_of(node), kernel_.address_of(node)};
  EXPECT_EQ(owner().how, How::kWaitQueue);
}

TEST_F(OwnersTest, ends_on_a_wait_queue_that_is_a_cycle) {
  open_in_alice();
  change_credentials(alice_);
  auto& entry = kernel_.at<FakeKernel::Waiter>(kernel_.add_waiter(sock_, 1, {})).entry;
  entry.next = kernel_.address_of(entry);
  EXPECT_EQ(owner().how, How::kWalk);
}

TEST_F(OwnersTest, names_the_process_of_a_thread_with_a_descriptor_table_of_its_own) {
  const GuestVirtual file = kernel_.open_socket(sock_, alice_);
  FakeKernel::Task thread = task(kernel_.add_process(101, "hidden", 1000));
  kernel_.end_process({thread.group_leader});
  thread.tgid = 100;
  thread.group_leader = alice_.value;
  const GuestVirtual address = kernel_.put(thread);
  kernel_.set_fd(address, 5, file);
  kernel_.add_waiter(sock_, FakeKernel::kAutoremove, address);
  const Owner found = owner();
  ASSERT_TRUE(found.process);
  EXPECT_EQ(found.process->pid, 100U);
  EXPECT_EQ(found.process->comm, "nc");
}

TEST_F(OwnersTest, tells_the_user_of_an_orphan) {
  kernel_.at<FakeKernel::Sock>(sock_).common.flags_or_listener = 1;  // SOCK_DEAD
  const Owner found = owner();
  EXPECT_EQ(found.how, How::kSocketOnly);
  EXPECT_EQ(found.reason, Reason::kOrphan);
  EXPECT_EQ(found.uid, 1000U);
}

TEST_F(OwnersTest, tells_a_socket_that_no_process_has_accepted) {
  EXPECT_EQ(owner().reason, Reason::kNotAccepted);
}

TEST_F(OwnersTest, tells_a_socket_of_the_kernel) {
  open_in_alice();
  kernel_.at<FakeKernel::Socket>({kernel_.at<FakeKernel::Sock>(sock_).socket}).file = 0;
  EXPECT_EQ(owner().reason, Reason::kKernel);
}

TEST_F(OwnersTest, believes_no_file_that_does_not_point_back) {
  const GuestVirtual file = open_in_alice();
  kernel_.at<FakeKernel::File>(file).private_data += 8;
  const Owner found = owner();
  EXPECT_EQ(found.reason, Reason::kInconsistent);
  EXPECT_FALSE(found.process);
}

TEST_F(OwnersTest, believes_no_socket_that_became_another_one_meanwhile) {
  open_in_alice();
  SockCommon before;
  ASSERT_TRUE(before.load(kernel_, kernel_.layout, sock_));
  kernel_.at<FakeKernel::Sock>(sock_).common.local_port += 1;
  const Owner found = owners_.owner(before);
  EXPECT_EQ(found.reason, Reason::kInconsistent);
  EXPECT_FALSE(found.process);
  EXPECT_FALSE(found.uid);
}

TEST_F(OwnersTest, rations_the_reads_of_walks) {
  kernel_.open_socket(sock_, alice_);  // nobody holds it: every look-up would walk
  for (uint32_t pid = 200; pid < 500; ++pid) kernel_.add_process(pid, "idle", 0);
  constexpr int kLookups = 5000;
  const uint64_t before = kernel_.reads();
  for (int i = 0; i < kLookups; ++i) static_cast<void>(owner());
  const uint64_t bound = Owners::kWalkReadsMax + uint64_t{kLookups} * (Owners::kWalkReadsPerLookup + 400) + 10000;
  EXPECT_LT(kernel_.reads() - before, bound);
}

}  // namespace
}  // namespace hyperward::guest
