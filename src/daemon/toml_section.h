// TOML files, read key by key so that every mistake names its place and nothing is passed over.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

namespace hyperward::daemon {

[[nodiscard]] Result<toml::table> parse_toml(std::string_view text, const std::filesystem::path& file);

// One table of the file: what is asked for is taken, what is left over in the end is a mistake. It refers to the parsed
// file, and to the path, which must outlive it. What take_... gives is nothing when the key is not there.
class Section {
 public:
  static constexpr size_t kMaxListed = 1024;  // values in a list, tables in an array of them

  Section(const toml::table& root, const std::filesystem::path& file) : table_(&root), file_(&file) {}

  template <typename T>
  [[nodiscard]] Result<std::optional<T>> take(std::string_view key, std::string_view expected) {
    const toml::node* node = take_node(key);
    if (node == nullptr) return std::nullopt;
    std::optional<T> value = node->value_exact<T>();
    if (!value) return mistake(key, "must be {}", expected);
    return value;
  }
  [[nodiscard]] Result<std::optional<int64_t>> take_number(std::string_view key, int64_t min, int64_t max);
  // "100ms", or what parse_duration (base/time.h) reads.
  [[nodiscard]] Result<std::optional<std::chrono::milliseconds>> take_duration(std::string_view key,
                                                                               std::chrono::milliseconds min,
                                                                               std::chrono::milliseconds max);
  [[nodiscard]] Result<std::optional<std::vector<std::string>>> take_strings(std::string_view key);
  [[nodiscard]] Result<std::optional<std::vector<uint16_t>>> take_ports(std::string_view key);
  // The values of a list, for whoever reads them himself; empty when the key is not there.
  [[nodiscard]] Result<std::vector<const toml::node*>> take_list(std::string_view key);

  [[nodiscard]] Result<Section> take_section(std::string_view key);                // an empty one when there is none
  [[nodiscard]] Result<std::vector<Section>> take_sections(std::string_view key);  // of an array: [[key]]

  [[nodiscard]] Result<void> refuse_others() const;

  [[nodiscard]] bool exists() const { return table_ != nullptr; }
  [[nodiscard]] const toml::table* table() const { return table_; }  // nullptr: it is not there
  [[nodiscard]] std::string at(const toml::source_region& where) const;

  // "web.toml:7:11: guard.tap must be ...", about a key that is there.
  template <typename... Args>
  [[nodiscard]] std::unexpected<Error> mistake(std::string_view key, fmt::format_string<Args...> text,
                                               Args&&... args) const {
    return fail(Code::kInvalid, "{}: {} {}", at(table_->get(key)->source()), name_of(key),
                fmt::format(text, std::forward<Args>(args)...));
  }
  // "web.toml:7:1: [guard] needs a tap", about one that is not.
  template <typename... Args>
  [[nodiscard]] std::unexpected<Error> lacks(fmt::format_string<Args...> text, Args&&... args) const {
    const std::string where = exists() ? at(table_->source()) : file_->string();
    return fail(Code::kInvalid, "{}: [{}] needs {}", where, name_, fmt::format(text, std::forward<Args>(args)...));
  }

 private:
  Section(const toml::table* table, std::string name, const std::filesystem::path* file)
      : table_(table), name_(std::move(name)), file_(file) {}

  [[nodiscard]] const toml::node* take_node(std::string_view key);
  [[nodiscard]] std::string name_of(std::string_view key) const;  // "guard.tap"

  const toml::table* table_;
  std::string name_;  // empty: the file itself
  const std::filesystem::path* file_;
  std::vector<std::string> known_;
};

}  // namespace hyperward::daemon
