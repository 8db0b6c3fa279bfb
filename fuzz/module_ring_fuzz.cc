// Anything in the memory that is shared with a module's process, at any moment: the daemon's end keeps its account.
//
// The input is a row of steps: ask, send, sleep, take, honest answers, and bytes written anywhere into the memory.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "filter/module_ring.h"

using namespace hyperward;          // NOLINT(google-build-using-namespace)
using namespace hyperward::filter;  // NOLINT(google-build-using-namespace)

namespace {

constexpr uint32_t kFrameBytes = 60;

class Input {
 public:
  explicit Input(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  std::span<const uint8_t> take(size_t count) {
    const auto taken = bytes_.first(std::min(count, bytes_.size()));
    bytes_ = bytes_.subspan(taken.size());
    return taken;
  }
  template <typename T>
  T number() {
    T value{};
    const auto bytes = take(sizeof(T));
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }

 private:
  std::span<const uint8_t> bytes_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static std::vector<std::byte> buffer(ring::memory_bytes(kFrameBytes) + 64);
  const size_t skip = (64 - reinterpret_cast<uintptr_t>(buffer.data()) % 64) % 64;
  const auto memory = std::span(buffer).subspan(skip, ring::memory_bytes(kFrameBytes));
  std::ranges::fill(memory, std::byte{0});
  ring::AskingEnd daemon(memory, kFrameBytes);
  ring::AnsweringEnd module(memory, kFrameBytes);
  const std::vector<std::byte> frame(100, std::byte{1});

  Input input({data, size});
  std::set<uint64_t> in_hand;
  uint64_t ticket = 0;
  bool faulty = false;
  while (!input.empty() && !faulty) {
    switch (input.number<uint8_t>() % 8) {
      case 0: {
        for (int count = input.number<uint8_t>(); count >= 0 && !daemon.full(); --count) {
          daemon.put(++ticket, {.frame = frame}, 1);
          in_hand.insert(ticket);
        }
        break;
      }
      case 1: static_cast<void>(daemon.send({})); break;
      case 2: {
        for (int count = input.number<uint8_t>(); count >= 0; --count) {
          const auto asked = module.next();
          if (!asked) break;
          HW_CHECK(asked->question.frame.size() <= kFrameBytes);
          Answer answer;
          answer.remark({policy::Verdict::kDeny, 7});
          module.answer(asked->ticket, answer);
        }
        break;
      }
      case 3: {
        std::vector<Module::Answered> answered;
        faulty = !daemon.take(answered).has_value();
        for (const auto& one : answered) {
          HW_CHECK(in_hand.erase(one.ticket) == 1);
          HW_CHECK(one.said.has_value() && one.said->reason.size() <= HYPERWARD_REASON_BYTES);
          HW_CHECK(one.said->remarks().size() <= Answer::kRemarksMax);
        }
        HW_CHECK(daemon.in_hand() == in_hand.size());
        break;
      }
      case 4: {  // anywhere
        const size_t at = input.number<uint32_t>() % memory.size();
        const auto bytes = input.take(input.number<uint8_t>());
        std::memcpy(memory.data() + at, bytes.data(), std::min(bytes.size(), memory.size() - at));
        break;
      }
      case 5: {  // where it hurts
        auto& shared = *reinterpret_cast<ring::Shared*>(memory.data());
        shared.answers_written = input.number<uint8_t>() % 4 == 0 ? input.number<uint32_t>()
                                                                  : shared.answers_written + input.number<uint8_t>();
        break;
      }
      case 6: {  // an answer that is nearly right
        auto& shared = *reinterpret_cast<ring::Shared*>(memory.data());
        auto& slot = shared.answers[input.number<uint16_t>() % ring::kSlots];
        slot.ticket = input.number<uint16_t>();
        slot.answer.verdict = input.number<uint8_t>() % 4;
        slot.remark_count = input.number<uint8_t>() % 10;
        break;
      }
      default:
        if (daemon.fall_asleep()) static_cast<void>(module.must_wake());
        daemon.wake_up();
        for (const ModuleCounter& counter : daemon.counters()) HW_CHECK(!counter.name.empty());
        break;
    }
  }
  // Whatever was written, what is in hand is known, as it was asked.
  HW_CHECK(daemon.in_hand() == in_hand.size());
  for (size_t i = 0; i < daemon.in_hand(); ++i) {
    HW_CHECK(in_hand.contains(daemon.asked(i).ticket));
    HW_CHECK(daemon.asked(i).question.frame.size() == kFrameBytes);
  }
  return 0;
}
