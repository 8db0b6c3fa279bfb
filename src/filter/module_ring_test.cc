#include "filter/module_ring.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/mapping.h"

namespace hyperward::filter::ring {
namespace {

using testing::HasSubstr;

constexpr uint32_t kFrameBytes = 100;

// Both ends, and the memory between them to write into as a module would.
struct Ends {
  Fd fd = make_memory(kFrameBytes).value();
  Mapping mapping = Mapping::read_write(fd, memory_bytes(kFrameBytes)).value();
  AskingEnd daemon{mapping.writable(), kFrameBytes};
  AnsweringEnd module{mapping.writable(), kFrameBytes};

  Shared& shared() { return *reinterpret_cast<Shared*>(mapping.writable().data()); }

  void ask(uint64_t ticket, const Question& question = {}) { daemon.put(ticket, question, 1); }
  void ask_and_send(std::initializer_list<uint64_t> tickets) {
    for (const uint64_t ticket : tickets) ask(ticket);
    static_cast<void>(daemon.send({}));
  }
  void answer_all(policy::Verdict verdict = policy::Verdict::kAllow) {
    while (const auto asked = module.next()) {
      Answer answer;
      answer.verdict = verdict;
      module.answer(asked->ticket, answer);
    }
  }
  std::string fault() {
    std::vector<Module::Answered> answered;
    const auto taken = daemon.take(answered);
    return taken ? "" : taken.error().message;
  }
};

TEST(ModuleRing, brings_a_question_whole) {
  Ends ends;
  std::vector<std::byte> frame(60, std::byte{7});
  Question question{.frame = frame};
  question.packet.remote_port = 25;
  question.owner.uid = 1000;
  question.history.emplace().verdict = HYPERWARD_DENY;
  ends.ask(7, question);
  EXPECT_FALSE(ends.module.next().has_value());
  static_cast<void>(ends.daemon.send({}));

  const auto asked = ends.module.next();
  ASSERT_TRUE(asked.has_value());
  EXPECT_EQ(asked->ticket, 7U);
  EXPECT_EQ(asked->question.packet.remote_port, 25);
  EXPECT_EQ(asked->question.owner.uid, 1000U);
  EXPECT_EQ(asked->question.history->verdict, HYPERWARD_DENY);
  EXPECT_THAT(asked->question.frame, testing::ElementsAreArray(frame));
}

TEST(ModuleRing, brings_an_answer_whole) {
  Ends ends;
  ends.ask_and_send({7});
  Answer answer;
  answer.log = true;
  answer.code = 12;
  answer.lifetime = std::chrono::milliseconds(1500);
  answer.reason = std::string(HYPERWARD_REASON_BYTES, 'x');
  answer.remark({policy::Verdict::kAllow, 4});
  answer.remarks_left_out = 3;
  ends.module.answer(ends.module.next()->ticket, answer);

  std::vector<Module::Answered> answered;
  ASSERT_TRUE(ends.daemon.take(answered).has_value());
  ASSERT_EQ(answered.size(), 1U);
  EXPECT_EQ(answered[0].ticket, 7U);
  const Answer& got = *answered[0].said;
  EXPECT_EQ(got.verdict, policy::Verdict::kDeny);
  EXPECT_TRUE(got.log);
  EXPECT_EQ(got.code, 12U);
  EXPECT_EQ(got.lifetime, answer.lifetime);
  EXPECT_EQ(got.reason, answer.reason);
  ASSERT_EQ(got.remarks().size(), 1U);
  EXPECT_EQ(got.remarks()[0].code, 4U);
  EXPECT_EQ(got.remarks_left_out, 3U);
}

TEST(ModuleRing, cuts_a_frame_that_is_longer_than_its_slots) {
  Ends ends;
  const std::vector<std::byte> frame(kFrameBytes + 1);
  ends.ask(1, {.frame = frame});
  static_cast<void>(ends.daemon.send({}));
  EXPECT_EQ(ends.module.next()->question.frame.size(), kFrameBytes);
}

TEST(ModuleRing, goes_round) {
  Ends ends;
  uint64_t ticket = 0;
  for (uint32_t round = 0; round < 3; ++round) {
    while (!ends.daemon.full()) ends.ask(++ticket);
    static_cast<void>(ends.daemon.send({}));
    ends.answer_all();
    std::vector<Module::Answered> answered;
    ASSERT_TRUE(ends.daemon.take(answered).has_value());
    ASSERT_EQ(answered.size(), kSlots);
    EXPECT_EQ(answered.back().ticket, ticket);
  }
}

TEST(ModuleRing, takes_more_answers_than_questions_for_a_fault) {
  Ends ends;
  ends.ask_and_send({1, 2});
  ends.answer_all();
  ++ends.shared().answers_written;
  EXPECT_THAT(ends.fault(), HasSubstr("3 answers to 2 questions"));
}

TEST(ModuleRing, takes_a_cursor_that_goes_back_for_a_fault) {
  Ends ends;
  ends.ask_and_send({1});
  ends.answer_all();
  ASSERT_EQ(ends.fault(), "");
  --ends.shared().answers_written;
  EXPECT_THAT(ends.fault(), HasSubstr("answers to 0 questions"));
}

TEST(ModuleRing, takes_an_answer_to_what_was_not_sent_for_a_fault) {
  Ends ends;
  ends.ask(1);
  ends.shared().answers_written = 1;
  EXPECT_THAT(ends.fault(), HasSubstr("1 answers to 0 questions"));
}

TEST(ModuleRing, takes_a_ticket_that_nobody_asked_for_a_fault) {
  Ends ends;
  ends.ask_and_send({1});
  ends.answer_all();
  ends.shared().answers[0].ticket = 99;
  EXPECT_THAT(ends.fault(), HasSubstr("it answered question 99 where 1 was due"));
  EXPECT_EQ(ends.daemon.in_hand(), 1U);
}

TEST(ModuleRing, takes_a_ticket_that_is_answered_twice_for_a_fault) {
  Ends ends;
  ends.ask_and_send({1, 2});
  ends.answer_all();
  ends.shared().answers[1].ticket = 1;
  EXPECT_THAT(ends.fault(), HasSubstr("it answered question 1 where 2 was due"));
}

TEST(ModuleRing, takes_what_is_no_verdict_for_a_fault) {
  Ends ends;
  ends.ask_and_send({1});
  ends.answer_all();
  ends.shared().answers[0].answer.verdict = 7;
  EXPECT_THAT(ends.fault(), HasSubstr("7, which is no verdict"));
}

TEST(ModuleRing, takes_more_remarks_than_there_can_be_for_a_fault) {
  Ends ends;
  ends.ask_and_send({1});
  ends.answer_all();
  ends.shared().answers[0].remark_count = Answer::kRemarksMax + 1;
  EXPECT_THAT(ends.fault(), HasSubstr("9 remarks"));
}

TEST(ModuleRing, keeps_what_was_asked_from_being_changed) {
  Ends ends;
  Question question;
  question.packet.remote_port = 25;
  ends.ask(1, question);
  std::ranges::fill(ends.mapping.writable(), std::byte{0xff});
  EXPECT_EQ(ends.daemon.asked(0).question.packet.remote_port, 25);
  EXPECT_EQ(ends.daemon.asked(0).ticket, 1U);
}

TEST(ModuleRing, tells_a_module_no_address_of_the_daemon) {
  Ends ends;
  Question question;
  question.packet.frame = reinterpret_cast<const uint8_t*>(&question);
  question.packet.history = reinterpret_cast<const hyperward_history*>(&question);
  ends.ask(1, question);
  static_cast<void>(ends.daemon.send({}));
  const auto asked = ends.module.next();
  EXPECT_EQ(asked->question.packet.frame, nullptr);
  EXPECT_EQ(asked->question.packet.history, nullptr);
}

TEST(ModuleRing, cannot_be_cut_or_grown) {
  const Fd memory = make_memory(0).value();
  EXPECT_NE(::ftruncate(memory.get(), 4096), 0);
  EXPECT_NE(::ftruncate(memory.get(), 1 << 30), 0);
  EXPECT_NE(::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
}

TEST(ModuleRing, wakes_only_who_sleeps) {
  Ends ends;
  ends.ask(1);
  EXPECT_FALSE(ends.daemon.send({}));
  ends.answer_all();
  EXPECT_FALSE(ends.module.must_wake());
  EXPECT_EQ(ends.fault(), "");

  EXPECT_TRUE(ends.module.fall_asleep());
  EXPECT_TRUE(ends.daemon.fall_asleep());
  ends.ask(2);
  EXPECT_TRUE(ends.daemon.send({}));
  EXPECT_FALSE(ends.daemon.send({})) << "once is enough";
  ends.answer_all();
  EXPECT_TRUE(ends.module.must_wake());
  EXPECT_FALSE(ends.module.must_wake()) << "once is enough";
}

TEST(ModuleRing, lets_nobody_sleep_who_has_work) {
  Ends ends;
  ends.ask_and_send({1});
  EXPECT_FALSE(ends.module.fall_asleep());
  ends.module.wake_up();
  ends.answer_all();
  EXPECT_FALSE(ends.daemon.fall_asleep());
}

TEST(ModuleRing, loses_no_question_between_two_threads) {
  constexpr uint64_t kQuestions = 100'000;
  Ends ends;
  std::jthread module([&] {
    for (uint64_t answered = 0; answered < kQuestions;) {
      const auto asked = ends.module.next();
      if (!asked) continue;
      Answer answer;
      answer.code = static_cast<uint32_t>(asked->ticket);
      ends.module.answer(asked->ticket, answer);
      ++answered;
    }
  });
  std::vector<Module::Answered> answered;
  for (uint64_t ticket = 0; answered.size() < kQuestions;) {
    while (ticket < kQuestions && !ends.daemon.full()) ends.ask(++ticket);
    static_cast<void>(ends.daemon.send({}));
    ASSERT_TRUE(ends.daemon.take(answered).has_value());
  }
  for (uint64_t i = 0; i < kQuestions; ++i) ASSERT_EQ(answered[i].said->code, i + 1);
}

TEST(ModuleRing, shows_counters_whose_names_are_names) {
  Ends ends;
  ends.module.show(std::array{ModuleCounter{"seen", 7}, ModuleCounter{"denied", 3}});
  ASSERT_EQ(ends.daemon.counters().size(), 2U);
  EXPECT_EQ(ends.daemon.counters()[0].value, 7U);
  ends.shared().counters[1].name[0] = '\n';
  EXPECT_EQ(ends.daemon.counters().size(), 1U);
}

}  // namespace
}  // namespace hyperward::filter::ring
