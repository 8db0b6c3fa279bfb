#include "policy/rules.h"

#include <algorithm>
#include <charconv>

namespace hyperward::policy {
namespace {

// Splits off and gives the text up to the next `separator`.
std::string_view take(std::string_view& text, char separator) {
  const size_t end = std::min(text.find(separator), text.size());
  const std::string_view taken = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return taken;
}

// name:password:number:..., the beginning of a line of /etc/passwd and of /etc/group alike.
std::map<std::string, uint32_t, std::less<>> names_of(std::string_view text) {
  std::map<std::string, uint32_t, std::less<>> names;
  while (!text.empty()) {
    std::string_view line = take(text, '\n');
    const std::string_view name = take(line, ':');
    take(line, ':');
    const std::string_view number = take(line, ':');
    uint32_t id = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), id);
    if (name.empty() || error != std::errc() || end != number.data() + number.size()) continue;
    names.emplace(name, id);
  }
  return names;
}

}  // namespace

std::string_view to_string(Verdict verdict) {
  return verdict == Verdict::kAllow ? "allow" : "deny";
}

std::string_view to_string(Direction direction) {
  return direction == Direction::kOut ? "out" : "in";
}

Names Names::from_files(std::string_view passwd, std::string_view group) {
  return {.users = names_of(passwd), .groups = names_of(group)};
}

void Decision::remember(const Audited& audited) {
  if (audited_count_ < kAuditedMax) {
    audited_[audited_count_++] = audited;
  } else {
    ++audited_left_out;
  }
}

struct RuleSet::Question {
  unsigned known;
  uint8_t protocol;
  uint16_t port;
  Wide destination, peer;
  uint32_t uid, gid, pid;
  Wide comm;
};

RuleSet::Wide RuleSet::wide(const IpAddress& address) {
  Wide wide;
  for (size_t i = 0; i < 8; ++i) {
    wide.high = wide.high << 8U | address.bytes()[i];
    wide.low = wide.low << 8U | address.bytes()[i + 8];
  }
  return wide;
}

RuleSet::Wide RuleSet::wide(std::string_view comm) {
  std::array<uint8_t, kCommMaxBytes + 1> padded{};
  std::copy_n(comm.begin(), std::min(comm.size(), kCommMaxBytes), padded.begin());
  return wide(IpAddress::v6(padded));
}

template <typename T>
bool RuleSet::contains(const std::vector<Interval<T>>& all, Slice slice, const T& value) {
  const Interval<T>* first = all.data() + slice.begin;
  const Interval<T>* end = first + slice.count;
  // Most conditions name one value or a few: searching those by halves would only cost.
  constexpr uint32_t kLinearMax = 8;
  if (slice.count <= kLinearMax)
    return std::any_of(first, end, [&](const auto& i) { return i.first <= value && value <= i.last; });
  const Interval<T>* behind = std::partition_point(first, end, [&](const auto& i) { return i.first <= value; });
  return behind != first && value <= behind[-1].last;
}

bool RuleSet::may_match(const Screen& screen, const Question& question) {
  // Each on its own would be a branch that the processor cannot foresee.
  unsigned holds = (screen.asks & ~question.known) == 0 ? 1 : 0;
  holds &= static_cast<unsigned>(screen.protocol.holds(question.protocol));
  holds &= static_cast<unsigned>(screen.port.holds(question.port));
  holds &= static_cast<unsigned>(screen.uid.holds(question.uid));
  holds &= static_cast<unsigned>(screen.destination_low.holds(question.destination.low));
  holds &= static_cast<unsigned>(screen.comm_high.holds(question.comm.high));
  return holds != 0;
}

bool RuleSet::matches(unsigned asks, const Matcher& matcher, const Question& question) const {
  if ((asks & kAsksProtocol) != 0 && !contains(numbers_, matcher.protocols, uint16_t{question.protocol})) return false;
  if ((asks & kAsksPort) != 0 && !contains(numbers_, matcher.ports, question.port)) return false;
  if ((asks & kAsksUid) != 0 && !contains(ids_, matcher.uids, question.uid)) return false;
  if ((asks & kAsksGid) != 0 && !contains(ids_, matcher.gids, question.gid)) return false;
  if ((asks & kAsksPid) != 0 && !contains(ids_, matcher.pids, question.pid)) return false;
  if ((asks & kAsksComm) != 0 && !contains(wides_, matcher.comms, question.comm)) return false;
  if ((asks & kAsksDestination) != 0 &&
      contains(wides_, matcher.destinations, question.destination) == ((asks & kDestinationNegated) != 0))
    return false;
  return (asks & kAsksPeer) == 0 || contains(wides_, matcher.peers, question.peer) != ((asks & kPeerNegated) != 0);
}

Decision RuleSet::decide(const Flow& flow, const Subject& subject) const {
  const bool out = flow.direction == Direction::kOut;
  const Endpoint& destination = out ? flow.remote : flow.local;
  unsigned known = kAsksProtocol | kAsksPort | kAsksDestination | kAsksPeer | kDestinationNegated | kPeerNegated;
  known |= out ? kAsksOut : kAsksIn;
  if (subject.is_unknown()) known |= kAsksUnknown;
  if (subject.uid) known |= kAsksUid;
  if (subject.gid) known |= kAsksGid;
  if (subject.pid) known |= kAsksPid;
  if (!subject.comm.empty()) known |= kAsksComm;
  const Question question{.known = known,
                          .protocol = static_cast<uint8_t>(flow.protocol),
                          .port = destination.port,
                          .destination = wide(destination.address),
                          .peer = wide(flow.remote.address),
                          .uid = subject.uid.value_or(0),
                          .gid = subject.gid.value_or(0),
                          .pid = subject.pid.value_or(0),
                          .comm = wide(subject.comm)};

  Decision decision;
  for (size_t i = 0; i < screens_.size(); ++i) {
    const Screen& screen = screens_[i];
    if (!may_match(screen, question) || !matches(screen.asks, matchers_[i], question)) continue;
    const Rule& rule = rules_[i];
    if (!rule.audit) {
      decision.verdict = rule.verdict;
      decision.log = rule.log;
      decision.rule = rule.line;
      return decision;
    }
    decision.remember({rule.line, rule.verdict});
  }
  decision.verdict = default_of(flow.direction).verdict;
  decision.log = default_of(flow.direction).log;
  return decision;
}

const Rule* RuleSet::rule_at_line(uint32_t line) const {
  const auto at =
      std::lower_bound(rules_.begin(), rules_.end(), line, [](const Rule& rule, uint32_t l) { return rule.line < l; });
  return at != rules_.end() && at->line == line ? &*at : nullptr;
}

std::string RuleSet::text_of(uint32_t line, Direction direction) const {
  if (const Rule* rule = rule_at_line(line)) return rule->text;
  const Default& fallback = default_of(direction);
  return fmt::format("default {}{}{}", to_string(fallback.verdict), fallback.log ? " log" : "",
                     direction == Direction::kIn ? " in" : "");
}

}  // namespace hyperward::policy
