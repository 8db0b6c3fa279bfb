// Frames through a real tap: held, judged, put back.
#include <gtest/gtest.h>

#include "datapath/datapath.h"
#include "datapath/test_net.h"
#include "packet/build.h"

namespace hyperward::datapath {
namespace {

namespace build = packet::build;
using test::Bytes;
using test::Frame;
using test::TestNet;

const IpAddress kGuest = IpAddress::v4(10, 9, 0, 2), kServer = IpAddress::v4(192, 0, 2, 1);

class Hold : public testing::Test {
 protected:
  void SetUp() override {
    auto made = TestNet::make();
    if (!made) GTEST_SKIP() << "NOT TESTED: the packet path. " << made.error().message;
    net.emplace(std::move(*made));
    attach();
  }

  void attach() {
    path.reset();
    auto attached = Datapath::attach(net->options());
    ASSERT_TRUE(attached) << attached.error().message;
    path.emplace(std::move(*attached));
  }

  Judgement judgement(Verdict verdict, Direction direction = Direction::kOut) {
    Judgement judgement;
    judgement.verdict = verdict;
    judgement.direction = direction;
    judgement.owner.uid = 1000;
    return judgement;
  }

  std::optional<TestNet> net;
  std::optional<Datapath> path;
};

Bytes syn(uint16_t port, uint32_t sequence = 1000) {
  return build::ethernet(build::ip(kGuest, kServer, build::tcp(port, 25, packet::Tcp::kSyn, sequence)));
}

TEST_F(Hold, keeps_an_unjudged_frame_back_until_it_is_put_back) {
  net->guest_sends(syn(40000));
  EXPECT_TRUE(net->world_receives_nothing());

  const auto held = test::wait_for_held(*path);
  ASSERT_TRUE(held);
  EXPECT_EQ(held->key.source.port, 40000);
  EXPECT_EQ(held->direction, Direction::kOut);
  ASSERT_TRUE(path->store(*held, judgement(Verdict::kAllow)));
  ASSERT_TRUE(path->reinject(*held));

  const auto arrived = net->world_receives();
  ASSERT_TRUE(arrived);
  EXPECT_EQ(arrived->bytes, syn(40000));
  const auto record = path->find(held->key);
  ASSERT_TRUE(record);
  EXPECT_EQ(record->state(), State::kOpening);
  EXPECT_EQ(record->flow.packets[0], 1U);
}

}  // namespace
}  // namespace hyperward::datapath
