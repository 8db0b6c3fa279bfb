#include <algorithm>

#include "policy/rules.h"

namespace hyperward::policy {
namespace {

// Line `number` of `text`, counted from 1, without its end.
std::string_view line_of(std::string_view text, uint32_t number) {
  for (uint32_t line = 1; line < number; ++line) {
    const size_t newline = text.find('\n');
    if (newline == std::string_view::npos) return {};
    text.remove_prefix(newline + 1);
  }
  return text.substr(0, text.find_first_of("\r\n"));
}

}  // namespace

std::string to_string(const Diagnostic& diagnostic, std::string_view file) {
  return fmt::format("{}:{}:{}: {}", file, diagnostic.line, diagnostic.column, diagnostic.message);
}

std::string render(const Diagnostic& diagnostic, std::string_view text, std::string_view file) {
  // A window of the line, so that a line of a megabyte is no message of a megabyte.
  constexpr size_t kShownMaxBytes = 120, kBeforeMaxBytes = 80;
  const std::string_view line = line_of(text, diagnostic.line);
  const size_t column = std::min<size_t>(diagnostic.column == 0 ? 0 : diagnostic.column - 1, line.size());
  const size_t first = column > kBeforeMaxBytes ? column - kBeforeMaxBytes : 0;
  const std::string_view shown = line.substr(first, kShownMaxBytes);

  std::string excerpt, marker;
  for (size_t i = 0; i < shown.size(); ++i) {
    const char c = shown[i];
    const bool control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    excerpt += control && c != '\t' ? '?' : c;
    if (first + i < column) marker += c == '\t' ? '\t' : ' ';  // tabs stay tabs, so that the mark stands below its text
  }
  marker += '^';
  const size_t room = shown.size() - std::min(column - first + 1, shown.size());
  marker.append(std::min<size_t>(std::max(diagnostic.length_bytes, 1U) - 1, room), '~');
  return fmt::format("{}\n  {}\n  {}\n", to_string(diagnostic, file), excerpt, marker);
}

}  // namespace hyperward::policy
