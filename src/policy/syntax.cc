// Theory of operation
//
// The grammar is a PEG (PEGTL 3). It commits at each keyword: behind `port` there must be ports, and where they are
// missing, must<> raises what was expected right there; no alternative is tried over again, so no action ever has to
// be undone. Nothing in it recurses: its stack does not grow with the text.
//
// One statement is parsed at a time, so that a mistake costs that statement alone. PEGTL tells of a mistake by an
// exception; it is caught in parse() and goes no further.
#include "policy/syntax.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <tao/pegtl.hpp>

namespace hyperward::policy {
namespace {

// --- The grammar ---

namespace grammar {
using namespace tao::pegtl;  // NOLINT(google-build-using-namespace): the grammar is written in its words

struct word_char : sor<alnum, one<'_', '.', ':', '/', '-', '+', '*', '$', '%'>> {};
template <typename Text>
struct keyword : seq<Text, not_at<word_char>> {};
struct gap : star<blank> {};
// A keyword and what must stand behind it.
template <typename Keyword, typename... Rest>
struct committed : seq<Keyword, gap, must<Rest>...> {};

struct kw_set : keyword<TAO_PEGTL_STRING("set")> {};
struct kw_default : keyword<TAO_PEGTL_STRING("default")> {};
struct kw_allow : keyword<TAO_PEGTL_STRING("allow")> {};
struct kw_deny : keyword<TAO_PEGTL_STRING("deny")> {};
struct kw_audit : keyword<TAO_PEGTL_STRING("audit")> {};
struct kw_log : keyword<TAO_PEGTL_STRING("log")> {};
struct kw_in : keyword<TAO_PEGTL_STRING("in")> {};
struct kw_out : keyword<TAO_PEGTL_STRING("out")> {};
struct kw_from : keyword<TAO_PEGTL_STRING("from")> {};
struct kw_to : keyword<TAO_PEGTL_STRING("to")> {};
struct kw_peer : keyword<TAO_PEGTL_STRING("peer")> {};
struct kw_port : keyword<TAO_PEGTL_STRING("port")> {};
struct kw_not : keyword<TAO_PEGTL_STRING("not")> {};
struct kw_user : keyword<TAO_PEGTL_STRING("user")> {};
struct kw_uid : keyword<TAO_PEGTL_STRING("uid")> {};
struct kw_group : keyword<TAO_PEGTL_STRING("group")> {};
struct kw_gid : keyword<TAO_PEGTL_STRING("gid")> {};
struct kw_process : keyword<TAO_PEGTL_STRING("process")> {};
struct kw_pid : keyword<TAO_PEGTL_STRING("pid")> {};
struct kw_unknown : keyword<TAO_PEGTL_STRING("unknown")> {};
struct kw_any : keyword<TAO_PEGTL_STRING("any")> {};
struct kw_for : keyword<TAO_PEGTL_STRING("for")> {};
// None of these is a value, unless quoted.
struct reserved
    : sor<kw_set, kw_default, kw_allow, kw_deny, kw_audit, kw_log, kw_in, kw_out, kw_from, kw_to, kw_peer, kw_port,
          kw_not, kw_user, kw_uid, kw_group, kw_gid, kw_process, kw_pid, kw_unknown, kw_any, kw_for> {};

struct comment : seq<one<'#'>, until<at<eolf>>> {};
struct wide_gap : star<sor<space, comment>> {};  // within braces, where a list may go over several lines

struct quoted_text : star<not_one<'"', '\n', '\r'>> {};
struct quote_end : one<'"'> {};
struct quoted : seq<one<'"'>, quoted_text, must<quote_end>> {};
struct set_name : plus<sor<alnum, one<'_', '-'>>> {};
struct set_reference_name : set_name {};
struct set_reference : seq<one<'@'>, must<set_reference_name>> {};
struct plain : seq<not_at<reserved>, plus<word_char>> {};
struct value : sor<set_reference, quoted, plain> {};

struct element : value {};
struct list_end : one<'}'> {};
struct list : seq<one<'{'>, wide_gap, must<element>, wide_gap,
                  star<one<','>, wide_gap, sor<at<one<'}'>>, must<element>>, wide_gap>, must<list_end>> {};
struct values : sor<list, value> {};

// An address has a '.', ':' or '/' in it; protocols have none.
struct address_ahead
    : at<sor<one<'@'>, kw_not,
             seq<opt<one<'{'>, wide_gap>, sor<one<'@'>, seq<star<sor<alnum, one<'_', '-'>>>, one<'.', ':', '/'>>>>>> {};
struct address_values : values {};
struct negation : kw_not {};
struct addresses : seq<opt<negation, gap>, must<address_values>> {};

struct protocol_any : kw_any {};
struct protocol_values : sor<protocol_any, values> {};
struct port_values : values {};
struct begin_protocol : success {};
struct begin_destination : success {};
struct protocols : seq<begin_protocol, must<protocol_values>> {};
struct destination : seq<begin_destination, addresses> {};

struct user_values : values {};
struct uid_values : values {};
struct group_values : values {};
struct gid_values : values {};
struct process_values : values {};
struct pid_values : values {};
struct selector
    : sor<committed<kw_user, user_values>, committed<kw_uid, uid_values>, committed<kw_group, group_values>,
          committed<kw_gid, gid_values>, committed<kw_process, process_values>, committed<kw_pid, pid_values>> {};
struct anyone : kw_any {};
struct nobody : kw_unknown {};
struct owners : sor<nobody, anyone, seq<selector, star<gap, selector>>> {};

struct target : sor<seq<address_ahead, destination>, seq<protocols, opt<gap, address_ahead, destination>>> {};
struct clause_from : committed<kw_from, owners> {};
struct clause_to : seq<committed<kw_to, target>, opt<gap, committed<kw_port, port_values>>> {};
struct clause_peer : seq<kw_peer, gap, addresses> {};
struct clause : sor<clause_from, clause_to, clause_peer> {};

struct first_clause : clause {};

struct duration : seq<not_at<reserved>, plus<word_char>> {};
struct clause_for : committed<kw_for, duration> {};

struct log_flag : kw_log {};
struct direction : sor<kw_in, kw_out> {};
struct action : sor<kw_allow, kw_deny> {};
struct rule : seq<sor<committed<kw_audit, action>, action>, opt<gap, log_flag>, opt<gap, direction>, gap,
                  must<first_clause>, star<gap, clause>, opt<gap, clause_for>> {};
struct assign : one<'='> {};
struct set_values : list {};
struct set : seq<committed<kw_set, set_name>, gap, must<assign>, gap, must<set_values>> {};
struct default_action : seq<committed<kw_default, action>, opt<gap, log_flag>, opt<gap, direction>> {};

struct statement : sor<set, default_action, rule> {};
struct statement_end : sor<at<one<'#'>>, at<eolf>> {};
struct line : seq<gap, sor<statement_end, seq<must<statement>, gap, must<statement_end>>>, opt<comment>> {};
}  // namespace grammar

// --- What a mistake says was expected ---

constexpr std::string_view kEndOfLine = "the end of the line";
constexpr std::string_view kAddressExpected = "an address, a list or a set";
constexpr std::string_view kIdExpected = "a number, a range, a list or a set";

template <typename Rule>
constexpr std::string_view expected{};
template <>
constexpr std::string_view expected<grammar::quote_end> = "a closing '\"' on the same line";
template <>
constexpr std::string_view expected<grammar::set_reference_name> = "the name of a set";
template <>
constexpr std::string_view expected<grammar::set_name> = "the name of a set";
template <>
constexpr std::string_view expected<grammar::element> = "a value";
template <>
constexpr std::string_view expected<grammar::list_end> = "',' or '}'";
template <>
constexpr std::string_view expected<grammar::assign> = "'='";
template <>
constexpr std::string_view expected<grammar::set_values> = "a list in braces";
template <>
constexpr std::string_view expected<grammar::action> = "'allow' or 'deny'";
template <>
constexpr std::string_view expected<grammar::address_values> = kAddressExpected;
template <>
constexpr std::string_view expected<grammar::protocol_values> = "a protocol or an address";
template <>
constexpr std::string_view expected<grammar::port_values> = "a port, a range, a list or a set";
template <>
constexpr std::string_view expected<grammar::target> = kAddressExpected;
template <>
constexpr std::string_view expected<grammar::owners> =
    "'user', 'uid', 'group', 'gid', 'process', 'pid', 'unknown' or 'any'";
template <>
constexpr std::string_view expected<grammar::user_values> = "a user's name, a list or a set";
template <>
constexpr std::string_view expected<grammar::group_values> = "a group's name, a list or a set";
template <>
constexpr std::string_view expected<grammar::process_values> = "a process's name, a list or a set";
template <>
constexpr std::string_view expected<grammar::uid_values> = kIdExpected;
template <>
constexpr std::string_view expected<grammar::gid_values> = kIdExpected;
template <>
constexpr std::string_view expected<grammar::pid_values> = kIdExpected;
template <>
constexpr std::string_view expected<grammar::duration> = "a duration like 30m or 1h30m";

// --- Actions: they fill one statement ---

struct Reader {
  std::string_view text;
  Source source;
  Statement statement = {};
  bool direction_given = false;

  [[nodiscard]] uint32_t offset_of(const char* place) const { return static_cast<uint32_t>(place - text.data()); }
  void begin(About about, uint32_t offset) { statement.conditions.push_back({about, offset, false, {}}); }
};

// "'a', 'b' or 'c'"
std::string alternatives(const std::vector<std::string_view>& of) {
  std::string text;
  for (size_t i = 0; i < of.size(); ++i) {
    if (i > 0) text += i + 1 == of.size() ? " or " : ", ";
    text += of[i];
  }
  return text;
}

std::string expected_statement(const Reader& reader) {
  if (reader.source == Source::kRunTime) return alternatives({"'allow'", "'deny'", "'audit'"});
  return alternatives({"'set'", "'default'", "'allow'", "'deny'", "'audit'"});
}

// What may follow the action of a rule.
std::string expected_first(const Reader& reader) {
  std::vector<std::string_view> may;
  if (!reader.direction_given && !reader.statement.log) may.emplace_back("'log'");
  if (!reader.direction_given) may.insert(may.end(), {"'in'", "'out'"});
  may.insert(may.end(), {"'from'", "'to'"});
  if (reader.statement.direction == Direction::kIn) may.emplace_back("'peer'");
  return alternatives(may);
}

// What may follow a statement that could also have ended.
std::string expected_behind(const Reader& reader) {
  const Statement& statement = reader.statement;
  if (statement.kind != Statement::Kind::kRule || statement.duration) return std::string(kEndOfLine);
  const auto has = [&](auto is) {
    return std::any_of(statement.conditions.begin(), statement.conditions.end(),
                       [&](const Condition& condition) { return is(condition.about); });
  };
  const auto is_owner = [](About about) { return about >= About::kUser; };
  const auto is_to = [](About about) { return about == About::kProtocol || about == About::kDestination; };
  const About last = statement.conditions.back().about;

  std::vector<std::string_view> may;
  if (last == About::kProtocol) may.emplace_back("an address");
  if (is_to(last)) may.emplace_back("'port'");
  if (last >= About::kUser && last <= About::kPid) may.emplace_back("another condition on the owner");
  if (!has(is_owner)) may.emplace_back("'from'");
  if (!has(is_to)) may.emplace_back("'to'");
  if (statement.direction == Direction::kIn && !has([](About about) { return about == About::kPeer; }))
    may.emplace_back("'peer'");
  if (reader.source == Source::kRunTime) may.emplace_back("'for'");
  may.push_back(kEndOfLine);
  return alternatives(may);
}

struct Raised {
  const char* place;
  std::string expected;
};

template <typename Rule>
struct Control : tao::pegtl::normal<Rule> {
  template <typename Input>
  [[noreturn]] static void raise(const Input& in, const Reader& reader) {
    if constexpr (std::is_same_v<Rule, grammar::statement_end>) {
      throw Raised{in.current(), expected_behind(reader)};
    } else if constexpr (std::is_same_v<Rule, grammar::statement>) {
      throw Raised{in.current(), expected_statement(reader)};
    } else if constexpr (std::is_same_v<Rule, grammar::first_clause>) {
      throw Raised{in.current(), expected_first(reader)};
    } else {
      static_assert(!expected<Rule>.empty(), "a rule that must match says what was expected");
      throw Raised{in.current(), std::string(expected<Rule>)};
    }
  }
};

template <typename Rule>
struct Action {};

// Actions for keywords that only set something.
#define HW_ON(rule, ...)                                                     \
  template <>                                                                \
  struct Action<grammar::rule> {                                             \
    template <typename Input>                                                \
    static void apply([[maybe_unused]] const Input& in, Reader& reader) {    \
      [[maybe_unused]] const uint32_t offset = reader.offset_of(in.begin()); \
      __VA_ARGS__;                                                           \
    }                                                                        \
  }

HW_ON(kw_set, reader.statement.kind = Statement::Kind::kSet);
HW_ON(kw_default, reader.statement.kind = Statement::Kind::kDefault);
HW_ON(kw_audit, reader.statement.audit = true);
HW_ON(kw_deny, reader.statement.verdict = Verdict::kDeny);
HW_ON(kw_in, reader.statement.direction = Direction::kIn);
HW_ON(direction, reader.direction_given = true);
HW_ON(kw_for, reader.statement.for_offset = offset);
HW_ON(log_flag, reader.statement.log = true; reader.statement.log_offset = offset);
HW_ON(negation, reader.statement.conditions.back().negated = true);
HW_ON(assign, reader.begin(About::kElements, offset));
HW_ON(begin_protocol, reader.begin(About::kProtocol, offset));
HW_ON(begin_destination, reader.begin(About::kDestination, offset));
HW_ON(kw_peer, reader.begin(About::kPeer, offset));
HW_ON(kw_port, reader.begin(About::kPort, offset));
HW_ON(kw_user, reader.begin(About::kUser, offset));
HW_ON(kw_uid, reader.begin(About::kUid, offset));
HW_ON(kw_group, reader.begin(About::kGroup, offset));
HW_ON(kw_gid, reader.begin(About::kGid, offset));
HW_ON(kw_process, reader.begin(About::kProcess, offset));
HW_ON(kw_pid, reader.begin(About::kPid, offset));
HW_ON(anyone, reader.begin(About::kAnyone, offset));
HW_ON(nobody, reader.begin(About::kUnknown, offset));
#undef HW_ON

template <Word::Kind kKind, uint32_t kSignBytes>  // the sign is the quote or the '@' in front
struct AddValue {
  template <typename Input>
  static void apply(const Input& in, Reader& reader) {
    reader.statement.conditions.back().values.push_back(
        {in.string_view(), reader.offset_of(in.begin()) - kSignBytes, kKind});
  }
};
template <>
struct Action<grammar::plain> : AddValue<Word::Kind::kPlain, 0> {};
template <>
struct Action<grammar::protocol_any> : AddValue<Word::Kind::kPlain, 0> {};
template <>
struct Action<grammar::quoted_text> : AddValue<Word::Kind::kQuoted, 1> {};
template <>
struct Action<grammar::set_reference_name> : AddValue<Word::Kind::kSet, 1> {};

template <>
struct Action<grammar::set_name> {
  template <typename Input>
  static void apply(const Input& in, Reader& reader) {
    reader.statement.name = {in.string_view(), reader.offset_of(in.begin()), Word::Kind::kPlain};
  }
};
template <>
struct Action<grammar::duration> {
  template <typename Input>
  static void apply(const Input& in, Reader& reader) {
    reader.statement.duration = {in.string_view(), reader.offset_of(in.begin()), Word::Kind::kPlain};
  }
};
template <>
struct Action<grammar::statement> {
  template <typename Input>
  static void apply(const Input& in, Reader& reader) {
    reader.statement.begin = reader.offset_of(in.begin());
    reader.statement.end = reader.offset_of(in.end());
  }
};

// --- Mistakes in words ---

bool is_word_char(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
         std::string_view("_.:/-+*$%").find(c) != std::string_view::npos;
}

// Looks no further than the token goes, so that a walk over the tokens of a line is linear in the line.
uint32_t token_length(std::string_view text, uint32_t offset) {
  const std::string_view rest = text.substr(offset);
  if (rest.empty() || rest[0] == '\r' || rest[0] == '\n' || rest[0] == '#') return 0;
  if (rest[0] == '"') {
    const size_t end = std::min(rest.find_first_of("\"\r\n", 1), rest.size());
    return static_cast<uint32_t>(end < rest.size() && rest[end] == '"' ? end + 1 : end);
  }
  const auto run = [&](auto belongs) {
    const auto* const end = std::find_if_not(rest.begin() + 1, rest.end(), belongs);
    return static_cast<uint32_t>(end - rest.begin());
  };
  if (rest[0] == '@' || is_word_char(rest[0])) return run(is_word_char);
  if (static_cast<unsigned char>(rest[0]) >= 0x80)
    return run([](char c) { return static_cast<unsigned char>(c) >= 0x80; });
  return 1;
}

// The text in quotes, cut to a line's worth, with what no terminal should get written out.
std::string quoted_for_reading(std::string_view token) {
  constexpr size_t kShownMaxBytes = 40;
  std::string shown = "'";
  for (const char c : token.substr(0, kShownMaxBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f) {
      shown += fmt::format("\\x{:02x}", byte);
    } else {
      shown += c;
    }
  }
  return shown + (token.size() > kShownMaxBytes ? "...'" : "'");
}

uint32_t next_line(std::string_view text, uint32_t offset) {
  const size_t newline = text.find('\n', offset);
  return static_cast<uint32_t>(newline == std::string_view::npos ? text.size() : newline + 1);
}

uint32_t line_begin_of(std::string_view text, uint32_t offset) {
  const size_t newline = text.substr(0, offset).rfind('\n');
  return newline == std::string_view::npos ? 0 : static_cast<uint32_t>(newline + 1);
}

// The token in front of `offset` in a statement that begins at `begin`.
std::optional<std::string> token_before(std::string_view text, uint32_t begin, uint32_t offset) {
  std::string_view last;
  for (uint32_t at = begin; at < offset;) {
    const uint32_t length = token_length(text, at);
    if (length == 0) {
      at = next_line(text, at);
    } else {
      if (text[at] != ' ' && text[at] != '\t') last = text.substr(at, std::min(length, offset - at));
      at += length;
    }
  }
  return last.empty() ? std::nullopt : std::optional(quoted_for_reading(last));
}

Mistake mistake_of(std::string_view text, uint32_t statement_begin, const Raised& raised) {
  const auto offset = static_cast<uint32_t>(raised.place - text.data());
  const Token found = token_at(text, offset);
  const auto before = token_before(text, statement_begin, offset);
  const std::string after = before ? fmt::format(" after {}", *before) : "";
  return {offset, std::max(found.length_bytes, 1U),
          fmt::format("expected {}{}, found {}", raised.expected, after, found.shown)};
}

// --- Going on after a mistake ---

bool begins_like_a_statement(std::string_view rest) {
  constexpr std::array<std::string_view, 5> kStarts{"set", "default", "allow", "deny", "audit"};
  rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size()));
  return std::any_of(kStarts.begin(), kStarts.end(), [&](std::string_view start) {
    return rest.starts_with(start) && (rest.size() == start.size() || !is_word_char(rest[start.size()]));
  });
}

// Whether a brace is open at the end of text[begin, end), of which `begin` lies outside of braces.
bool open_brace(std::string_view text, uint32_t begin, uint32_t end, bool open) {
  for (uint32_t at = begin; at < end;) {
    if (text[at] == '#') {
      at = next_line(text, at);
      continue;
    }
    if (text[at] == '{') open = true;
    if (text[at] == '}') open = false;
    at += std::max(token_length(text, at), 1U);
  }
  return open;
}

uint32_t resume_after(std::string_view text, uint32_t statement_begin, uint32_t mistake) {
  // A list that was never closed runs into the next statement: that one is read again, as what it is.
  const uint32_t line_begin = line_begin_of(text, mistake);
  if (line_begin > statement_begin && begins_like_a_statement(text.substr(line_begin))) return line_begin;

  uint32_t at = next_line(text, mistake);
  bool open = open_brace(text, statement_begin, at, false);
  while (open && at < text.size() && !begins_like_a_statement(text.substr(at))) {
    const uint32_t next = next_line(text, at);
    open = open_brace(text, at, next, true);
    at = next;
  }
  return at;
}

}  // namespace

Token token_at(std::string_view text, uint32_t offset) {
  const uint32_t length = token_length(text, offset);
  if (length == 0) return {0, std::string(kEndOfLine)};
  return {length, quoted_for_reading(text.substr(offset, length))};
}

Syntax parse(std::string_view text, Source source) {
  namespace pegtl = tao::pegtl;
  Syntax syntax;
  size_t rules = 0, sets = 0;
  const auto too_many = [&](const Statement& statement, std::string_view what, size_t limit) {
    syntax.mistakes.push_back({statement.begin, 1, fmt::format("more than {} {}", limit, what)});
  };

  uint32_t at = 0;
  while (at < text.size() && syntax.mistakes.size() < kDiagnosticsMax) {
    Reader reader{.text = text, .source = source};
    pegtl::memory_input<pegtl::tracking_mode::lazy> input(text.data() + at, text.data() + text.size(), "rules");
    try {
      HW_CHECK((pegtl::parse<grammar::line, Action, Control>(input, reader)));
    } catch (const Raised& raised) {
      syntax.mistakes.push_back(mistake_of(text, at, raised));
      at = resume_after(text, at, reader.offset_of(raised.place));
      reader.statement.broken = true;
      syntax.statements.push_back(std::move(reader.statement));
      continue;
    }
    at = next_line(text, reader.offset_of(input.current()));

    const Statement& statement = reader.statement;
    if (statement.begin == statement.end) continue;  // an empty line
    if (statement.kind == Statement::Kind::kRule && ++rules > kRulesMax) {
      too_many(statement, "rules", kRulesMax);
      break;
    }
    if (statement.kind == Statement::Kind::kSet && ++sets > kSetsMax) {
      too_many(statement, "sets", kSetsMax);
      break;
    }
    syntax.statements.push_back(std::move(reader.statement));
  }
  return syntax;
}

}  // namespace hyperward::policy
