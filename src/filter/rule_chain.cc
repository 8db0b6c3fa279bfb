#include "filter/rule_chain.h"

#include <algorithm>

namespace hyperward::filter {

RuleChain::RuleChain(policy::RuleSet file) : file_(std::make_shared<const policy::RuleSet>(std::move(file))) {}

RuleChain::RuleChain(policy::RuleSet file, std::span<const StoredText> stored, const policy::Names& names)
    : RuleChain(std::make_shared<const policy::RuleSet>(std::move(file)), stored, names) {}

RuleChain::RuleChain(std::shared_ptr<const policy::RuleSet> file, std::span<const StoredText> stored,
                     const policy::Names& names)
    : file_(std::move(file)) {
  std::vector<std::string_view> texts;
  for (const StoredText& rule : stored) {
    if (rule.id < 1 || rule.id >= int64_t{kRunTime}) {
      skipped_.push_back({rule.id, {1, 1, 1, fmt::format("no rule can have the id {}", rule.id)}});
      continue;
    }
    texts.emplace_back(rule.text);
    ids_.push_back(static_cast<uint32_t>(rule.id));
  }
  policy::RunTimeRules compiled = policy::compile_run_time_rules(texts, names, *file_);
  run_time_ = std::move(compiled.rules);
  for (auto& [index, mistake] : compiled.skipped) skipped_.push_back({ids_[index], std::move(mistake)});
}

RuleChain RuleChain::with(std::span<const StoredText> stored, const policy::Names& names) const {
  return {file_, stored, names};
}

policy::Decision RuleChain::decide(const policy::Flow& flow, const policy::Subject& subject) const {
  if (run_time_.rules().empty()) return file_->decide(flow, subject);

  const auto rule_at = [&](uint32_t line) { return kRunTime | ids_[line - 1]; };
  const policy::Decision first = run_time_.decide(flow, subject);
  policy::Decision decision;
  for (const policy::Audited& audited : first.audited()) decision.remember({rule_at(audited.line), audited.verdict});
  decision.audited_left_out = first.audited_left_out;
  if (first.rule != 0) {
    decision.verdict = first.verdict;
    decision.log = first.log;
    decision.rule = rule_at(first.rule);
    return decision;
  }

  const policy::Decision second = file_->decide(flow, subject);
  for (const policy::Audited& audited : second.audited()) decision.remember(audited);
  decision.audited_left_out += second.audited_left_out;
  decision.verdict = second.verdict;
  decision.log = second.log;
  decision.rule = second.rule;
  return decision;
}

std::string RuleChain::text_of(uint32_t rule, policy::Direction direction) const {
  if (!is_run_time(rule)) return file_->text_of(rule, direction);
  const auto id = std::find(ids_.begin(), ids_.end(), id_of(rule));
  if (id == ids_.end()) return "";
  const policy::Rule* found = run_time_.rule_at_line(static_cast<uint32_t>(id - ids_.begin() + 1));
  return found == nullptr ? "" : found->text;
}

}  // namespace hyperward::filter
