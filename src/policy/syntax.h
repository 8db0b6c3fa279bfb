// The shape of a text of rules, before its words mean anything: statements, their conditions, and the words in them,
// each with its place. compile.cc gives them meaning.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/rules.h"

namespace hyperward::policy {

// Where a text comes from. Both are of one language; at run time a mistake says what may stand there.
enum class Source : uint8_t { kFile, kRunTime };

// A value as written. `text` points into the text that was read, without quotes and '@'.
struct Word {
  enum class Kind : uint8_t { kPlain, kQuoted, kSet };

  std::string_view text;
  uint32_t offset = 0;  // of its first character, quote or '@'
  Kind kind = Kind::kPlain;
};

// What a condition asks about. kElements are the elements of a set: asked of nothing yet.
enum class About : uint8_t {
  kElements,
  kProtocol,
  kDestination,
  kPort,
  kPeer,
  kUser,
  kUid,
  kGroup,
  kGid,
  kProcess,
  kPid,
  kUnknown,
  kAnyone,
};

struct Condition {
  About about = About::kElements;
  uint32_t offset = 0;  // of the keyword, or of the first value where there is none
  bool negated = false;
  std::vector<Word> values;
};

struct Statement {
  enum class Kind : uint8_t { kSet, kDefault, kRule };

  Kind kind = Kind::kRule;
  uint32_t begin = 0, end = 0;  // offsets, comment and margins left out
  Word name;                    // of a set
  Verdict verdict = Verdict::kAllow;
  Direction direction = Direction::kOut;
  bool audit = false, log = false;
  bool broken = false;  // a mistake was found in it: nothing but the name of a set is to be trusted
  uint32_t log_offset = 0;
  std::vector<Condition> conditions;  // of a rule; a set has one, its elements
  uint32_t for_offset = 0;            // of the keyword before the duration
  std::optional<Word> duration;
};

// A name for words.
struct Set {
  bool addresses = false;   // what it holds: addresses, or other words
  bool broken = false;      // a mistake in it was reported already
  std::vector<Word> words;  // other sets written out
};

// The sets of a text, which stays with them: names and words point into it.
struct Sets {
  std::string text;
  std::map<std::string_view, Set> by_name;
};

// What is wrong and where, as an offset.
struct Mistake {
  uint32_t offset = 0, length_bytes = 1;
  std::string message;
};

struct Syntax {
  std::vector<Statement> statements;
  std::vector<Mistake> mistakes;  // in the order of the text, at most kDiagnosticsMax
};

// Reads all of `text`, at most kTextMaxBytes of it. After a mistake it goes on with the next line, or, when that
// stands inside braces, with the next line that begins like a statement.
[[nodiscard]] Syntax parse(std::string_view text, Source source);

// A token of a text, for messages.
struct Token {
  uint32_t length_bytes = 0;  // 0 at the end of a line
  std::string shown;          // "'prot'", or "the end of the line"
};
[[nodiscard]] Token token_at(std::string_view text, uint32_t offset);

}  // namespace hyperward::policy
