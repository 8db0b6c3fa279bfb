#include "filter/module_ring.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "filter/module_info.h"

namespace hyperward::filter::ring {
namespace {

Shared& shared_in(std::span<std::byte> memory, uint32_t frame_bytes) {
  HW_CHECK(memory.size() == memory_bytes(frame_bytes));
  return *reinterpret_cast<Shared*>(memory.data());
}

std::span<std::byte> questions_in(std::span<std::byte> memory) {
  return memory.subspan(sizeof(Shared));
}

// Copies once out of memory that another process writes: the compiler shall not come back for more.
template <typename T>
T copy_of(const T& shared) {
  T copy;
  std::memcpy(&copy, &shared, sizeof(copy));
  asm volatile("" ::: "memory");
  return copy;
}

// The flags' protocol: after a store of ours, and before a load of what the other end stores.
void fence() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

hyperward_answer raw_of(const Module::Said& said) {
  hyperward_answer abi{};
  abi.size = sizeof(abi);
  if (!said) {
    // No verdict; the daemon takes it for the fault that it is, and has the words.
    said.error().message.copy(abi.reason, sizeof(abi.reason) - 1);
    return abi;
  }
  abi.verdict = to_abi(said->verdict);
  abi.log = said->log ? 1 : 0;
  abi.code = said->code;
  abi.lifetime_ms = static_cast<uint32_t>(said->lifetime.count());
  said->reason.copy(abi.reason, sizeof(abi.reason));
  return abi;
}

}  // namespace

Result<Fd> make_memory(uint32_t frame_bytes) {
  Fd memory(::memfd_create("hyperward-module", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.valid()) return fail_errno(errno, "make memory to share with a module's process");
  if (::ftruncate(memory.get(), static_cast<off_t>(memory_bytes(frame_bytes))) != 0)
    return fail_errno(errno, fmt::format("make {} bytes to share with a module's process", memory_bytes(frame_bytes)));
  if (::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return fail_errno(errno, "seal the memory to share with a module's process");
  return memory;
}

AskingEnd::AskingEnd(std::span<std::byte> memory, uint32_t frame_bytes)
    : shared_(shared_in(memory, frame_bytes)),
      questions_(questions_in(memory)),
      frame_bytes_(frame_bytes),
      asked_(kSlots),
      frames_(size_t{kSlots} * frame_bytes) {}

void AskingEnd::put(uint64_t ticket, const Question& question, uint64_t boot) {
  HW_CHECK(!full());
  const size_t index = put_ % kSlots;
  const auto captured = question.frame.first(std::min<size_t>(question.frame.size(), frame_bytes_));
  Asked& asked = asked_[index];
  asked.ticket = ticket;
  asked.question = question;
  std::byte* const frame = frames_.data() + index * frame_bytes_;
  if (!captured.empty()) std::memcpy(frame, captured.data(), captured.size());
  asked.question.frame = {frame, captured.size()};
  asked.question.packet.frame = nullptr;
  asked.question.packet.history = nullptr;

  QuestionSlot slot;
  std::memset(&slot, 0, sizeof(slot));
  slot.ticket = ticket;
  slot.boot = boot;
  slot.packet = asked.question.packet;
  slot.owner = question.owner;
  if (question.history) slot.history = *question.history;
  slot.has_history = question.history ? 1 : 0;
  slot.captured_bytes = static_cast<uint32_t>(captured.size());
  std::byte* const out = questions_.data() + index * question_bytes(frame_bytes_);
  std::memcpy(out, &slot, sizeof(slot));
  if (!captured.empty()) std::memcpy(out + sizeof(slot), captured.data(), captured.size());
  ++put_;
}

bool AskingEnd::send(Clock::time_point now) {
  for (; sent_ != put_; ++sent_) asked_[sent_ % kSlots].sent_at = now;
  shared_.questions_written.store(sent_, std::memory_order_release);
  fence();
  return shared_.answering_sleeps.load(std::memory_order_relaxed) != 0 &&
         shared_.answering_sleeps.exchange(0, std::memory_order_relaxed) != 0;
}

bool AskingEnd::answers_wait() const {
  return shared_.answers_written.load(std::memory_order_acquire) != taken_;
}

bool AskingEnd::all_answered() const {
  return shared_.answers_written.load(std::memory_order_acquire) == sent_;
}

Result<void> AskingEnd::take(std::vector<Module::Answered>& answered) {
  const uint32_t count = shared_.answers_written.load(std::memory_order_acquire) - taken_;
  if (count > sent_ - taken_)
    return fail(Code::kInvalid, "it claims {} answers to {} questions", count, sent_ - taken_);
  for (uint32_t i = 0; i < count; ++i) {
    const AnswerSlot copy = copy_of(shared_.answers[taken_ % kSlots]);
    const Asked& oldest = asked(0);
    HW_TRY(Answer answer, checked(copy, oldest));
    answered.push_back({oldest.ticket, std::move(answer)});
    ++taken_;
  }
  return {};
}

Result<Answer> AskingEnd::checked(const AnswerSlot& copy, const Asked& asked) const {
  if (copy.ticket != asked.ticket)
    return fail(Code::kInvalid, "it answered question {} where {} was due", copy.ticket, asked.ticket);
  auto answer = answer_from(copy.answer);
  if (!answer) {
    const std::string_view words(copy.answer.reason, ::strnlen(copy.answer.reason, sizeof(copy.answer.reason)));
    if (words.empty() || copy.answer.verdict != 0) return answer;
    return fail(Code::kInvalid, "{}", guest::printable(words));
  }
  if (copy.remark_count > Answer::kRemarksMax)
    return fail(Code::kInvalid, "it made {} remarks, {} at most", copy.remark_count, Answer::kRemarksMax);
  for (const RemarkSlot& remark : std::span(copy.remarks).first(copy.remark_count)) {
    if (remark.verdict != HYPERWARD_ALLOW && remark.verdict != HYPERWARD_DENY)
      return fail(Code::kInvalid, "it remarked {}, which is no verdict", remark.verdict);
    answer->remark({remark.verdict == HYPERWARD_DENY ? policy::Verdict::kDeny : policy::Verdict::kAllow, remark.code});
  }
  answer->remarks_left_out = copy.remarks_left_out;
  return answer;
}

bool AskingEnd::fall_asleep() {
  shared_.asking_sleeps.store(1, std::memory_order_relaxed);
  fence();
  return !answers_wait();
}

void AskingEnd::wake_up() {
  shared_.asking_sleeps.store(0, std::memory_order_relaxed);
  fence();
}

std::vector<ModuleCounter> AskingEnd::counters() const {
  std::vector<ModuleCounter> counters;
  for (const CounterSlot& shared : shared_.counters) {
    const CounterSlot copy = copy_of(shared);
    const std::string_view name(copy.name, ::strnlen(copy.name, sizeof(copy.name)));
    if (!is_counter_name(name)) break;
    counters.push_back({std::string(name), copy.value});
  }
  return counters;
}

AnsweringEnd::AnsweringEnd(std::span<std::byte> memory, uint32_t frame_bytes)
    : shared_(shared_in(memory, frame_bytes)), questions_(questions_in(memory)), frame_bytes_(frame_bytes) {}

bool AnsweringEnd::questions_wait() const {
  return shared_.questions_written.load(std::memory_order_acquire) != read_;
}

std::optional<AnsweringEnd::Asked> AnsweringEnd::next() {
  if (!questions_wait()) return std::nullopt;
  const std::byte* const in = questions_.data() + (read_ % kSlots) * question_bytes(frame_bytes_);
  QuestionSlot slot;
  std::memcpy(&slot, in, sizeof(slot));
  ++read_;
  Asked asked{.ticket = slot.ticket,
              .boot = slot.boot,
              .question = {.packet = slot.packet,
                           .owner = slot.owner,
                           .frame = {in + sizeof(slot), std::min(slot.captured_bytes, frame_bytes_)}}};
  if (slot.has_history != 0) asked.question.history = slot.history;
  return asked;
}

void AnsweringEnd::answer(uint64_t ticket, const Module::Said& said) {
  AnswerSlot& slot = shared_.answers[answered_ % kSlots];
  slot.ticket = ticket;
  slot.answer = raw_of(said);
  slot.remark_count = 0;
  slot.remarks_left_out = 0;
  if (said) {
    uint32_t count = 0;
    for (const Remark& remark : said->remarks())
      slot.remarks[count++] = {.verdict = to_abi(remark.verdict), .code = remark.code};
    slot.remark_count = count;
    slot.remarks_left_out = said->remarks_left_out;
  }
  shared_.answers_written.store(++answered_, std::memory_order_release);
}

bool AnsweringEnd::must_wake() {
  fence();
  return shared_.asking_sleeps.load(std::memory_order_relaxed) != 0 &&
         shared_.asking_sleeps.exchange(0, std::memory_order_relaxed) != 0;
}

bool AnsweringEnd::fall_asleep() {
  shared_.answering_sleeps.store(1, std::memory_order_relaxed);
  fence();
  return !questions_wait();
}

void AnsweringEnd::wake_up() {
  shared_.answering_sleeps.store(0, std::memory_order_relaxed);
  fence();
}

void AnsweringEnd::show(std::span<const ModuleCounter> counters) {
  const auto shown = counters.first(std::min<size_t>(counters.size(), HYPERWARD_COUNTERS_MAX));
  for (size_t i = 0; i < shown.size(); ++i) {
    CounterSlot slot{.name = {}, .value = shown[i].value};
    shown[i].name.copy(slot.name, sizeof(slot.name));
    shared_.counters[i] = slot;
  }
  if (shown.size() < HYPERWARD_COUNTERS_MAX) shared_.counters[shown.size()] = {};
}

}  // namespace hyperward::filter::ring
