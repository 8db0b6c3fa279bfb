// Gives the words of a text their meaning: ports, users, addresses. layout.cc lays out what they mean.
//
// A set is a name for words, no type of its own: what `@staff` means is decided where it stands, after `user` or after
// `process`. Only addresses are told from other words by their look, so a set holds one or the other. Sets are
// written out where they are used, and may use only those above them: nothing can recurse.
//
// Rules that are added at run time come one text each into one RuleSet. A text with a mistake leaves no rule there, at
// most some values that no rule points to; they count towards kElementsMax like all others.
#include <algorithm>
#include <tuple>
#include <type_traits>
#include <utility>

#include "policy/layout.h"
#include "policy/syntax.h"
#include "policy/values.h"

namespace hyperward::policy {
namespace {

// A statement on one line, without comments inside and with single blanks.
std::string on_one_line(std::string_view text) {
  std::string line;
  bool quoted = false, comment = false;
  for (const char c : text) {
    if (c == '"') quoted = !quoted && !comment;
    if (c == '#' && !quoted) comment = true;
    if (c == '\n') comment = false;
    if (comment) continue;
    const bool blank = !quoted && (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f');
    if (!blank) {
      line += c;
    } else if (!line.empty() && line.back() != ' ') {
      line += ' ';
    }
  }
  if (line.ends_with(' ')) line.pop_back();
  return line;
}

// The keyword by which a condition is known. Those with the same one cannot both stand in a rule.
std::string_view keyword_of(About about) {
  switch (about) {
    case About::kElements: return "set";
    case About::kProtocol:
    case About::kDestination: return "to";
    case About::kPort: return "port";
    case About::kPeer: return "peer";
    case About::kUser:
    case About::kUid: return "user";
    case About::kGroup:
    case About::kGid: return "group";
    case About::kProcess: return "process";
    case About::kPid: return "pid";
    case About::kUnknown: return "unknown";
    case About::kAnyone: return "any";
  }
  return "?";
}

bool is_about_owner(About about) {
  return about >= About::kUser && about <= About::kPid;
}

Diagnostic too_long(std::string_view text, size_t max_bytes) {
  return {1, 1, 1, fmt::format("the text has {} bytes, {} are the most", text.size(), max_bytes)};
}

}  // namespace

class Compiler {
 public:
  // Of a file.
  explicit Compiler(const Names& names) : names_(names), defined_(std::make_shared<Sets>()), sets_(defined_) {}
  // Of rules that are added at run time.
  Compiler(const Names& names, const RuleSet& file)
      : names_(names), sets_(file.sets_ != nullptr ? file.sets_ : std::make_shared<Sets>()) {}

  std::expected<RuleSet, std::vector<Diagnostic>> compile_file(std::string_view text);
  // `line` is what the rule is known by.
  std::expected<RunTimeRule, std::vector<Diagnostic>> add_at_run_time(std::string_view text, uint32_t line);
  RuleSet take_rules() { return layout_.take(); }

 private:
  // A value of a condition, and the set it came from, as named in the condition.
  struct Element {
    Word word;
    const Word* through = nullptr;
  };

  // From here on places are places in `text`.
  void begin(std::string_view text);
  // Of the statements of a rule that is added at run time; gives its duration.
  std::optional<std::chrono::seconds> add_only_rule(const std::vector<Statement>& statements, uint32_t line);
  void add_set(const Statement& statement);
  void add_default(const Statement& statement);
  void add_rule(const Statement& statement, uint32_t line);
  void add_condition(const Condition& condition, unsigned& asks, Layout::Matcher& matcher);
  void check_together(const Statement& statement, unsigned asks, const Layout::Matcher& matcher);
  // What is wrong with a condition beside those before it; empty: nothing.
  std::string wrong_with(const Condition& condition, const Statement& statement, unsigned asks,
                         const Layout::Matcher& matcher) const;

  // The words of a condition with its sets written out. `addresses`: what the sets must hold.
  std::vector<Element> elements_of(const Condition& condition, bool addresses);
  const Set* find_set(const Word& reference);

  // What `read` makes of each element, laid out by a member of Layout.
  template <typename Read, typename LayOut>
  Layout::Slice slice_of(const Condition& condition, bool addresses, Read read, LayOut lay_out);

  // "'x' <wrong>" at a word, or "set 's' holds 'x', which <wrong>" where the set is used.
  void blame(const Element& element, std::string_view wrong);
  void blame(const Word& word, std::string_view message);
  void blame(uint32_t offset, uint32_t length_bytes, std::string message);
  // As many again as parse() may have found: the first of both together are reported.
  [[nodiscard]] bool blamed_enough() const { return mistakes_.size() >= 2 * kDiagnosticsMax; }
  uint32_t line_of(uint32_t offset) const;
  std::vector<Diagnostic> diagnostics();

  const Names& names_;
  std::shared_ptr<Sets> defined_;     // by the file; nullptr at run time
  std::shared_ptr<const Sets> sets_;  // that may be used
  Layout layout_;
  std::string_view text_;
  std::vector<Mistake> mistakes_;
  std::vector<uint32_t> line_begins_;
  std::map<std::pair<About, std::string_view>, Layout::Slice> slices_of_sets_;
  std::array<uint32_t, 2> default_lines_{};
  size_t elements_count_ = 0;
  bool is_over_limit_ = false;
};

void Compiler::begin(std::string_view text) {
  text_ = text;
  mistakes_.clear();
  line_begins_ = {0};
  for (size_t at = text.find('\n'); at != std::string_view::npos; at = text.find('\n', at + 1))
    line_begins_.push_back(static_cast<uint32_t>(at + 1));
}

std::expected<RuleSet, std::vector<Diagnostic>> Compiler::compile_file(std::string_view text) {
  if (text.size() > kTextMaxBytes) return std::unexpected(std::vector{too_long(text, kTextMaxBytes)});
  defined_->text = text;
  begin(defined_->text);

  Syntax syntax = parse(text_, Source::kFile);
  mistakes_ = std::move(syntax.mistakes);
  for (const Statement& statement : syntax.statements) {
    if (is_over_limit_) break;
    switch (statement.kind) {
      case Statement::Kind::kSet: add_set(statement); break;
      case Statement::Kind::kDefault: add_default(statement); break;
      case Statement::Kind::kRule: add_rule(statement, line_of(statement.begin)); break;
    }
    if (statement.duration && !statement.broken)
      blame(statement.for_offset, 3, "'for' is for rules that are added at run time");
  }
  if (!mistakes_.empty()) return std::unexpected(diagnostics());
  return layout_.take(defined_->by_name.empty() ? nullptr : defined_);
}

std::expected<RunTimeRule, std::vector<Diagnostic>> Compiler::add_at_run_time(std::string_view text, uint32_t line) {
  if (text.size() > kRuleMaxBytes) return std::unexpected(std::vector{too_long(text, kRuleMaxBytes)});
  begin(text.substr(0, text.find_last_not_of(" \t\r\n") + 1));
  if (const size_t end = text_.find_first_of("\r\n"); end != std::string_view::npos) {
    blame(static_cast<uint32_t>(end), 1, "a rule that is added at run time takes one line");
    return std::unexpected(diagnostics());
  }

  Syntax syntax = parse(text_, Source::kRunTime);
  mistakes_ = std::move(syntax.mistakes);
  HW_CHECK(syntax.statements.size() <= 1);  // of one line
  RunTimeRule added;
  if (mistakes_.empty()) added.duration = add_only_rule(syntax.statements, line);
  if (!mistakes_.empty()) {
    slices_of_sets_.clear();  // a set with a mistake was laid out without it
    is_over_limit_ = false;   // a smaller rule may still find room
    return std::unexpected(diagnostics());
  }
  added.rule = layout_.newest();
  return added;
}

std::optional<std::chrono::seconds> Compiler::add_only_rule(const std::vector<Statement>& statements, uint32_t line) {
  if (statements.empty()) {
    blame(0, 1, "expected 'allow', 'deny' or 'audit', found the end of the line");
    return std::nullopt;
  }
  const Statement& statement = statements.front();
  if (statement.kind != Statement::Kind::kRule) {
    blame(statement.begin, token_at(text_, statement.begin).length_bytes,
          "only a rule can be added at run time: sets and defaults belong in the file");
    return std::nullopt;
  }
  std::optional<std::chrono::seconds> duration;
  if (statement.duration) {
    const auto meaning = read_duration(*statement.duration);
    if (meaning) {
      duration = *meaning;
    } else {
      blame(Element{*statement.duration}, meaning.error());
    }
  }
  add_rule(statement, line);
  return duration;
}

void Compiler::add_set(const Statement& statement) {
  if (statement.name.text.empty()) return;  // a mistake before its name
  auto& sets = defined_->by_name;
  const auto [entry, is_new] = sets.try_emplace(statement.name.text);
  if (!is_new) return blame(statement.name, fmt::format("set '{}' is defined above already", statement.name.text));
  if (statement.broken) {
    entry->second.broken = true;
    return;
  }

  const Condition& condition = statement.conditions.front();
  Set set;
  const Word& first = condition.values.front();
  if (first.kind == Word::Kind::kSet) {
    const auto other = sets.find(first.text);
    set.addresses = other != sets.end() && other->second.addresses;
  } else {
    set.addresses = looks_like_address(first);
  }
  // Itself is not among the sets that it may use.
  auto self = sets.extract(entry);
  const size_t mistakes_before = mistakes_.size();
  for (const Element& element : elements_of(condition, set.addresses)) {
    if (element.through != nullptr) {
      // Looked at where that set was defined.
    } else if (set.addresses != looks_like_address(element.word)) {
      blame(element.word, fmt::format("a set holds addresses or other values, not both: '{}' is {}", element.word.text,
                                      set.addresses ? "no address" : "an address, unless it is quoted"));
    } else if (set.addresses) {
      // An address is one wherever the set is used: what is none is told at once.
      if (const auto prefix = read_prefix(element.word); !prefix) blame(element, prefix.error());
    }
    set.words.push_back(element.word);
  }
  set.broken = mistakes_.size() != mistakes_before;
  self.mapped() = std::move(set);
  sets.insert(std::move(self));
}

void Compiler::add_default(const Statement& statement) {
  if (statement.broken) return;
  uint32_t& line = default_lines_[static_cast<size_t>(statement.direction)];
  if (line != 0)
    return blame(statement.begin, statement.end - statement.begin,
                 fmt::format("the default for '{}' stands in line {} already", to_string(statement.direction), line));
  line = line_of(statement.begin);
  layout_.set_default(statement.direction, statement.verdict, statement.log);
}

void Compiler::add_rule(const Statement& statement, uint32_t line) {
  if (statement.broken) return;
  unsigned asks = 0;
  Layout::Matcher matcher;
  const size_t mistakes_before = mistakes_.size();
  for (const Condition& condition : statement.conditions) add_condition(condition, asks, matcher);
  if (mistakes_.size() == mistakes_before) check_together(statement, asks, matcher);
  if (!mistakes_.empty()) return;  // nobody will see the rules, or, at run time, this one

  const uint32_t end = statement.duration ? statement.for_offset : statement.end;
  layout_.add({.line = line,
               .direction = statement.direction,
               .verdict = statement.verdict,
               .audit = statement.audit,
               .log = statement.log,
               .text = on_one_line(text_.substr(statement.begin, end - statement.begin))},
              asks, matcher);
}

void Compiler::add_condition(const Condition& condition, unsigned& asks, Layout::Matcher& matcher) {
  const auto numbers = [&](auto read) { return slice_of(condition, false, read, &Layout::numbers); };
  const auto ids = [&](std::string_view what) {
    return slice_of(condition, false, [&](const Word& word) { return read_id(word, what); }, &Layout::ids);
  };
  const auto named_ids = [&](std::string_view what, const auto& names) {
    return slice_of(condition, false, [&](const Word& word) { return read_named_id(word, what, names); }, &Layout::ids);
  };
  const auto addresses = [&] { return slice_of(condition, true, read_prefix, &Layout::addresses); };

  switch (condition.about) {
    case About::kProtocol:
      if (condition.values.front().text == "any") break;
      matcher.protocols = numbers(read_protocol);
      asks |= RuleSet::kAsksProtocol;
      break;
    case About::kPort:
      matcher.ports = numbers(read_port);
      asks |= RuleSet::kAsksPort;
      break;
    case About::kDestination:
      matcher.destinations = addresses();
      asks |= RuleSet::kAsksDestination;
      if (condition.negated) asks |= RuleSet::kDestinationNegated;
      break;
    case About::kPeer:
      matcher.peers = addresses();
      asks |= RuleSet::kAsksPeer;
      if (condition.negated) asks |= RuleSet::kPeerNegated;
      break;
    case About::kUser:
      matcher.uids = named_ids("user", names_.users);
      asks |= RuleSet::kAsksUid;
      break;
    case About::kUid:
      matcher.uids = ids("uid");
      asks |= RuleSet::kAsksUid;
      break;
    case About::kGroup:
      matcher.gids = named_ids("group", names_.groups);
      asks |= RuleSet::kAsksGid;
      break;
    case About::kGid:
      matcher.gids = ids("gid");
      asks |= RuleSet::kAsksGid;
      break;
    case About::kPid:
      matcher.pids = ids("pid");
      asks |= RuleSet::kAsksPid;
      break;
    case About::kProcess:
      matcher.comms = slice_of(condition, false, read_comm, &Layout::comms);
      asks |= RuleSet::kAsksComm;
      break;
    case About::kUnknown: asks |= RuleSet::kAsksUnknown; break;
    case About::kAnyone:
    case About::kElements: break;
  }
}

// What each condition cannot see alone.
void Compiler::check_together(const Statement& statement, unsigned asks, const Layout::Matcher& matcher) {
  if (statement.audit && statement.log)
    blame(statement.log_offset, 3, "an audit rule is recorded in any case: leave out 'log'");
  for (const Condition& condition : statement.conditions) {
    std::string wrong = wrong_with(condition, statement, asks, matcher);
    if (wrong.empty()) continue;
    return blame(condition.offset, std::max(token_at(text_, condition.offset).length_bytes, 1U), std::move(wrong));
  }
}

std::string Compiler::wrong_with(const Condition& condition, const Statement& statement, unsigned asks,
                                 const Layout::Matcher& matcher) const {
  const std::string_view keyword = keyword_of(condition.about);
  for (const Condition& other : statement.conditions) {
    if (&other == &condition) break;
    const bool of_one_to = other.about != condition.about && keyword == "to";
    if (!of_one_to && keyword_of(other.about) == keyword)
      return fmt::format("a second condition on '{}' in one rule: write a list, or two rules", keyword);
  }
  if ((asks & RuleSet::kAsksUnknown) != 0 && is_about_owner(condition.about))
    return "nothing more can be asked of an unknown owner";
  if (condition.about == About::kPeer && statement.direction == Direction::kOut)
    return "'peer' is for rules with 'in'; here the peer is what stands after 'to'";
  const bool has_protocols = (asks & RuleSet::kAsksProtocol) != 0;
  if (condition.about == About::kPort && (!has_protocols || !layout_.only_with_ports(matcher.protocols)))
    return "only tcp, udp and sctp have ports: name them after 'to'";
  return {};
}

const Set* Compiler::find_set(const Word& reference) {
  const auto found = sets_->by_name.find(reference.text);
  if (found != sets_->by_name.end()) return &found->second;
  blame(reference, fmt::format("no set '{}' is defined {}", reference.text,
                               defined_ != nullptr ? "above" : "in the file of rules"));
  return nullptr;
}

std::vector<Compiler::Element> Compiler::elements_of(const Condition& condition, bool addresses) {
  std::vector<Element> elements;
  for (const Word& word : condition.values) {
    const Set* set = word.kind == Word::Kind::kSet ? find_set(word) : nullptr;
    if (word.kind == Word::Kind::kSet && (set == nullptr || set->broken)) continue;
    if (set != nullptr && set->addresses != addresses) {
      blame(word, fmt::format("set '{}' holds {}", word.text,
                              set->addresses ? "addresses, which cannot stand here" : "no addresses"));
      continue;
    }

    const size_t count = set == nullptr ? 1 : set->words.size();
    if (count > kElementsMax - elements_count_) {
      blame(word, fmt::format("more than {} values, with sets written out", kElementsMax));
      is_over_limit_ = true;
      return {};
    }
    elements_count_ += count;
    if (set == nullptr) {
      elements.push_back({word});
    } else {
      for (const Word& inner : set->words) elements.push_back({inner, &word});
    }
  }
  return elements;
}

template <typename Read, typename LayOut>
Layout::Slice Compiler::slice_of(const Condition& condition, bool addresses, Read read, LayOut lay_out) {
  // A large set used by many rules is laid out once.
  const bool is_set = condition.values.size() == 1 && condition.values.front().kind == Word::Kind::kSet;
  const std::pair key(condition.about == About::kPeer ? About::kDestination : condition.about,
                      condition.values.front().text);
  if (is_set)
    if (const auto known = slices_of_sets_.find(key); known != slices_of_sets_.end()) return known->second;

  std::vector<typename std::invoke_result_t<Read, const Word&>::value_type> meanings;
  for (const Element& element : elements_of(condition, addresses)) {
    const auto meaning = read(element.word);
    if (meaning) {
      meanings.push_back(*meaning);
    } else {
      blame(element, meaning.error());
    }
  }
  const Layout::Slice slice = (layout_.*lay_out)(meanings);
  if (is_set) slices_of_sets_.emplace(key, slice);
  return slice;
}

void Compiler::blame(const Element& element, std::string_view wrong) {
  if (element.through == nullptr) return blame(element.word, fmt::format("'{}' {}", element.word.text, wrong));
  blame(*element.through,
        fmt::format("set '{}' holds '{}', which {}", element.through->text, element.word.text, wrong));
}

void Compiler::blame(const Word& word, std::string_view message) {
  if (blamed_enough()) return;  // before the word's end is looked for: a line may hold a hundred thousand mistakes
  blame(word.offset, std::max(token_at(text_, word.offset).length_bytes, 1U), std::string(message));
}

void Compiler::blame(uint32_t offset, uint32_t length_bytes, std::string message) {
  if (blamed_enough()) return;
  mistakes_.push_back({offset, length_bytes, std::move(message)});
}

uint32_t Compiler::line_of(uint32_t offset) const {
  return static_cast<uint32_t>(std::upper_bound(line_begins_.begin(), line_begins_.end(), offset) -
                               line_begins_.begin());
}

std::vector<Diagnostic> Compiler::diagnostics() {
  std::sort(mistakes_.begin(), mistakes_.end(), [](const Mistake& one, const Mistake& other) {
    return std::tie(one.offset, one.message) < std::tie(other.offset, other.message);
  });
  if (mistakes_.size() > kDiagnosticsMax) mistakes_.resize(kDiagnosticsMax);
  std::vector<Diagnostic> diagnostics;
  for (Mistake& mistake : mistakes_) {
    const uint32_t line = line_of(mistake.offset);
    diagnostics.push_back(
        {line, mistake.offset - line_begins_[line - 1] + 1, mistake.length_bytes, std::move(mistake.message)});
  }
  return diagnostics;
}

std::expected<RuleSet, std::vector<Diagnostic>> compile(std::string_view text, const Names& names) {
  return Compiler(names).compile_file(text);
}

std::expected<RunTimeRule, std::vector<Diagnostic>> compile_rule(std::string_view text, const Names& names,
                                                                 const RuleSet& file) {
  return Compiler(names, file).add_at_run_time(text, 1);
}

RunTimeRules compile_run_time_rules(std::span<const std::string_view> texts, const Names& names, const RuleSet& file) {
  RunTimeRules result;
  Compiler compiler(names, file);
  for (size_t i = 0; i < texts.size(); ++i) {
    if (i >= kRulesMax) {
      result.skipped.push_back({i, {1, 1, 1, fmt::format("more than {} rules", kRulesMax)}});
      continue;
    }
    const auto added = compiler.add_at_run_time(texts[i], static_cast<uint32_t>(i + 1));
    if (!added) result.skipped.push_back({i, added.error().front()});
  }
  result.rules = compiler.take_rules();
  return result;
}

}  // namespace hyperward::policy
