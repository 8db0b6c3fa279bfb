#include "daemon/metrics.h"

#include <algorithm>
#include <cmath>

#include "base/result.h"
#include "guest/types.h"

namespace hyperward::daemon {
namespace {

// Colons are left to recording rules, though the format knows them.
bool is_name(std::string_view name) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !name.empty() && is_letter(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); });
}

// printable() leaves no newline, so that two characters remain that mean something inside the quotes.
std::string escaped(std::string_view value) {
  std::string text;
  for (const char c : guest::printable(value)) {
    if (c == '\\' || c == '"') text += '\\';
    text += c;
  }
  return text;
}

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

}  // namespace

void Metrics::family(std::string_view name, Type type, std::string_view help) {
  HW_CHECK(is_name(name));
  HW_CHECK((type == Type::kCounter) == name.ends_with("_total"));
  HW_CHECK(help.find_first_of("\n\\") == std::string_view::npos);
  HW_CHECK(families_.emplace(name).second);
  family_ = name;
  text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type == Type::kCounter ? "counter" : "gauge");
}

void Metrics::sample(const Labels& labels, uint64_t value) {
  write(labels, fmt::format("{}", value));
}

void Metrics::sample(const Labels& labels, double value) {
  write(labels, number(value));
}

void Metrics::write(const Labels& labels, std::string_view value) {
  HW_CHECK(!family_.empty());
  text_ += family_;
  for (size_t i = 0; i < labels.size(); ++i) {
    HW_CHECK(is_name(labels[i].first));
    text_ += fmt::format("{}{}=\"{}\"", i == 0 ? '{' : ',', labels[i].first, escaped(labels[i].second));
  }
  if (!labels.empty()) text_ += '}';
  text_ += fmt::format(" {}\n", value);
}

}  // namespace hyperward::daemon
