// Rules as RuleSet::decide() reads them: the values of all conditions of one kind lie in one array, as sorted
// intervals, and what a rule's conditions take is drawn together into its screen.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "policy/rules.h"
#include "policy/values.h"

namespace hyperward::policy {

class Layout {
 public:
  using Slice = RuleSet::Slice;
  using Matcher = RuleSet::Matcher;

  // Protocols or ports; numbers of users, groups or processes; addresses; names of processes. They come in any order,
  // and may overlap.
  [[nodiscard]] Slice numbers(std::span<const Range> values);
  [[nodiscard]] Slice ids(std::span<const Range> values);
  [[nodiscard]] Slice addresses(std::span<const Prefix> values);
  [[nodiscard]] Slice comms(std::span<const Comm> values);

  [[nodiscard]] bool only_with_ports(Slice protocols) const;

  void set_default(Direction direction, Verdict verdict, bool log);
  // Below those that are there. `asks` are bits of RuleSet::Asks but for the direction's, which the rule tells.
  void add(Rule rule, unsigned asks, const Matcher& matcher);
  [[nodiscard]] const Rule& newest() const { return rules_.rules_.back(); }

  // Ends it. `sets`: those that rules of run time may use.
  [[nodiscard]] RuleSet take(std::shared_ptr<const Sets> sets = nullptr);

 private:
  template <typename T>
  using Interval = RuleSet::Interval<T>;
  using Wide = RuleSet::Wide;

  template <typename T>
  static Slice lay_out(std::vector<Interval<T>> intervals, std::vector<Interval<T>>& pool);
  [[nodiscard]] RuleSet::Screen screen_of(unsigned asks, const Matcher& matcher) const;

  RuleSet rules_;
};

}  // namespace hyperward::policy
