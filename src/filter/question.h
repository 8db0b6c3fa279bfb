// What a module is asked, and what it says: the structs of hyperward/module.h as values that may wait.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"
#include "guest/types.h"
#include "hyperward/module.h"
#include "packet/packet.h"
#include "policy/rules.h"

namespace hyperward::filter {

// A packet, its flow and its owner. Copies are independent, but for the frame.
struct Question {
  hyperward_packet packet{};  // its pointers are set when it is asked: see `frame` and `history`
  hyperward_owner owner{};
  std::optional<hyperward_history> history = std::nullopt;
  std::span<const std::byte> frame = {};  // from the Ethernet header on, whole; whoever asks keeps it until the answer
};

// `packet`: the one in hand; nullptr when the flow alone is judged.
[[nodiscard]] Question question_of(const packet::FlowKey& flow, policy::Direction direction, hyperward_why why,
                                   const guest::Owner& owner, const packet::Packet* packet,
                                   std::span<const std::byte> frame);

[[nodiscard]] hyperward_owner to_abi(const guest::Owner& owner);
[[nodiscard]] constexpr hyperward_verdict to_abi(policy::Verdict verdict) {
  return verdict == policy::Verdict::kAllow ? HYPERWARD_ALLOW : HYPERWARD_DENY;
}
[[nodiscard]] policy::Flow flow_of(const hyperward_packet& packet);
// Points into `owner`.
[[nodiscard]] policy::Subject subject_of(const hyperward_owner& owner);

// What would have been said, had it been meant.
struct Remark {
  policy::Verdict verdict{};
  uint32_t code = 0;
};

struct Answer {
  static constexpr size_t kRemarksMax = policy::kAuditedMax;
  static constexpr std::chrono::milliseconds kForever{HYPERWARD_FOREVER};

  policy::Verdict verdict = policy::Verdict::kDeny;
  bool log = false;
  uint32_t code = 0;                              // the module's number for the reason
  std::chrono::milliseconds lifetime = kForever;  // of the verdict; 0: it holds for this packet alone
  std::string reason;                             // the module's words

  void remark(const Remark& remark);  // or counts it as left out
  [[nodiscard]] std::span<const Remark> remarks() const { return {remarks_.data(), remark_count_}; }
  uint32_t remarks_left_out = 0;

 private:
  uint32_t remark_count_ = 0;
  std::array<Remark, kRemarksMax> remarks_{};
};

// The answer of a module, which may be any bytes. kInvalid: it is none.
[[nodiscard]] Result<Answer> answer_from(const hyperward_answer& raw);

}  // namespace hyperward::filter
