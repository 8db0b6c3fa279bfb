// Gives the words of a text their meaning: ports, users, addresses; and lays the rules out for RuleSet::decide().
//
// A set is a name for words, no type of its own: what `@staff` means is decided where it stands, after `user` or after
// `process`. Only addresses are told from other words by their look, so a set holds one or the other. Sets are
// written out where they are used, and may use only those above them: nothing can recurse.
#include <algorithm>
#include <charconv>
#include <tuple>
#include <utility>

#include "packet/packet.h"
#include "policy/syntax.h"

namespace hyperward::policy {
namespace {

constexpr uint32_t kPortMax = 65'535, kProtocolMax = 255, kIdMax = UINT32_MAX;

struct Service {
  std::string_view name;
  uint16_t port;
};
// Names of the IANA registry that rules want most; everything else is a number.
constexpr std::array kServices{
    Service{"ftp", 21},          Service{"ssh", 22},         Service{"telnet", 23},       Service{"smtp", 25},
    Service{"domain", 53},       Service{"http", 80},        Service{"pop3", 110},        Service{"ntp", 123},
    Service{"imap", 143},        Service{"snmp", 161},       Service{"ldap", 389},        Service{"https", 443},
    Service{"submissions", 465}, Service{"submission", 587}, Service{"ldaps", 636},       Service{"imaps", 993},
    Service{"pop3s", 995},       Service{"mysql", 3306},     Service{"postgresql", 5432},
};

constexpr std::array kProtocols{Protocol::kTcp, Protocol::kUdp, Protocol::kSctp, Protocol::kIcmp, Protocol::kIcmpV6};

struct Range {
  uint32_t first = 0, last = 0;
};

// "25" or "1000-1999"; what is wrong with it otherwise, as the end of "'x' ...".
std::expected<Range, std::string> read_range(std::string_view text, uint32_t max, std::string_view what) {
  const size_t dash = text.find('-');
  const std::string_view first_text = text.substr(0, dash);
  const std::string_view last_text = dash == std::string_view::npos ? first_text : text.substr(dash + 1);
  Range range;
  for (const auto& [part, number] : {std::pair(first_text, &range.first), std::pair(last_text, &range.last)}) {
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), *number);
    if (part.empty() || end != part.data() + part.size() || error == std::errc::invalid_argument)
      return std::unexpected(fmt::format("is no {}", what));
    if (error != std::errc() || *number > max) return std::unexpected(fmt::format("is too large: the last is {}", max));
  }
  if (range.first > range.last) return std::unexpected("is a range from the larger number to the smaller");
  return range;
}

// Whether a word can only be meant as an address.
bool looks_like_address(const Word& word) {
  return word.kind == Word::Kind::kPlain && word.text.find_first_of(".:/") != std::string_view::npos;
}

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

}  // namespace

class Compiler {
 public:
  Compiler(std::string_view text, const Names& names) : text_(text), names_(names) {}

  std::expected<RuleSet, std::vector<Diagnostic>> run();

 private:
  template <typename T>
  using Interval = RuleSet::Interval<T>;
  using Slice = RuleSet::Slice;
  using Wide = RuleSet::Wide;

  struct Set {
    bool addresses = false;
    bool broken = false;      // a mistake in it was reported already
    std::vector<Word> words;  // other sets written out
  };
  // A value of a condition, and the set it came from, as named in the condition.
  struct Element {
    Word word;
    const Word* through = nullptr;
  };

  void add_set(const Statement& statement);
  void add_default(const Statement& statement);
  void add_rule(const Statement& statement);
  void add_condition(const Condition& condition, RuleSet::Screen& screen, RuleSet::Matcher& matcher);
  void check_together(const Statement& statement, unsigned asks, const RuleSet::Matcher& matcher);
  RuleSet::Screen screened(RuleSet::Screen screen, const RuleSet::Matcher& matcher) const;
  bool only_with_ports(Slice protocols) const;

  // The words of a condition with its sets written out. `addresses`: what the sets must hold.
  std::vector<Element> elements_of(const Condition& condition, bool addresses);
  const Set* find_set(const Word& reference);

  // Puts what `read` makes of each element into `pool`.
  template <typename T, typename Read>
  Slice slice_of(const Condition& condition, std::vector<Interval<T>>& pool, bool addresses, Read read);

  void read_protocol(const Element& element, std::vector<Interval<uint16_t>>& out);
  void read_port(const Element& element, std::vector<Interval<uint16_t>>& out);
  void read_address(const Element& element, std::vector<Interval<Wide>>& out);
  void read_comm(const Element& element, std::vector<Interval<Wide>>& out);
  void read_id(const Element& element, std::string_view what, std::vector<Interval<uint32_t>>& out);
  void read_named_id(const Element& element, std::string_view what,
                     const std::map<std::string, uint32_t, std::less<>>& ids, std::vector<Interval<uint32_t>>& out);

  // "'x' <wrong>" at a word, or "set 's' holds 'x', which <wrong>" where the set is used.
  void blame(const Element& element, std::string_view wrong);
  void blame(const Word& word, std::string_view message);
  void blame(uint32_t offset, uint32_t length_bytes, std::string message);
  uint32_t line_of(uint32_t offset) const;
  std::vector<Diagnostic> diagnostics();

  std::string_view text_;
  const Names& names_;
  RuleSet rules_;
  std::vector<Mistake> mistakes_;
  std::vector<uint32_t> line_begins_;
  std::map<std::string_view, Set> sets_;
  std::map<std::pair<About, std::string_view>, Slice> slices_of_sets_;
  std::array<uint32_t, 2> default_lines_{};
  size_t elements_ = 0;
};

std::expected<RuleSet, std::vector<Diagnostic>> Compiler::run() {
  if (text_.size() > kTextMaxBytes)
    return std::unexpected(std::vector{
        Diagnostic{1, 1, 1, fmt::format("the text has {} bytes, {} are the most", text_.size(), kTextMaxBytes)}});
  line_begins_.push_back(0);
  for (size_t at = text_.find('\n'); at != std::string_view::npos; at = text_.find('\n', at + 1))
    line_begins_.push_back(static_cast<uint32_t>(at + 1));

  Syntax syntax = parse(text_);
  mistakes_ = std::move(syntax.mistakes);
  for (const Statement& statement : syntax.statements) {
    if (elements_ > kElementsMax) break;
    switch (statement.kind) {
      case Statement::Kind::kSet: add_set(statement); break;
      case Statement::Kind::kDefault: add_default(statement); break;
      case Statement::Kind::kRule: add_rule(statement); break;
    }
  }
  if (!mistakes_.empty()) return std::unexpected(diagnostics());
  return std::move(rules_);
}

void Compiler::add_set(const Statement& statement) {
  if (statement.name.text.empty()) return;  // a mistake before its name
  const auto [entry, is_new] = sets_.try_emplace(statement.name.text);
  if (!is_new) return blame(statement.name, fmt::format("set '{}' is defined above already", statement.name.text));
  if (statement.broken) {
    entry->second.broken = true;
    return;
  }

  const Condition& condition = statement.conditions.front();
  Set set;
  const Word& first = condition.values.front();
  if (first.kind == Word::Kind::kSet) {
    const auto other = sets_.find(first.text);
    set.addresses = other != sets_.end() && other->second.addresses;
  } else {
    set.addresses = looks_like_address(first);
  }
  // Itself is not among the sets that it may use.
  auto self = sets_.extract(entry);
  const size_t mistakes_before = mistakes_.size();
  std::vector<Interval<Wide>> checked;  // an address is one wherever it is used: say at once when it is none
  for (const Element& element : elements_of(condition, set.addresses)) {
    if (element.through == nullptr && set.addresses != looks_like_address(element.word)) {
      blame(element.word, fmt::format("a set holds addresses or other values, not both: '{}' is {}", element.word.text,
                                      set.addresses ? "no address" : "an address, unless it is quoted"));
    } else if (set.addresses && element.through == nullptr) {
      read_address(element, checked);
    }
    set.words.push_back(element.word);
  }
  set.broken = mistakes_.size() != mistakes_before;
  self.mapped() = std::move(set);
  sets_.insert(std::move(self));
}

void Compiler::add_default(const Statement& statement) {
  if (statement.broken) return;
  uint32_t& line = default_lines_[static_cast<size_t>(statement.direction)];
  if (line != 0)
    return blame(statement.begin, statement.end - statement.begin,
                 fmt::format("the default for '{}' stands in line {} already", to_string(statement.direction), line));
  line = line_of(statement.begin);
  rules_.defaults_[static_cast<size_t>(statement.direction)] = {statement.verdict, statement.log};
  if (statement.direction == Direction::kIn) rules_.mentions_inbound_ = true;
}

void Compiler::add_rule(const Statement& statement) {
  if (statement.broken) return;
  RuleSet::Screen screen;
  RuleSet::Matcher matcher;
  screen.asks = statement.direction == Direction::kOut ? RuleSet::kAsksOut : RuleSet::kAsksIn;
  const size_t mistakes_before = mistakes_.size();
  for (const Condition& condition : statement.conditions) add_condition(condition, screen, matcher);
  if (mistakes_.size() == mistakes_before) check_together(statement, screen.asks, matcher);

  constexpr unsigned kAboutProcess = RuleSet::kAsksGid | RuleSet::kAsksPid | RuleSet::kAsksComm;
  constexpr unsigned kAboutOwner = kAboutProcess | RuleSet::kAsksUid | RuleSet::kAsksUnknown;
  rules_.needs_process_ |= (screen.asks & kAboutProcess) != 0;
  rules_.needs_owner_ |= (screen.asks & kAboutOwner) != 0;
  rules_.mentions_inbound_ |= statement.direction == Direction::kIn;
  rules_.screens_.push_back(screened(screen, matcher));
  rules_.matchers_.push_back(matcher);
  rules_.rules_.push_back({.line = line_of(statement.begin),
                           .direction = statement.direction,
                           .verdict = statement.verdict,
                           .audit = statement.audit,
                           .log = statement.log,
                           .text = on_one_line(text_.substr(statement.begin, statement.end - statement.begin))});
}

void Compiler::add_condition(const Condition& condition, RuleSet::Screen& screen, RuleSet::Matcher& matcher) {
  const auto numbers = [&](auto read) { return slice_of(condition, rules_.numbers_, false, read); };
  const auto ids = [&](auto read) { return slice_of(condition, rules_.ids_, false, read); };
  const auto addresses = [&] {
    return slice_of(condition, rules_.wides_, true,
                    [&](const Element& element, auto& out) { read_address(element, out); });
  };

  unsigned asks = 0;
  switch (condition.about) {
    case About::kProtocol:
      if (condition.values.front().text == "any") return;
      matcher.protocols = numbers([&](const Element& element, auto& out) { read_protocol(element, out); });
      asks = RuleSet::kAsksProtocol;
      break;
    case About::kPort:
      matcher.ports = numbers([&](const Element& element, auto& out) { read_port(element, out); });
      asks = RuleSet::kAsksPort;
      break;
    case About::kDestination:
      matcher.destinations = addresses();
      asks = RuleSet::kAsksDestination;
      if (condition.negated) asks |= RuleSet::kDestinationNegated;
      break;
    case About::kPeer:
      matcher.peers = addresses();
      asks = RuleSet::kAsksPeer;
      if (condition.negated) asks |= RuleSet::kPeerNegated;
      break;
    case About::kUser:
      matcher.uids = ids([&](const Element& element, auto& out) { read_named_id(element, "user", names_.users, out); });
      asks = RuleSet::kAsksUid;
      break;
    case About::kUid:
      matcher.uids = ids([&](const Element& element, auto& out) { read_id(element, "uid", out); });
      asks = RuleSet::kAsksUid;
      break;
    case About::kGroup:
      matcher.gids =
          ids([&](const Element& element, auto& out) { read_named_id(element, "group", names_.groups, out); });
      asks = RuleSet::kAsksGid;
      break;
    case About::kGid:
      matcher.gids = ids([&](const Element& element, auto& out) { read_id(element, "gid", out); });
      asks = RuleSet::kAsksGid;
      break;
    case About::kPid:
      matcher.pids = ids([&](const Element& element, auto& out) { read_id(element, "pid", out); });
      asks = RuleSet::kAsksPid;
      break;
    case About::kProcess:
      matcher.comms = slice_of(condition, rules_.wides_, false,
                               [&](const Element& element, auto& out) { read_comm(element, out); });
      asks = RuleSet::kAsksComm;
      break;
    case About::kUnknown: asks = RuleSet::kAsksUnknown; break;
    case About::kAnyone:
    case About::kElements: return;
  }
  screen.asks |= static_cast<uint16_t>(asks);
}

// The hulls of what the conditions take. A slice is sorted: its ends are the hull's.
RuleSet::Screen Compiler::screened(RuleSet::Screen screen, const RuleSet::Matcher& matcher) const {
  const auto tighten = [](const auto& pool, Slice slice, auto& hull) {
    if (slice.count == 0) return;
    using T = decltype(hull.first);
    hull.first = static_cast<T>(pool[slice.begin].first);
    hull.length = static_cast<T>(pool[slice.begin + slice.count - 1].last - hull.first);
  };
  tighten(rules_.numbers_, matcher.protocols, screen.protocol);
  tighten(rules_.numbers_, matcher.ports, screen.port);
  tighten(rules_.ids_, matcher.uids, screen.uid);
  if (matcher.comms.count > 0) {
    const auto comms = std::span(rules_.wides_).subspan(matcher.comms.begin, matcher.comms.count);
    screen.comm_high = {comms.front().first.high, comms.back().last.high - comms.front().first.high};
  }

  if ((screen.asks & RuleSet::kAsksDestination) == 0 || (screen.asks & RuleSet::kDestinationNegated) != 0)
    return screen;
  uint64_t least = UINT64_MAX, greatest = 0;
  const Slice slice = matcher.destinations;
  for (const auto& interval : std::span(rules_.wides_).subspan(slice.begin, slice.count)) {
    if (interval.first.high != interval.last.high) return screen;  // takes any lower half
    least = std::min(least, interval.first.low);
    greatest = std::max(greatest, interval.last.low);
  }
  if (least <= greatest) screen.destination_low = {least, greatest - least};
  return screen;
}

// What each condition cannot see alone.
void Compiler::check_together(const Statement& statement, unsigned asks, const RuleSet::Matcher& matcher) {
  if (statement.audit && statement.log)
    blame(statement.log_offset, 3, "an audit rule is recorded in any case: leave out 'log'");

  const auto& conditions = statement.conditions;
  const auto length_at = [&](const Condition& condition) {
    return std::max(token_at(text_, condition.offset).length_bytes, 1U);
  };
  const bool unknown = (asks & RuleSet::kAsksUnknown) != 0;
  for (auto condition = conditions.begin(); condition != conditions.end(); ++condition) {
    const auto same = std::find_if(conditions.begin(), condition, [&](const Condition& other) {
      const bool one_to = (other.about == About::kProtocol && condition->about == About::kDestination) ||
                          (other.about == About::kDestination && condition->about == About::kProtocol);
      return !one_to && keyword_of(other.about) == keyword_of(condition->about);
    });
    if (same != condition) {
      blame(condition->offset, length_at(*condition),
            fmt::format("a second condition on '{}' in one rule: write a list, or two rules",
                        keyword_of(condition->about)));
      return;
    }
    if (unknown && is_about_owner(condition->about)) {
      blame(condition->offset, length_at(*condition), "nothing more can be asked of an unknown owner");
      return;
    }
    if (condition->about == About::kPeer && statement.direction == Direction::kOut) {
      blame(condition->offset, length_at(*condition),
            "'peer' is for rules with 'in'; here the peer is what stands after 'to'");
      return;
    }
    if (condition->about == About::kPort &&
        ((asks & RuleSet::kAsksProtocol) == 0 || !only_with_ports(matcher.protocols))) {
      blame(condition->offset, length_at(*condition), "only tcp, udp and sctp have ports: name them after 'to'");
      return;
    }
  }
}

bool Compiler::only_with_ports(Slice slice) const {
  const auto protocols = std::span(rules_.numbers_).subspan(slice.begin, slice.count);
  return std::all_of(protocols.begin(), protocols.end(), [](const Interval<uint16_t>& interval) {
    return interval.first == interval.last && packet::has_ports(Protocol{static_cast<uint8_t>(interval.first)});
  });
}

const Compiler::Set* Compiler::find_set(const Word& reference) {
  const auto found = sets_.find(reference.text);
  if (found != sets_.end()) return &found->second;
  blame(reference, fmt::format("no set '{}' is defined above", reference.text));
  return nullptr;
}

std::vector<Compiler::Element> Compiler::elements_of(const Condition& condition, bool addresses) {
  std::vector<Element> elements;
  for (const Word& word : condition.values) {
    if (word.kind != Word::Kind::kSet) {
      elements.push_back({word});
    } else if (const Set* set = find_set(word); set != nullptr && !set->broken) {
      if (set->addresses != addresses) {
        blame(word, fmt::format("set '{}' holds {}", word.text,
                                set->addresses ? "addresses, which cannot stand here" : "no addresses"));
        continue;
      }
      if (elements_ + elements.size() + set->words.size() <= kElementsMax)
        for (const Word& inner : set->words) elements.push_back({inner, &word});
      else
        elements_ = kElementsMax;
    }
    if (elements_ + elements.size() > kElementsMax || elements_ == kElementsMax) {
      elements_ = kElementsMax + 1;
      blame(word, fmt::format("more than {} values, with sets written out", kElementsMax));
      return {};
    }
  }
  elements_ += elements.size();
  return elements;
}

template <typename T, typename Read>
Compiler::Slice Compiler::slice_of(const Condition& condition, std::vector<Interval<T>>& pool, bool addresses,
                                   Read read) {
  // A large set used by many rules is laid out once.
  const bool is_set = condition.values.size() == 1 && condition.values.front().kind == Word::Kind::kSet;
  const std::pair key(condition.about == About::kPeer ? About::kDestination : condition.about,
                      condition.values.front().text);
  if (is_set)
    if (const auto known = slices_of_sets_.find(key); known != slices_of_sets_.end()) return known->second;

  std::vector<Interval<T>> intervals;
  for (const Element& element : elements_of(condition, addresses)) read(element, intervals);
  std::sort(intervals.begin(), intervals.end(), [](const auto& a, const auto& b) { return a.first < b.first; });

  const Slice begin{static_cast<uint32_t>(pool.size()), 0};
  for (const Interval<T>& interval : intervals) {
    if (pool.size() > begin.begin && interval.first <= pool.back().last) {
      pool.back().last = std::max(pool.back().last, interval.last);
    } else {
      pool.push_back(interval);
    }
  }
  const Slice slice{begin.begin, static_cast<uint32_t>(pool.size()) - begin.begin};
  if (is_set) slices_of_sets_.emplace(key, slice);
  return slice;
}

void Compiler::read_protocol(const Element& element, std::vector<Interval<uint16_t>>& out) {
  for (const Protocol protocol : kProtocols) {
    const auto number = static_cast<uint8_t>(protocol);
    if (element.word.text == to_string(protocol)) return out.push_back({number, number});
  }
  const auto range = read_range(element.word.text, kProtocolMax,
                                "protocol: tcp, udp, sctp, icmp, icmp6, any, or a number of an IP protocol");
  if (!range) return blame(element, range.error());
  out.push_back({static_cast<uint16_t>(range->first), static_cast<uint16_t>(range->last)});
}

void Compiler::read_port(const Element& element, std::vector<Interval<uint16_t>>& out) {
  const auto service = std::find_if(kServices.begin(), kServices.end(),
                                    [&](const Service& known) { return known.name == element.word.text; });
  if (service != kServices.end()) return out.push_back({service->port, service->port});
  const auto range = read_range(element.word.text, kPortMax, "port, nor the name of a well-known one");
  if (!range) return blame(element, range.error());
  out.push_back({static_cast<uint16_t>(range->first), static_cast<uint16_t>(range->last)});
}

void Compiler::read_id(const Element& element, std::string_view what, std::vector<Interval<uint32_t>>& out) {
  const auto range = read_range(element.word.text, kIdMax, what);
  if (!range) return blame(element, range.error());
  out.push_back({range->first, range->last});
}

void Compiler::read_named_id(const Element& element, std::string_view what,
                             const std::map<std::string, uint32_t, std::less<>>& ids,
                             std::vector<Interval<uint32_t>>& out) {
  const Word& word = element.word;
  if (const auto named = ids.find(word.text); named != ids.end()) return out.push_back({named->second, named->second});
  const auto range = read_range(word.text, kIdMax, what);
  if (range && word.kind == Word::Kind::kPlain) return out.push_back({range->first, range->last});
  blame(element, fmt::format("is no {} of the guest", what));
}

void Compiler::read_comm(const Element& element, std::vector<Interval<Wide>>& out) {
  const std::string_view name = element.word.text;
  if (name.empty()) return blame(element, "is no name of a process");
  if (name.size() > kCommMaxBytes)
    return blame(element, fmt::format("is longer than the {} bytes that the kernel keeps of a name: write \"{}\"",
                                      kCommMaxBytes, name.substr(0, kCommMaxBytes)));
  const Wide comm = RuleSet::wide(name);
  out.push_back({comm, comm});
}

void Compiler::read_address(const Element& element, std::vector<Interval<Wide>>& out) {
  const std::string_view text = element.word.text;
  const size_t slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address || element.word.kind == Word::Kind::kQuoted)
    return blame(element, "is no address; names of hosts are not looked up");
  if (address->is_v4() && text.find(':') != std::string_view::npos)
    return blame(element, "is a v4-mapped address: write the IPv4 address");

  const uint32_t family_bits = address->is_v4() ? 32 : 128;
  uint32_t prefix = family_bits;
  if (slash != std::string_view::npos) {
    const auto range = read_range(text.substr(slash + 1), family_bits, "prefix length");
    if (!range || range->first != range->last)
      return blame(element, fmt::format("has no prefix length from 0 to {}", family_bits));
    prefix = range->first;
  }

  const uint32_t host_bits = family_bits - prefix;
  const Wide mask{host_bits > 64 ? UINT64_MAX >> (128 - host_bits) : 0,
                  host_bits >= 64 ? UINT64_MAX : (uint64_t{1} << host_bits) - 1};
  const Wide first = RuleSet::wide(*address);
  if ((first.high & mask.high) != 0 || (first.low & mask.low) != 0)
    return blame(element, fmt::format("has bits set behind its prefix of {}", prefix));
  const Wide last{first.high | mask.high, first.low | mask.low};

  // An IPv6 prefix around ::ffff:0:0/96, where IPv4 is kept, means no IPv4 address.
  constexpr Wide kMappedFirst{0, 0xffff'0000'0000}, kMappedLast{0, 0xffff'ffff'ffff};
  if (!address->is_v4() && first < kMappedFirst && kMappedLast <= last) {
    out.push_back({first, {0, kMappedFirst.low - 1}});
    if (kMappedLast < last) out.push_back({{0, kMappedLast.low + 1}, last});
  } else {
    out.push_back({first, last});
  }
}

void Compiler::blame(const Element& element, std::string_view wrong) {
  if (element.through == nullptr) return blame(element.word, fmt::format("'{}' {}", element.word.text, wrong));
  blame(*element.through,
        fmt::format("set '{}' holds '{}', which {}", element.through->text, element.word.text, wrong));
}

void Compiler::blame(const Word& word, std::string_view message) {
  blame(word.offset, std::max(token_at(text_, word.offset).length_bytes, 1U), std::string(message));
}

void Compiler::blame(uint32_t offset, uint32_t length_bytes, std::string message) {
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
  return Compiler(text, names).run();
}

}  // namespace hyperward::policy
