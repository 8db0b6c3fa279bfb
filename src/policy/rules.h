// The rules: who in a guest may reach what. docs/rules.md is the language's reference.
//
//   set mail = { 25, 465, 587 }
//   default allow
//   deny log to tcp port @mail from user alice
//
// compile() turns a text into a RuleSet or says, with line and column, everything that is wrong with it. A RuleSet is
// a value without names or text look-ups in it: decide() walks flat arrays, allocates nothing, and is safe from
// several threads.
//
// compile_rule() takes a rule that is added at run time: one line, perhaps with `for 30m` at its end. It may use the
// sets of the file.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/net.h"

namespace hyperward::policy {

// A text beyond one of these is rejected, never cut.
constexpr size_t kTextMaxBytes = 4U << 20;
constexpr size_t kRulesMax = 10'000;
constexpr size_t kSetsMax = 1'000;
constexpr size_t kElementsMax = 1'000'000;  // of all lists of a text together, sets counted where they are used
constexpr size_t kDiagnosticsMax = 20;      // reported at once; compile() stops there
constexpr size_t kCommMaxBytes = 15;        // TASK_COMM_LEN - 1 of the kernel
constexpr size_t kAuditedMax = 8;           // audit rules remembered per decision
constexpr size_t kRuleMaxBytes = 4096;      // of a rule that is added at run time
constexpr std::chrono::seconds kDurationMin{1}, kDurationMax = std::chrono::days(365);

enum class Verdict : uint8_t { kAllow, kDeny };
enum class Direction : uint8_t { kOut, kIn };  // who began the flow: the guest, or the world

[[nodiscard]] std::string_view to_string(Verdict verdict);      // "allow", "deny"
[[nodiscard]] std::string_view to_string(Direction direction);  // "out", "in"

// What is known of a flow's owner. A fact that is not set matches no rule that asks for it.
struct Subject {
  std::optional<uint32_t> uid, gid, pid;
  std::string_view comm;  // the process's name; empty: not known

  [[nodiscard]] bool is_unknown() const { return !uid.has_value(); }  // what `from unknown` asks
};

struct Flow {
  Direction direction = Direction::kOut;
  Protocol protocol{};
  Endpoint local;   // the guest's
  Endpoint remote;  // the world's
};

// What an `audit` rule would have decided, had it not been one.
struct Audited {
  uint32_t line = 0;
  Verdict verdict = Verdict::kAllow;
};

struct Decision {
  Verdict verdict = Verdict::kAllow;
  bool log = false;
  uint32_t rule = 0;  // the line of the rule that decided; 0: the default

  [[nodiscard]] std::span<const Audited> audited() const { return {audited_.data(), audited_count_}; }
  uint32_t audited_left_out = 0;  // audit rules that matched beyond kAuditedMax
  // Remembers it, or counts it as left out.
  void remember(const Audited& audited);

 private:
  uint32_t audited_count_ = 0;
  std::array<Audited, kAuditedMax> audited_{};
};

// Turns the names of users and groups into numbers: the guest's, not the host's.
struct Names {
  std::map<std::string, uint32_t, std::less<>> users, groups;

  // From the text of the guest's /etc/passwd and /etc/group. Lines that are none are skipped; the first of two equal
  // names counts, as for getpwnam(3).
  [[nodiscard]] static Names from_files(std::string_view passwd, std::string_view group);
};

// A mistake in a text, at a line and column counted from 1 (columns in bytes).
struct Diagnostic {
  uint32_t line = 0, column = 0;
  uint32_t length_bytes = 1;  // of the text at fault
  std::string message;
};

// "rules:3:15: expected a port, a range, a list or a set after 'port', found 'from'"
[[nodiscard]] std::string to_string(const Diagnostic& diagnostic, std::string_view file = "rules");

// The same, and below it the line at fault with the place marked:
//
//   deny to tcp port from user alice
//                    ^~~~
[[nodiscard]] std::string render(const Diagnostic& diagnostic, std::string_view text, std::string_view file = "rules");

// A rule as a reader of the text knows it.
struct Rule {
  uint32_t line = 0;
  Direction direction = Direction::kOut;
  Verdict verdict = Verdict::kAllow;
  bool audit = false;
  bool log = false;
  std::string text;  // as written, without comment and margins
};

struct Sets;  // policy/syntax.h

class RuleSet {
 public:
  RuleSet() = default;  // no rules: allows everything

  // The first rule that matches decides, the default of the flow's direction when none does.
  [[nodiscard]] Decision decide(const Flow& flow, const Subject& subject) const;

  // False: every inbound flow is allowed, whoever receives it.
  [[nodiscard]] bool mentions_inbound() const { return mentions_inbound_; }
  // Some rule asks who the owner is at all. False: decide() may be given an empty Subject.
  [[nodiscard]] bool needs_owner() const { return needs_owner_; }
  // The same but for `from unknown`, which needs nobody to be known.
  [[nodiscard]] bool needs_known_owner() const { return needs_known_owner_; }
  // Some rule asks for more than the socket's uid: a process, pid or group.
  [[nodiscard]] bool needs_process() const { return needs_process_; }

  [[nodiscard]] Verdict default_verdict(Direction direction) const { return default_of(direction).verdict; }
  [[nodiscard]] std::span<const Rule> rules() const { return rules_; }
  [[nodiscard]] const Rule* rule_at_line(uint32_t line) const;  // nullptr: no rule begins there
  // The text of the rule of a Decision: rule_at_line(line)->text, or "default allow" and the like for line 0.
  [[nodiscard]] std::string text_of(uint32_t line, Direction direction) const;

 private:
  friend class Compiler;
  friend class Layout;

  // Values of one kind lie together in one array; a condition is a slice of it, sorted, without overlaps.
  struct Slice {
    uint32_t begin = 0, count = 0;
  };
  template <typename T>
  struct Interval {  // both ends belong to it
    T first, last;
  };
  struct Wide {  // an address, or the 16 bytes of a process's name, as one number
    uint64_t high = 0, low = 0;
    auto operator<=>(const Wide&) const = default;
  };

  // What a rule asks for, one bit each. The same bits say what is known of a flow and its owner: a rule that asks for
  // more does not match.
  enum Asks : uint16_t {
    kAsksOut = 1 << 0,
    kAsksIn = 1 << 1,
    kAsksProtocol = 1 << 2,
    kAsksPort = 1 << 3,
    kAsksDestination = 1 << 4,
    kAsksPeer = 1 << 5,
    kAsksUnknown = 1 << 6,
    kAsksUid = 1 << 7,
    kAsksGid = 1 << 8,
    kAsksPid = 1 << 9,
    kAsksComm = 1 << 10,
    kDestinationNegated = 1 << 11,
    kPeerNegated = 1 << 12,
  };

  // The span from the least to the greatest value that a condition takes; everything when there is no condition.
  template <typename T>
  struct Hull {
    T first = 0, length = std::numeric_limits<T>::max();
    [[nodiscard]] bool holds(T value) const { return static_cast<T>(value - first) <= length; }
  };
  // What a flow must at least be for a rule to match: most rules are ruled out here, without a branch or a second
  // cache line. Matcher has the whole truth.
  struct Screen {
    uint16_t asks = 0;
    Hull<uint8_t> protocol;
    Hull<uint16_t> port;
    Hull<uint32_t> uid;
    Hull<uint64_t> destination_low;  // of the address's lower half
    Hull<uint64_t> comm_high;        // of the name's first 8 bytes
  };
  struct Matcher {
    Slice protocols, ports, destinations, peers, uids, gids, pids, comms;
  };
  struct Question;  // a flow and its owner, in the matchers' terms
  struct Default {
    Verdict verdict = Verdict::kAllow;
    bool log = false;
  };

  static Wide wide(const IpAddress& address);
  static Wide wide(std::string_view comm);  // cut to kCommMaxBytes, as the kernel does
  template <typename T>
  static bool contains(const std::vector<Interval<T>>& all, Slice slice, const T& value);
  [[nodiscard]] static bool may_match(const Screen& screen, const Question& question);
  [[nodiscard]] bool matches(unsigned asks, const Matcher& matcher, const Question& question) const;
  [[nodiscard]] const Default& default_of(Direction direction) const {
    return defaults_[static_cast<size_t>(direction)];
  }

  // Of each rule, in the order of the text.
  std::vector<Rule> rules_;
  std::vector<Screen> screens_;
  std::vector<Matcher> matchers_;
  std::array<Default, 2> defaults_{};
  bool mentions_inbound_ = false, needs_owner_ = false, needs_known_owner_ = false, needs_process_ = false;

  std::vector<Interval<uint16_t>> numbers_;  // protocols and ports
  std::vector<Interval<uint32_t>> ids_;      // uids, gids and pids
  std::vector<Interval<Wide>> wides_;        // addresses and names of processes

  std::shared_ptr<const Sets> sets_;  // as written, for rules that are added at run time; nullptr: none
};

// All mistakes that can be told apart, in the order of the text, at most kDiagnosticsMax.
[[nodiscard]] std::expected<RuleSet, std::vector<Diagnostic>> compile(std::string_view text, const Names& names);

// A rule that is added at run time.
struct RunTimeRule {
  Rule rule;                                                    // its text, without the duration, is what to keep
  std::optional<std::chrono::seconds> duration = std::nullopt;  // nothing: it stays until it is removed
};

// Exactly one rule on one line. It may use the sets of `file`.
[[nodiscard]] std::expected<RunTimeRule, std::vector<Diagnostic>> compile_rule(std::string_view text,
                                                                               const Names& names,
                                                                               const RuleSet& file = {});

// Rules that were added at run time, to be asked in the order given. One with a mistake is left out: it was right when
// it was added, but its user may have left the guest, its set the file.
struct RunTimeRules {
  struct Skipped {
    size_t index;        // of the text
    Diagnostic mistake;  // its first
  };

  RuleSet rules;  // Rule::line is the index of the text + 1
  std::vector<Skipped> skipped;
};
[[nodiscard]] RunTimeRules compile_run_time_rules(std::span<const std::string_view> texts, const Names& names,
                                                  const RuleSet& file = {});

}  // namespace hyperward::policy
