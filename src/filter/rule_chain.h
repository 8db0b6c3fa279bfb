// The rules that are in force for a guest: those added at run time, newest first, then the file's.
//
// A rule of run time that matches decides; when none does, the file decides, with its default. Audit rules of both are
// remembered; decider.h has what their numbers say. A RuleChain is a value that never changes: whoever adds a rule
// builds the next one, which shares the file's rules with this one. decide() allocates nothing and is safe from several
// threads.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "filter/decider.h"
#include "policy/rules.h"

namespace hyperward::filter {

// A rule of run time as it is stored.
struct StoredText {
  int64_t id = 0;  // from 1, below kRunTime
  std::string text;
};

class RuleChain {
 public:
  RuleChain() : RuleChain(policy::RuleSet()) {}  // allows everything
  explicit RuleChain(policy::RuleSet file);
  // `stored`: the newest first. Names and sets in them are looked up anew.
  RuleChain(policy::RuleSet file, std::span<const StoredText> stored, const policy::Names& names);
  // The same file below other rules of run time.
  [[nodiscard]] RuleChain with(std::span<const StoredText> stored, const policy::Names& names) const;

  // A stored rule that is not in force, because it does not compile any more.
  struct Skipped {
    int64_t id = 0;
    policy::Diagnostic mistake;
  };
  [[nodiscard]] std::span<const Skipped> skipped() const { return skipped_; }

  [[nodiscard]] policy::Decision decide(const policy::Flow& flow, const policy::Subject& subject) const;

  // As RuleSet says them, of all rules in force.
  [[nodiscard]] bool mentions_inbound() const { return run_time_.mentions_inbound() || file_->mentions_inbound(); }
  [[nodiscard]] bool needs_owner() const { return run_time_.needs_owner() || file_->needs_owner(); }
  // False: they can judge a guest that cannot be read. Those of run time may ask for unknown owners then: a response to
  // what such a guest does must cut that, and leave all else as the file has it.
  [[nodiscard]] bool needs_readable_guest() const { return run_time_.needs_known_owner() || file_->needs_owner(); }
  [[nodiscard]] bool needs_process() const { return run_time_.needs_process() || file_->needs_process(); }
  [[nodiscard]] policy::Verdict default_verdict(policy::Direction direction) const {
    return file_->default_verdict(direction);
  }
  // The text of a Decision's rule; "" for a rule of run time that is not in force.
  [[nodiscard]] std::string text_of(uint32_t rule, policy::Direction direction) const;

  [[nodiscard]] size_t size() const { return run_time_.rules().size() + file_->rules().size(); }  // rules in force
  [[nodiscard]] const policy::RuleSet& file() const { return *file_; }

 private:
  RuleChain(std::shared_ptr<const policy::RuleSet> file, std::span<const StoredText> stored,
            const policy::Names& names);

  std::shared_ptr<const policy::RuleSet> file_;
  policy::RuleSet run_time_;   // with the place in ids_, from 1, for the line
  std::vector<uint32_t> ids_;  // of all that were stored
  std::vector<Skipped> skipped_;
};

}  // namespace hyperward::filter
