// Random rules, compiled, against a plain reading of each: first match over conditions that are functions. The values
// come from small domains, so that matches are frequent.
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "policy/rules.h"

namespace hyperward::policy {
namespace {

struct Asked {
  Flow flow;
  Subject subject;
};

struct Reading {
  std::string text;
  std::function<bool(const Asked&)> holds;
};

class Dice {
 public:
  explicit Dice(uint32_t seed) : engine_(seed) {}
  uint32_t below(uint32_t limit) { return std::uniform_int_distribution<uint32_t>(0, limit - 1)(engine_); }
  bool one_in(uint32_t n) { return below(n) == 0; }
  template <typename T>
  const T& of(const std::vector<T>& values) {
    return values[below(static_cast<uint32_t>(values.size()))];
  }

 private:
  std::mt19937 engine_;
};

const std::vector<std::string> kAddresses{"10.0.0.1",    "10.0.1.1",      "192.0.2.1",       "255.255.255.255",
                                          "0.0.0.0",     "2001:db8::1",   "2001:db8:0:1::1", "2001:db8:0:1::a00:1",
                                          "fd00::a00:1", "::ffff:0:a00:1"};
const std::vector<std::string> kPrefixes{"10.0.0.0/24", "10.0.0.0/8",  "0.0.0.0/0",          "192.0.2.1",
                                         "::/0",        "fd00::/8",    "2001:db8::/64",      "2001:db8:0:1::/96",
                                         "::/80",       "2001:db8::1", "255.255.255.255/32", "::ffff:0:0:0/96"};
const std::vector<std::string> kComms{"curl", "curly", "systemd", "systemd-resolve", "systemd-network", "a"};

bool in_prefix(const IpAddress& address, std::string_view prefix) {
  const size_t slash = prefix.find('/');
  const IpAddress base = *IpAddress::parse(prefix.substr(0, slash));
  if (base.is_v4() != address.is_v4()) return false;
  size_t bits = base.is_v4() ? 32 : 128;
  if (slash != std::string_view::npos) bits = static_cast<size_t>(std::stoi(std::string(prefix.substr(slash + 1))));
  const size_t first = base.is_v4() ? 96 : 0;
  for (size_t bit = first; bit < first + bits; ++bit) {
    const unsigned mask = 0x80U >> (bit % 8);
    if ((address.bytes()[bit / 8] & mask) != (base.bytes()[bit / 8] & mask)) return false;
  }
  return true;
}

// "value" or "{ value, value }".
std::string as_list(const std::vector<std::string>& values) {
  if (values.size() == 1) return values[0];
  std::string text = "{ ";
  for (const std::string& value : values) text += value + ", ";
  return text + "}";
}

Reading random_addresses(Dice& dice, bool peer) {
  std::vector<std::string> prefixes;
  for (uint32_t count = dice.below(3) + 1; count > 0; --count) prefixes.push_back(dice.of(kPrefixes));
  const bool negated = dice.one_in(4);
  return {fmt::format("{}{}", negated ? "not " : "", as_list(prefixes)), [=](const Asked& asked) {
            const bool remote = peer || asked.flow.direction == Direction::kOut;
            const IpAddress& address = remote ? asked.flow.remote.address : asked.flow.local.address;
            return negated != std::any_of(prefixes.begin(), prefixes.end(),
                                          [&](const std::string& prefix) { return in_prefix(address, prefix); });
          }};
}

Reading random_numbers(Dice& dice, const std::function<std::optional<uint32_t>(const Asked&)>& value) {
  std::vector<std::string> texts;
  std::vector<std::pair<uint32_t, uint32_t>> ranges;
  for (uint32_t count = dice.below(dice.one_in(4) ? 12 : 3) + 1; count > 0; --count) {
    const uint32_t first = dice.below(30), last = first + (dice.one_in(2) ? 0 : dice.below(5));
    ranges.emplace_back(first, last);
    texts.push_back(first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last));
  }
  return {as_list(texts), [=](const Asked& asked) {
            const auto number = value(asked);
            return number && std::any_of(ranges.begin(), ranges.end(),
                                         [&](auto range) { return range.first <= *number && *number <= range.second; });
          }};
}

struct RandomRule {
  std::string text;
  bool audit = false;
  Verdict verdict = Verdict::kAllow;
  std::vector<std::function<bool(const Asked&)>> conditions;
};

RandomRule random_rule(Dice& dice) {
  RandomRule rule;
  const auto add = [&](std::string_view keyword, const Reading& reading) {
    rule.text += fmt::format(" {} {}", keyword, reading.text);
    rule.conditions.push_back(reading.holds);
  };
  rule.audit = dice.one_in(8);
  rule.verdict = dice.one_in(2) ? Verdict::kDeny : Verdict::kAllow;
  const Direction direction = dice.one_in(3) ? Direction::kIn : Direction::kOut;
  rule.text = fmt::format("{}{}{}", rule.audit ? "audit " : "", to_string(rule.verdict),
                          direction == Direction::kIn ? " in" : "");
  rule.conditions.emplace_back([=](const Asked& asked) { return asked.flow.direction == direction; });

  const std::vector<std::vector<Protocol>> lists{
      {Protocol::kTcp}, {Protocol::kUdp}, {Protocol::kTcp, Protocol::kUdp}, {Protocol::kTcp, Protocol::kSctp}};
  const auto& protocols = dice.of(lists);
  std::vector<std::string> names;
  names.reserve(protocols.size());
  for (const Protocol protocol : protocols) names.push_back(to_string(protocol));
  add("to", {as_list(names), [=](const Asked& asked) {
               return std::find(protocols.begin(), protocols.end(), asked.flow.protocol) != protocols.end();
             }});
  if (dice.one_in(2)) add("", random_addresses(dice, false));
  if (dice.one_in(2))
    add("port", random_numbers(dice, [](const Asked& asked) -> std::optional<uint32_t> {
          return asked.flow.direction == Direction::kOut ? asked.flow.remote.port : asked.flow.local.port;
        }));
  if (direction == Direction::kIn && dice.one_in(2)) add("peer", random_addresses(dice, true));

  if (dice.one_in(6)) {
    add("from", {"unknown", [](const Asked& asked) { return !asked.subject.uid; }});
    return rule;
  }
  if (dice.one_in(3)) add("from uid", random_numbers(dice, [](const Asked& asked) { return asked.subject.uid; }));
  if (dice.one_in(6)) add("from gid", random_numbers(dice, [](const Asked& asked) { return asked.subject.gid; }));
  if (dice.one_in(6)) add("from pid", random_numbers(dice, [](const Asked& asked) { return asked.subject.pid; }));
  if (dice.one_in(4)) {
    const std::vector<std::string> comms{dice.of(kComms), dice.of(kComms)};
    add("from process", {as_list(comms), [=](const Asked& asked) {
                           return asked.subject.comm == comms[0] || asked.subject.comm == comms[1];
                         }});
  }
  return rule;
}

Asked random_question(Dice& dice) {
  const auto endpoint = [&] {
    return Endpoint{*IpAddress::parse(dice.of(kAddresses)), static_cast<uint16_t>(dice.below(36))};
  };
  const std::vector<Protocol> protocols{Protocol::kTcp, Protocol::kUdp, Protocol::kSctp, Protocol::kIcmp};
  Asked asked{.flow = {dice.one_in(3) ? Direction::kIn : Direction::kOut, dice.of(protocols), endpoint(), endpoint()},
              .subject = {}};
  if (dice.one_in(4)) return asked;
  asked.subject.uid = dice.below(36);
  if (!dice.one_in(3)) asked.subject.gid = dice.below(36);
  if (!dice.one_in(3)) asked.subject.pid = dice.below(36);
  if (!dice.one_in(3)) asked.subject.comm = dice.of(kComms);
  return asked;
}

TEST(random_rules, are_evaluated_as_they_read) {
  size_t decided_by_rule = 0;
  for (uint32_t seed = 0; seed < 200; ++seed) {
    Dice dice(seed);
    std::vector<RandomRule> readings;
    std::string text;
    for (uint32_t count = dice.below(30) + 1; count > 0; --count) {
      readings.push_back(random_rule(dice));
      text += readings.back().text + "\n";
    }
    const auto rules = compile(text, {});
    ASSERT_TRUE(rules) << render(rules.error().front(), text);

    for (int question = 0; question < 200; ++question) {
      const Asked asked = random_question(dice);
      uint32_t line = 0;
      Verdict verdict = Verdict::kAllow;
      std::vector<uint32_t> audited;
      for (size_t i = 0; i < readings.size() && line == 0; ++i) {
        const auto& conditions = readings[i].conditions;
        if (!std::all_of(conditions.begin(), conditions.end(), [&](const auto& holds) { return holds(asked); }))
          continue;
        if (readings[i].audit) {
          audited.push_back(static_cast<uint32_t>(i + 1));
        } else {
          line = static_cast<uint32_t>(i + 1);
          verdict = readings[i].verdict;
        }
      }
      const Decision decision = rules->decide(asked.flow, asked.subject);
      ASSERT_EQ(decision.rule, line) << "seed " << seed << ", " << to_string(asked.flow.local) << " and "
                                     << to_string(asked.flow.remote) << " by\n"
                                     << text;
      ASSERT_EQ(decision.verdict, verdict);
      ASSERT_EQ(decision.audited().size() + decision.audited_left_out, audited.size());
      decided_by_rule += line != 0 ? 1 : 0;
    }
  }
  EXPECT_GT(decided_by_rule, 5'000U) << "the questions hardly meet the rules";
}

}  // namespace
}  // namespace hyperward::policy
