#include "cli/table.h"

#include <algorithm>

#include "base/result.h"

namespace hyperward::cli {

Table::Table(std::vector<std::string> titles) {
  for (std::string& title : titles) {
    right_aligned_.push_back(title.starts_with('>'));
    if (right_aligned_.back()) title.erase(0, 1);
  }
  rows_.push_back(std::move(titles));
}

void Table::add(std::vector<std::string> cells) {
  HW_CHECK(cells.size() == right_aligned_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::text() const {
  std::vector<size_t> widths(right_aligned_.size(), 0);
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      const bool last = i + 1 == row.size();
      if (right_aligned_[i]) {
        text += fmt::format("{:>{}}", row[i], widths[i]);
      } else {
        text += last ? row[i] : fmt::format("{:<{}}", row[i], widths[i]);
      }
      text += last ? '\n' : ' ';
    }
  }
  return text;
}

}  // namespace hyperward::cli
