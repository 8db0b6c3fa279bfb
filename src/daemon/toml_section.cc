#include "daemon/toml_section.h"

#include <algorithm>
#include <charconv>

#include <fmt/ranges.h>

#include "base/time.h"

namespace hyperward::daemon {
namespace {

using std::chrono::milliseconds;

std::string place(const std::filesystem::path& file, const toml::source_region& where) {
  return fmt::format("{}:{}:{}", file.string(), where.begin.line, where.begin.column);
}

// base/time.h counts whole seconds, as rules do; detectors measure shorter times too.
Result<milliseconds> parse_milliseconds(std::string_view text) {
  if (!text.ends_with("ms")) return parse_duration(text);
  const std::string_view digits = text.substr(0, text.size() - 2);
  uint32_t count = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size())
    return fail(Code::kInvalid, "'{:.40}' is no duration: write it as 100ms or 10s", text);
  return milliseconds(count);
}

std::string duration_text(milliseconds duration) {
  if (duration % std::chrono::seconds(1) != milliseconds(0)) return fmt::format("{}ms", duration.count());
  return to_text(std::chrono::duration_cast<std::chrono::seconds>(duration));
}

// Beyond ASCII there are only strings and comments (TOML 1.0). toml++ 3.3 tells some of these characters from white
// space by a switch without a case for them, which is undefined: they do not get that far. A string over several lines
// counts as ended by the first of them.
Result<void> refuse_stray_characters(std::string_view text, const std::filesystem::path& file) {
  size_t line = 1, begin = 0;
  char quote = 0;  // of the string that we are in
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '\n') {
      ++line;
      begin = at + 1;
      quote = 0;
    } else if (quote != 0) {
      if (c == '\\' && quote == '"') ++at;
      if (c == quote) quote = 0;
    } else if (c == '#') {
      at = std::min(text.find('\n', at), text.size()) - 1;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (static_cast<unsigned char>(c) >= 0x80) {
      return fail(Code::kInvalid, "{}:{}:{}: only quoted strings and comments may have characters beyond ASCII",
                  file.string(), line, at - begin + 1);
    }
  }
  return {};
}

}  // namespace

Result<toml::table> parse_toml(std::string_view text, const std::filesystem::path& file) {
  HW_OK(refuse_stray_characters(text, file));
  toml::parse_result parsed = toml::parse(text);
  if (!parsed)
    return fail(Code::kInvalid, "{}: {}", place(file, parsed.error().source()), parsed.error().description());
  return std::move(parsed).table();
}

std::string Section::at(const toml::source_region& where) const {
  return place(*file_, where);
}

std::string Section::name_of(std::string_view key) const {
  return name_.empty() ? std::string(key) : fmt::format("{}.{}", name_, key);
}

const toml::node* Section::take_node(std::string_view key) {
  known_.emplace_back(key);
  return table_ == nullptr ? nullptr : table_->get(key);
}

Result<std::optional<int64_t>> Section::take_number(std::string_view key, int64_t min, int64_t max) {
  HW_TRY(const auto number, take<int64_t>(key, "a number"));
  if (number && (*number < min || *number > max)) return mistake(key, "must be from {} to {}", min, max);
  return number;
}

Result<std::optional<milliseconds>> Section::take_duration(std::string_view key, milliseconds min, milliseconds max) {
  HW_TRY(const auto text, take<std::string>(key, "a duration, as \"10s\""));
  if (!text) return std::nullopt;
  const auto duration = parse_milliseconds(*text);
  if (!duration) return mistake(key, "is wrong: {}", duration.error().message);
  if (*duration < min || *duration > max)
    return mistake(key, "must be from {} to {}", duration_text(min), duration_text(max));
  return *duration;
}

Result<std::vector<const toml::node*>> Section::take_list(std::string_view key) {
  const toml::node* node = take_node(key);
  std::vector<const toml::node*> values;
  if (node == nullptr) return values;
  if (!node->is_array()) return mistake(key, "must be a list");
  const toml::array& array = *node->as_array();
  if (array.size() > kMaxListed) return mistake(key, "may have {} values, and has {}", kMaxListed, array.size());
  for (const toml::node& value : array) values.push_back(&value);
  return values;
}

Result<std::optional<std::vector<std::string>>> Section::take_strings(std::string_view key) {
  HW_TRY(const auto values, take_list(key));
  if (table_ == nullptr || !table_->contains(key)) return std::nullopt;
  std::vector<std::string> strings;
  for (const toml::node* value : values) {
    const auto text = value->value_exact<std::string>();
    if (!text || text->empty())
      return fail(Code::kInvalid, "{}: {} must be a list of strings", at(value->source()), name_of(key));
    strings.push_back(*text);
  }
  return strings;
}

Result<std::optional<std::vector<uint16_t>>> Section::take_ports(std::string_view key) {
  HW_TRY(const auto values, take_list(key));
  if (table_ == nullptr || !table_->contains(key)) return std::nullopt;
  std::vector<uint16_t> ports;
  for (const toml::node* value : values) {
    const auto port = value->value_exact<int64_t>();
    if (!port || *port < 1 || *port > UINT16_MAX)
      return fail(Code::kInvalid, "{}: {} must be a list of ports, from 1 to 65535", at(value->source()), name_of(key));
    ports.push_back(static_cast<uint16_t>(*port));
  }
  return ports;
}

Result<Section> Section::take_section(std::string_view key) {
  const toml::node* node = take_node(key);
  if (node != nullptr && !node->is_table())
    return fail(Code::kInvalid, "{}: [{}] must be a table", at(node->source()), name_of(key));
  return Section(node == nullptr ? nullptr : node->as_table(), name_of(key), file_);
}

Result<std::vector<Section>> Section::take_sections(std::string_view key) {
  HW_TRY(const auto values, take_list(key));
  std::vector<Section> sections;
  for (const toml::node* value : values) {
    if (!value->is_table()) return fail(Code::kInvalid, "{}: [[{}]] must be tables", at(value->source()), name_of(key));
    sections.push_back(Section(value->as_table(), name_of(key), file_));
  }
  return sections;
}

Result<void> Section::refuse_others() const {
  if (table_ == nullptr) return {};
  for (const auto& [key, node] : *table_) {
    if (std::find(known_.begin(), known_.end(), key.str()) != known_.end()) continue;
    const std::string what =
        name_.empty() ? fmt::format("section '{}'", key.str()) : fmt::format("key '{}' in [{}]", key.str(), name_);
    return fail(Code::kInvalid, "{}: unknown {}; known are: {}", at(key.source()), what, fmt::join(known_, ", "));
  }
  return {};
}

}  // namespace hyperward::daemon
