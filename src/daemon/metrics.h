// What Prometheus scrapes: text format 0.0.4.
//
// Names and help are ours: a wrong one fails HW_CHECK. Labels' values may be anyone's: what is not printable is shown
// as \xNN. Base units only: seconds, bytes.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hyperward::daemon {

class Metrics {
 public:
  enum class Type : uint8_t { kCounter, kGauge };
  using Labels = std::vector<std::pair<std::string_view, std::string_view>>;

  // Begins a family; the samples that follow are its own. Once per name, and a counter's name ends in _total.
  void family(std::string_view name, Type type, std::string_view help);
  void sample(const Labels& labels, uint64_t value);
  void sample(const Labels& labels, double value);

  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  void write(const Labels& labels, std::string_view value);

  std::string text_;
  std::string family_;
  std::set<std::string, std::less<>> families_;
};

}  // namespace hyperward::daemon
