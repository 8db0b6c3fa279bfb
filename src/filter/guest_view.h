// What a module sees of the guest during one call: the functions of hyperward_host, over guest::Guest.
//
// It serves both places: in the daemon over the guard's own Guest, in a module's process over one that was attached
// there. All that a module passes in is checked, and what it reads of the guest in one call is bounded.
#pragma once

#include <cstdint>

#include "filter/question.h"
#include "guest/guest.h"
#include "hyperward/module.h"

// What the C side knows by its name alone.
struct hyperward_view {};

namespace hyperward::filter {

class GuestView final : public hyperward_view {
 public:
  // Of the guest's memory, in one call of a module: guest::ReadBudget has how they count. Some 0.2 s of reading.
  static constexpr uint64_t kReadsMax = uint64_t{1} << 20;

  // `guest` is nullptr when it cannot be read; `boot` is another number for each kernel that was found, from 1.
  GuestView(guest::Guest* guest, uint64_t boot) : guest_(guest), boot_(guest == nullptr ? 0 : boot) {}

  [[nodiscard]] guest::Guest* guest() const { return guest_; }
  [[nodiscard]] uint64_t boot() const { return boot_; }
  [[nodiscard]] const Question& question() const { return *question_; }
  [[nodiscard]] Answer& answer() { return *answer_; }

  // During the call of a module's judge(): what it asks about, and where its remarks go.
  void begin(const Question& question, Answer& answer) {
    question_ = &question;
    answer_ = &answer;
  }

  // The table for modules. The same for all of them.
  [[nodiscard]] static const hyperward_host& host();

 private:
  guest::Guest* guest_;
  uint64_t boot_;
  const Question* question_ = nullptr;
  Answer* answer_ = nullptr;
};

}  // namespace hyperward::filter
