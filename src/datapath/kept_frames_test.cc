// Frames that the caller keeps: what becomes of them, of those behind them, and how many there may be.
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <vector>

#include "datapath/datapath.h"
#include "datapath/offload.h"
#include "datapath/test_net.h"
#include "packet/build.h"

namespace hyperward::datapath {
namespace {

namespace build = packet::build;
using packet::Tcp;
using test::Bytes;
using test::TestNet;

const IpAddress kGuest = IpAddress::v4(10, 9, 0, 2), kWorld = IpAddress::v4(192, 0, 2, 1);

Bytes question(std::string_view text, uint16_t port = 40000) {
  return build::ethernet(build::ip(kGuest, kWorld, build::udp(port, 53, text)));
}

Bytes syn(uint32_t sequence) {
  return build::ethernet(build::ip(kGuest, kWorld, build::tcp(40000, 25, Tcp::kSyn, sequence)));
}

Bytes fragment(size_t offset) {
  static const Bytes whole = build::ip(kGuest, kWorld, build::udp(40000, 53, std::string(64, 'x')));
  return build::ethernet(build::fragment_of(whole, 1, offset, 24));
}

Judgement judgement(Verdict verdict, uint32_t generation = 0) {
  Judgement judgement;
  judgement.verdict = verdict;
  judgement.direction = Direction::kOut;
  judgement.generation = generation;
  return judgement;
}

class KeptFrame : public testing::Test {
 protected:
  void SetUp() override {
    auto made = TestNet::make();
    if (!made) GTEST_SKIP() << "NOT TESTED: frames that are kept. " << made.error().message;
    net.emplace(std::move(*made));
    attach([](Options&) {});
  }

  // Anew, with other options.
  void attach(const std::function<void(Options&)>& change) {
    path.reset();
    Options options = net->options();
    change(options);
    auto attached = Datapath::attach(options);
    ASSERT_TRUE(attached) << attached.error().message;
    path.emplace(std::move(*attached));
  }

  // Of the next frame that is held; nullptr when there is none, or it cannot be kept.
  Kept keep_next() {
    const auto held = test::wait_for_held(*path);
    if (!held) return nullptr;
    auto kept = path->keep(*held);
    return kept ? std::move(*kept) : nullptr;
  }

  void allow(Kept kept) {
    ASSERT_TRUE(path->store(*kept, judgement(Verdict::kAllow)));
    ASSERT_TRUE(path->reinject(*kept));
  }
  void deny(Kept kept) {
    ASSERT_TRUE(path->store(*kept, judgement(Verdict::kDeny)));
    ASSERT_TRUE(path->drop(*kept));
  }
  // Whether the frame went by itself, since its flow is judged.
  bool settles(const Kept& kept) {
    const auto to_be_judged = path->settle(*kept);
    return to_be_judged && !*to_be_judged;
  }

  testing::AssertionResult arrives(const Bytes& frame) const {
    const auto arrived = net->world_receives();
    if (!arrived) return testing::AssertionFailure() << "nothing arrived";
    if (arrived->bytes != frame) return testing::AssertionFailure() << "another frame arrived";
    return testing::AssertionSuccess();
  }

  uint64_t count(hw_counter counter) { return (*path->counters())[counter]; }

  std::optional<TestNet> net;
  std::optional<Datapath> path;
};

TEST_F(KeptFrame, lets_others_be_judged_before_it) {
  const std::string large(1400, 'x');
  net->guest_sends(question(large, 1));
  Kept kept = keep_next();
  ASSERT_TRUE(kept);
  net->guest_sends(question("other", 2));
  Kept other = keep_next();
  ASSERT_TRUE(other);
  EXPECT_EQ(other->reason, Reason::kNewFlow);
  allow(std::move(other));
  EXPECT_TRUE(arrives(question("other", 2)));
  allow(std::move(kept));
  EXPECT_TRUE(arrives(question(large, 1)));
}

TEST_F(KeptFrame, goes_in_any_order) {
  std::vector<Kept> kept;
  for (uint16_t port = 0; port < 3; ++port) {
    net->guest_sends(question("in any order", port));
    kept.push_back(keep_next());
    ASSERT_TRUE(kept.back());
  }
  allow(std::move(kept[2]));
  deny(std::move(kept[0]));
  allow(std::move(kept[1]));
  EXPECT_TRUE(arrives(question("in any order", 2)));
  EXPECT_TRUE(arrives(question("in any order", 1)));
  EXPECT_TRUE(net->world_receives_nothing());
  EXPECT_EQ(count(HW_COUNT_DENIED), 1U);
}

TEST_F(KeptFrame, is_not_passed_by_later_ones_of_its_flow) {
  for (const char* text : {"one", "two", "three"}) net->guest_sends(question(text));
  Kept one = keep_next();
  ASSERT_TRUE(one);
  Kept two = keep_next();
  ASSERT_TRUE(two);
  EXPECT_EQ(two->reason, Reason::kBehindKept);
  EXPECT_EQ(two->key, one->key);
  ASSERT_TRUE(path->store(*one, judgement(Verdict::kAllow)));
  Kept three = keep_next();  // judged now, and yet it is not its turn
  ASSERT_TRUE(three);
  EXPECT_EQ(three->reason, Reason::kBehindKept);
  EXPECT_FALSE(settles(two)) << "one waits";

  ASSERT_TRUE(path->reinject(*one));
  one.reset();
  EXPECT_FALSE(settles(three)) << "two waits";
  EXPECT_TRUE(settles(two));
  two.reset();
  EXPECT_TRUE(settles(three));
  for (const char* text : {"one", "two", "three"}) EXPECT_TRUE(arrives(question(text)));
}

TEST_F(KeptFrame, takes_those_behind_it_along_when_it_is_denied) {
  net->guest_sends(question("one"));
  net->guest_sends(question("two"));
  Kept one = keep_next(), two = keep_next();
  ASSERT_TRUE(one && two);
  deny(std::move(one));
  EXPECT_TRUE(settles(two));
  EXPECT_TRUE(net->world_receives_nothing());
}

TEST_F(KeptFrame, does_not_lend_its_verdict_to_another_connection_behind_it) {
  net->guest_sends(syn(1000));
  net->guest_sends(syn(2000));
  Kept first = keep_next(), second = keep_next();
  ASSERT_TRUE(first && second);
  allow(std::move(first));
  EXPECT_TRUE(arrives(syn(1000)));
  EXPECT_FALSE(settles(second));
  EXPECT_EQ(second->reason, Reason::kNewFlow);
  EXPECT_FALSE(second->known);
  EXPECT_EQ(second->direction, Direction::kOut);
}

TEST_F(KeptFrame, is_settled_by_the_rules_of_its_turn) {
  net->guest_sends(question("one"));
  net->guest_sends(question("two"));
  Kept one = keep_next(), two = keep_next();
  ASSERT_TRUE(one && two);
  allow(std::move(one));
  EXPECT_TRUE(arrives(question("one")));
  path->set_generation(1);
  EXPECT_FALSE(settles(two));
  EXPECT_EQ(two->reason, Reason::kRulesChanged);
  EXPECT_TRUE(two->known);
  ASSERT_TRUE(path->rejudge(two->key, judgement(Verdict::kDeny, 1)));
  EXPECT_TRUE(settles(two));
  EXPECT_TRUE(net->world_receives_nothing());
}

TEST_F(KeptFrame, has_its_later_fragments_behind_it) {
  constexpr std::array<size_t, 3> kOffsets{0, 24, 48};
  for (const size_t offset : kOffsets) net->guest_sends(fragment(offset));
  std::vector<Kept> kept;
  for ([[maybe_unused]] const size_t offset : kOffsets) {
    kept.push_back(keep_next());
    ASSERT_TRUE(kept.back());
    EXPECT_EQ(kept.back()->key, kept.front()->key) << "ports and all";
  }
  allow(std::move(kept[0]));
  EXPECT_TRUE(settles(kept[1]));
  kept[1].reset();
  EXPECT_TRUE(settles(kept[2]));
  for (const size_t offset : kOffsets) EXPECT_TRUE(arrives(fragment(offset)));
  EXPECT_EQ(path->counters()->fragments_lost, 0U);
}

TEST_F(KeptFrame, takes_its_later_fragments_along_when_it_is_denied) {
  net->guest_sends(fragment(0));
  net->guest_sends(fragment(24));
  Kept first = keep_next(), later = keep_next();
  ASSERT_TRUE(first && later);
  deny(std::move(first));
  EXPECT_TRUE(settles(later));
  EXPECT_TRUE(net->world_receives_nothing());
}

// How many ------------------------------------------------------------------------------------------------------------

TEST_F(KeptFrame, is_one_of_a_bounded_number) {
  attach([](Options& options) { options.max_kept = 1; });
  net->guest_sends(question("one", 1));
  net->guest_sends(question("two", 2));
  Kept one = keep_next();
  ASSERT_TRUE(one);
  const auto two = test::wait_for_held(*path);
  ASSERT_TRUE(two);
  const auto refused = path->keep(*two);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kLimit);
  one.reset();
  EXPECT_TRUE(path->keep(*two));
}

TEST_F(KeptFrame, is_of_bounded_size_with_the_others) {
  const size_t size = kVirtioHeaderBytes + question("one").size();
  attach([&](Options& options) { options.max_kept_bytes = 2 * size; });
  for (uint16_t port = 1; port <= 3; ++port) net->guest_sends(question("one", port));
  Kept one = keep_next(), two = keep_next();
  ASSERT_TRUE(one && two);
  const auto three = test::wait_for_held(*path);
  ASSERT_TRUE(three);
  EXPECT_EQ(path->keep(*three).error().code, Code::kLimit);
  two.reset();
  EXPECT_TRUE(path->keep(*three));
}

TEST_F(KeptFrame, takes_a_place_in_the_hold_until_it_goes) {
  attach([](Options& options) { options.max_held = 2; });
  net->guest_sends(question("one", 1));
  net->guest_sends(question("two", 2));
  Kept one = keep_next(), two = keep_next();
  ASSERT_TRUE(one && two);
  ASSERT_TRUE(path->next());  // finds that nothing waits
  net->guest_sends(question("three", 3));
  EXPECT_FALSE(*path->next());
  EXPECT_EQ(count(HW_COUNT_HOLD_FULL), 1U);
  EXPECT_EQ(count(HW_COUNT_DEFAULT_DENIED), 1U);
  one.reset();
  net->guest_sends(question("three", 3));
  EXPECT_TRUE(test::wait_for_held(*path));
}

}  // namespace
}  // namespace hyperward::datapath
