#include "daemon/flow_owner.h"

#include <gtest/gtest.h>

namespace hyperward::daemon {
namespace {

TEST(FlowOwner, survives_the_flow_map) {
  guest::Owner owner;
  owner.how = guest::How::kCredentials;
  owner.reason = guest::Reason::kNone;
  owner.uid = 1000;
  owner.gid = 100;
  owner.process = guest::ProcessId{.pid = 412, .comm = "fifteen-bytes-l", .start_time_ns = 77};
  owner.evidence.socket = {0xffff888001234000};
  owner.evidence.inode = 8123;
  owner.evidence.fd = 3;
  owner.evidence.state = guest::TcpState::kSynSent;

  const hw_owner packed = pack(owner, 7);
  EXPECT_EQ(packed.rule_line, 7U);
  const guest::Owner back = unpack(packed);
  EXPECT_EQ(back.how, owner.how);
  EXPECT_EQ(back.reason, owner.reason);
  EXPECT_EQ(back.uid, owner.uid);
  EXPECT_EQ(back.gid, owner.gid);
  EXPECT_EQ(back.process, owner.process);
  EXPECT_EQ(back.process->comm, "fifteen-bytes-l");
  EXPECT_EQ(back.evidence.socket, owner.evidence.socket);
  EXPECT_EQ(back.evidence.inode, 8123U);
  EXPECT_EQ(back.evidence.fd, 3U);
  EXPECT_EQ(back.evidence.state, guest::TcpState::kSynSent);
}

TEST(FlowOwner, keeps_root_apart_from_unknown) {
  guest::Owner root;
  root.uid = 0;
  EXPECT_EQ(unpack(pack(root, 0)).uid, 0U);
  EXPECT_FALSE(unpack(pack(guest::Owner(), 0)).uid.has_value());
  EXPECT_FALSE(unpack(pack(guest::Owner(), 0)).process.has_value());
}

}  // namespace
}  // namespace hyperward::daemon
