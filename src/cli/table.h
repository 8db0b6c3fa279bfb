// Tables for people.
#pragma once

#include <string>
#include <vector>

namespace hyperward::cli {

// Columns as wide as their widest cell, the last one free; numbers to the right where the title starts with '>'.
class Table {
 public:
  explicit Table(std::vector<std::string> titles);
  void add(std::vector<std::string> cells);
  [[nodiscard]] std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
  std::vector<bool> right_aligned_;
};

}  // namespace hyperward::cli
