// Any bytes as a text of rules: compiled, its mistakes shown, and flows judged by what compiles. And as a rule that is
// added at run time.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "policy/rules.h"

using namespace hyperward;  // NOLINT(google-build-using-namespace)

namespace {

const policy::Names kNames{.users = {{"root", 0}, {"alice", 1000}, {"bob", 1001}}, .groups = {{"staff", 50}}};

void check_mistakes(const std::vector<policy::Diagnostic>& mistakes, std::string_view text) {
  HW_CHECK(!mistakes.empty() && mistakes.size() <= policy::kDiagnosticsMax);
  const auto lines = static_cast<uint32_t>(std::count(text.begin(), text.end(), '\n') + 1);
  for (const policy::Diagnostic& mistake : mistakes) {
    HW_CHECK(mistake.line >= 1 && mistake.line <= lines);
    HW_CHECK(mistake.column >= 1 && mistake.column <= text.size() + 1);
    HW_CHECK(!mistake.message.empty());
    HW_CHECK(policy::render(mistake, text).ends_with('\n'));
  }
}

void judge(const policy::RuleSet& rules, const policy::RuleSet& one_line_lower) {
  const Endpoint guest{IpAddress::v4(10, 9, 0, 2), 40000};
  const policy::Subject subjects[] = {
      {},
      {.uid = 1000, .gid = {}, .pid = {}, .comm = {}},
      {.uid = 0, .gid = 50, .pid = 4711, .comm = "curl"},
      {.uid = 1001, .gid = 8, .pid = 1, .comm = "a name longer than the kernel keeps"},
  };
  const Endpoint remotes[] = {{IpAddress::v4(192, 0, 2, 1), 25}, {IpAddress(), 0}, {IpAddress::v4(10, 0, 0, 1), 443}};
  for (const Endpoint& remote : remotes) {
    for (const auto direction : {policy::Direction::kOut, policy::Direction::kIn}) {
      for (const auto protocol : {Protocol::kTcp, Protocol::kIcmp, Protocol{47}}) {
        for (const policy::Subject& subject : subjects) {
          const policy::Flow flow{direction, protocol, guest, remote};
          const policy::Decision decision = rules.decide(flow, subject);
          HW_CHECK((decision.rule == 0) == (rules.rule_at_line(decision.rule) == nullptr));
          HW_CHECK(!rules.text_of(decision.rule, direction).empty());
          if (direction == policy::Direction::kIn && !rules.mentions_inbound())
            HW_CHECK(decision.verdict == policy::Verdict::kAllow && decision.audited().empty());
          if (!rules.needs_owner()) HW_CHECK(rules.decide(flow, {}).rule == decision.rule);

          const policy::Decision lower = one_line_lower.decide(flow, subject);
          HW_CHECK(lower.verdict == decision.verdict && lower.log == decision.log);
          HW_CHECK(lower.rule == (decision.rule == 0 ? 0 : decision.rule + 1));
        }
      }
    }
  }
}

void add_at_run_time(std::string_view text) {
  const auto added = policy::compile_rule(text, kNames);
  if (!added) return check_mistakes(added.error(), text);
  if (added->duration) HW_CHECK(*added->duration >= policy::kDurationMin && *added->duration <= policy::kDurationMax);

  // What is kept means the same, and so does a file of it.
  const policy::Rule& rule = added->rule;
  const auto again = policy::compile_rule(rule.text, kNames);
  HW_CHECK(again && again->rule.text == rule.text && !again->duration);
  HW_CHECK(again->rule.verdict == rule.verdict && again->rule.direction == rule.direction);
  HW_CHECK(again->rule.audit == rule.audit && again->rule.log == rule.log);
  HW_CHECK(policy::compile(rule.text, kNames).has_value());
}

// A rule that is right below the text is right at run time.
void use_its_sets(std::string_view text, const policy::RuleSet& file) {
  for (const std::string_view rule : {"deny to tcp port @a", "deny to @a", "deny from user @a process { @b, x }"}) {
    const auto below = policy::compile(fmt::format("{}\n{}", text, rule), kNames);
    if (!below) continue;
    const auto added = policy::compile_rule(rule, kNames, file);
    HW_CHECK(added && added->rule.text == below->rules().back().text);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto rules = policy::compile(text, kNames);
  const std::string below = "# a line above\n" + std::string(text);
  const auto one_line_lower = policy::compile(below, kNames);
  HW_CHECK(rules.has_value() == one_line_lower.has_value());
  if (rules) {
    judge(*rules, *one_line_lower);
    use_its_sets(text, *rules);
  } else {
    check_mistakes(rules.error(), text);
    HW_CHECK(rules.error().front().line + 1 == one_line_lower.error().front().line);
    HW_CHECK(rules.error().front().column == one_line_lower.error().front().column);
  }
  add_at_run_time(text);
  return 0;
}
