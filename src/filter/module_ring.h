// Questions to a module's process and its answers, through memory that both share.
//
// Theory of operation
//
//   asking end (the daemon)                                        answering end (the module's process)
//     put() ─▶ questions: slot 0 1 2 ...  ─▶ questions_written ─▶    next()
//     take() ◀─ answers:  slot 0 1 2 ...  ◀─ answers_written   ◀─    answer()
//
// Two single-producer single-consumer rings of slots of one fixed size. The n-th answer belongs to the n-th question:
// a module judges one after the other, so there is no order to be had but this. That leaves two cursors, one written by
// each end, which count from 0 and wrap around at 2^32. A question's slot is free again when its answer was taken: no
// more than kSlots are in hand, and neither end needs to tell how far it has read.
//
// Trust. The module can write anything, anywhere into the memory, at any time; the memory is sealed, so it can not cut
// it short. The asking end believes nothing: its cursors and what was asked are kept in its own memory, and it never
// reads the questions' half. It reads answers_written once; more answers than questions in hand are a fault. Each
// answer is copied once, and the copy checked: the ticket must be that of the oldest question in hand, which finds a
// ticket that nobody asked, one answered twice, and one left out; the verdict must be one. After a fault nothing more
// is taken. What it writes holds no address of this process.
//
// Sleeping. Who runs out of work sets its flag, looks once more, and sleeps at its eventfd; who has written a cursor
// looks at the other's flag, takes it away, and wakes. Both are a store and then a load of the other's word, with a
// full fence between: one of the two sees the other. A module that lies with its flag is not woken, or for nothing.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/fd.h"
#include "filter/module.h"

namespace hyperward::filter {

namespace ring {

constexpr uint32_t kSlots = 512;  // a power of two, so that cursors may wrap around

struct QuestionSlot {
  uint64_t ticket;
  uint64_t boot;  // of the guest, when it was asked
  hyperward_packet packet;
  hyperward_owner owner;
  hyperward_history history;
  uint32_t has_history;
  uint32_t captured_bytes;  // that follow
};

struct RemarkSlot {
  uint32_t verdict, code;
};

struct AnswerSlot {
  uint64_t ticket;
  hyperward_answer answer;
  uint32_t remark_count, remarks_left_out;
  RemarkSlot remarks[Answer::kRemarksMax];
};

struct CounterSlot {
  char name[kModuleNameMaxBytes];
  uint64_t value;
};

// Each word that is written in turn lies in a cache line of its own.
struct Shared {
  alignas(64) std::atomic<uint32_t> questions_written;
  std::atomic<uint32_t> asking_sleeps;
  alignas(64) std::atomic<uint32_t> answers_written;
  std::atomic<uint32_t> answering_sleeps;
  alignas(64) CounterSlot counters[HYPERWARD_COUNTERS_MAX];  // the module's, as of lately; ended by an empty name
  alignas(64) AnswerSlot answers[kSlots];
  // QuestionSlots with their frames follow.
};
static_assert(std::atomic<uint32_t>::is_always_lock_free);

[[nodiscard]] constexpr size_t question_bytes(uint32_t frame_bytes) {
  return (sizeof(QuestionSlot) + frame_bytes + 63) / 64 * 64;
}
[[nodiscard]] constexpr size_t memory_bytes(uint32_t frame_bytes) {
  return sizeof(Shared) + kSlots * question_bytes(frame_bytes);
}

// Memory of that size which no one can cut or grow. It comes with zeroes.
[[nodiscard]] Result<Fd> make_memory(uint32_t frame_bytes);

// The daemon's end. It believes nothing that is in `memory`, which must outlive it.
class AskingEnd {
 public:
  using Clock = std::chrono::steady_clock;

  // `memory`: of memory_bytes(frame_bytes), all zeroes.
  AskingEnd(std::span<std::byte> memory, uint32_t frame_bytes);

  [[nodiscard]] size_t in_hand() const { return put_ - taken_; }
  [[nodiscard]] size_t not_sent() const { return put_ - sent_; }
  [[nodiscard]] bool full() const { return in_hand() == kSlots; }

  // Keeps a question, with as much of its frame as the slots hold. Must not be full.
  void put(uint64_t ticket, const Question& question, uint64_t boot);
  // Shows what was put to the other end. True: it sleeps, and must be woken.
  [[nodiscard]] bool send(Clock::time_point now);

  [[nodiscard]] bool answers_wait() const;
  [[nodiscard]] bool all_answered() const;  // as the other end says
  // Appends the answers that are there. An error is the module's fault: in hand are still those without an answer.
  [[nodiscard]] Result<void> take(std::vector<Module::Answered>& answered);

  // From now on the other end wakes us. False: there are answers already.
  [[nodiscard]] bool fall_asleep();
  void wake_up();

  struct Asked {
    uint64_t ticket = 0;
    Question question;  // its frame lies in the AskingEnd's own memory
    Clock::time_point sent_at;
  };
  // What is in hand, oldest first: `index` below in_hand().
  [[nodiscard]] const Asked& asked(size_t index) const { return asked_[(taken_ + index) % kSlots]; }

  [[nodiscard]] std::vector<ModuleCounter> counters() const;

 private:
  [[nodiscard]] Result<Answer> checked(const AnswerSlot& copy, const Asked& asked) const;

  Shared& shared_;
  std::span<std::byte> questions_;
  uint32_t frame_bytes_;
  uint32_t put_ = 0, sent_ = 0, taken_ = 0;  // cursors
  std::vector<Asked> asked_;                 // by slot
  std::vector<std::byte> frames_;            // the same
};

// The module's end. It trusts the daemon's, and keeps within the memory whatever the module wrote there.
class AnsweringEnd {
 public:
  AnsweringEnd(std::span<std::byte> memory, uint32_t frame_bytes);

  struct Asked {
    uint64_t ticket = 0;
    uint64_t boot = 0;
    Question question;  // its frame lies in the shared memory, until it is answered
  };
  [[nodiscard]] bool questions_wait() const;
  [[nodiscard]] std::optional<Asked> next();
  void answer(uint64_t ticket, const Module::Said& said);

  // Since the answers: the other end sleeps, and must be woken.
  [[nodiscard]] bool must_wake();
  // From now on the other end wakes us. False: there are questions already.
  [[nodiscard]] bool fall_asleep();
  void wake_up();

  void show(std::span<const ModuleCounter> counters);

 private:
  Shared& shared_;
  std::span<std::byte> questions_;
  uint32_t frame_bytes_;
  uint32_t read_ = 0, answered_ = 0;  // cursors
};

}  // namespace ring

}  // namespace hyperward::filter
