#include "filter/chain.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <deque>

namespace hyperward::filter {
namespace {

using namespace std::chrono_literals;
using policy::Verdict;

const packet::FlowKey kMail{.protocol = Protocol::kTcp,
                            .source = {IpAddress::v4(10, 9, 0, 2), 43210},
                            .destination = {IpAddress::v4(203, 0, 113, 9), 25}};

RuleChain rules(std::string_view text) {
  auto compiled = policy::compile(text, {});
  if (!compiled) ADD_FAILURE() << compiled.error().front().message;
  return RuleChain(compiled.value_or(policy::RuleSet()));
}

Answer saying(Verdict verdict, uint32_t code = 0, std::chrono::milliseconds lifetime = Answer::kForever) {
  Answer answer;
  answer.verdict = verdict;
  answer.code = code;
  answer.lifetime = lifetime;
  return answer;
}

// Answers what the test says: at once, or when it is told to.
class FakeModule final : public Module {
 public:
  explicit FakeModule(Said said, bool later = false) : said_(std::move(said)), later_(later) {
    if (later_) fd_ = Fd(::eventfd(0, EFD_CLOEXEC));
  }
  [[nodiscard]] const ModuleInfo& info() const override { return info_; }
  [[nodiscard]] std::optional<Said> ask(uint64_t ticket, const Question&, GuestView&) override {
    ++asked;
    if (!later_) return said_;
    kept.push_back(ticket);
    return std::nullopt;
  }
  void collect(std::vector<Answered>& answered) override {
    for (; may_answer > 0 && !kept.empty(); --may_answer) {
      answered.push_back({kept.front(), said_});
      kept.pop_front();
    }
  }
  [[nodiscard]] int fd() const override { return fd_.get(); }
  [[nodiscard]] ModuleStatus status() const override { return {}; }

  void needs_guest() { info_.needs = HYPERWARD_NEEDS_GUEST; }

  int asked = 0;
  int may_answer = 0;
  std::deque<uint64_t> kept;

 private:
  ModuleInfo info_{.name = "fake", .version = "1", .description = ""};
  Said said_;
  bool later_;
  Fd fd_;
};

class ChainTest : public testing::Test {
 protected:
  FakeModule& add(std::string name, Module::Said said, bool later = false) {
    auto module = std::make_unique<FakeModule>(std::move(said), later);
    FakeModule& fake = *module;
    EXPECT_TRUE(chain.add(std::move(name), std::move(module)).has_value());
    return fake;
  }
  std::optional<Ruling> ask() { return chain.ask(++ticket, question, view); }

  Chain chain{rules("deny to udp port 53\ndefault allow\n")};
  GuestView view{nullptr, 0};
  Question question = question_of(kMail, policy::Direction::kOut, HYPERWARD_NEW_FLOW, {}, nullptr, {});
  uint64_t ticket = 0;
};

TEST_F(ChainTest, is_the_rules_when_there_is_no_module) {
  EXPECT_EQ(ask()->decision.verdict, Verdict::kAllow);
  question.packet.protocol = 17;
  question.packet.remote_port = 53;
  const auto ruling = ask();
  EXPECT_EQ(ruling->decision.verdict, Verdict::kDeny);
  EXPECT_EQ(ruling->decision.rule, 1U);
}

TEST_F(ChainTest, asks_no_module_about_what_the_rules_deny) {
  const FakeModule& module = add("m", saying(Verdict::kAllow));
  question.packet.protocol = 17;
  question.packet.remote_port = 53;
  EXPECT_EQ(ask()->decision.verdict, Verdict::kDeny);
  EXPECT_EQ(module.asked, 0);
}

TEST_F(ChainTest, a_module_that_denies_decides_and_is_named) {
  add("first", saying(Verdict::kAllow));
  add("second", saying(Verdict::kDeny, 7));
  const FakeModule& third = add("third", saying(Verdict::kAllow));
  const auto ruling = ask();
  EXPECT_EQ(ruling->decision.verdict, Verdict::kDeny);
  ASSERT_TRUE(is_of_module(ruling->decision.rule));
  EXPECT_EQ(place_of(ruling->decision.rule), 2U);
  EXPECT_EQ(code_of(ruling->decision.rule), 7U);
  EXPECT_EQ(third.asked, 0);
}

TEST_F(ChainTest, what_nobody_denies_is_decided_by_the_rules) {
  add("m", saying(Verdict::kAllow, 7));
  EXPECT_EQ(ask()->decision.rule, 0U);
}

TEST_F(ChainTest, the_shortest_lifetime_holds) {
  add("long", saying(Verdict::kAllow, 0, 60s));
  add("short", saying(Verdict::kAllow, 0, 250ms));
  EXPECT_EQ(ask()->lifetime, 250ms);
}

TEST_F(ChainTest, remarks_of_a_module_are_told_from_those_of_the_rules) {
  Answer answer = saying(Verdict::kAllow);
  answer.remark({Verdict::kDeny, 5});
  add("m", answer);
  const auto ruling = ask();
  ASSERT_EQ(ruling->decision.audited().size(), 1U);
  EXPECT_EQ(ruling->decision.audited()[0].line, of_module(1, 5));
}

TEST_F(ChainTest, a_module_that_does_not_say_makes_a_fault) {
  add("m", fail(Code::kInvalid, "nonsense"));
  EXPECT_TRUE(ask()->fault);
}

TEST_F(ChainTest, a_code_that_would_name_another_module_is_a_fault) {
  add("m", saying(Verdict::kDeny, kModuleCodeMax + 1));
  EXPECT_TRUE(ask()->fault);
}

TEST_F(ChainTest, a_module_that_needs_the_guest_is_not_asked_without) {
  FakeModule& module = add("m", saying(Verdict::kAllow));
  module.needs_guest();
  EXPECT_TRUE(ask()->fault);
  EXPECT_EQ(module.asked, 0);
}

TEST_F(ChainTest, goes_on_where_it_waited) {
  FakeModule& slow = add("slow", saying(Verdict::kAllow), true);
  const FakeModule& last = add("last", saying(Verdict::kDeny, 3));
  EXPECT_FALSE(ask().has_value());
  EXPECT_EQ(last.asked, 0);
  EXPECT_TRUE(chain.collect(view).empty());

  slow.may_answer = 1;
  const auto ruled = chain.collect(view);
  ASSERT_EQ(ruled.size(), 1U);
  EXPECT_EQ(ruled[0].ticket, ticket);
  EXPECT_EQ(ruled[0].ruling.decision.rule, of_module(2, 3));
  EXPECT_EQ(chain.waiting(), 0U);
}

TEST_F(ChainTest, a_replaced_module_answers_what_it_was_asked) {
  FakeModule& old = add("m", saying(Verdict::kDeny, 1), true);
  EXPECT_FALSE(ask().has_value());
  ASSERT_TRUE(chain.replace("m", std::make_unique<FakeModule>(saying(Verdict::kDeny, 2))).has_value());
  EXPECT_EQ(code_of(ask()->decision.rule), 2U);

  old.may_answer = 1;
  const auto ruled = chain.collect(view);
  ASSERT_EQ(ruled.size(), 1U);
  EXPECT_EQ(ruled[0].ticket, 1U);
  EXPECT_EQ(code_of(ruled[0].ruling.decision.rule), 1U);
}

TEST_F(ChainTest, a_question_passes_the_modules_behind_a_removed_one) {
  FakeModule& old = add("old", saying(Verdict::kAllow), true);
  add("behind", saying(Verdict::kDeny, 4));
  EXPECT_FALSE(ask().has_value());
  ASSERT_TRUE(chain.remove("old").has_value());
  old.may_answer = 1;
  const auto ruled = chain.collect(view);
  ASSERT_EQ(ruled.size(), 1U);
  EXPECT_EQ(ruled[0].ruling.decision.rule, of_module(2, 4));
}

TEST_F(ChainTest, a_place_is_given_again_only_when_it_is_free) {
  add("a", saying(Verdict::kAllow));
  add("b", saying(Verdict::kAllow));
  ASSERT_TRUE(chain.remove("a").has_value());
  add("c", saying(Verdict::kAllow));
  EXPECT_EQ(chain.find("b")->place, 2U);
  EXPECT_EQ(chain.find("c")->place, 1U);
  EXPECT_EQ(chain.modules().back().name, "c");
}

TEST_F(ChainTest, refuses_a_name_that_is_taken_and_one_that_is_not) {
  add("m", saying(Verdict::kAllow));
  EXPECT_EQ(chain.add("m", std::make_unique<FakeModule>(saying(Verdict::kAllow))).error().code, Code::kInvalid);
  EXPECT_EQ(chain.remove("n").error().code, Code::kNotFound);
  EXPECT_EQ(chain.replace("n", std::make_unique<FakeModule>(saying(Verdict::kAllow))).error().code, Code::kNotFound);
}

TEST(Decider, tells_lines_ids_and_modules_apart) {
  EXPECT_EQ(name_of(0), "default");
  EXPECT_EQ(name_of(7), "line 7");
  EXPECT_EQ(name_of(kRunTime | 12), "run-time rule 12");
  EXPECT_EQ(name_of(of_module(kModulePlaceMax, kModuleCodeMax)), "module 63 (code 1048575)");
  EXPECT_FALSE(is_of_module(kRunTime | kOfModule));
}

}  // namespace
}  // namespace hyperward::filter
