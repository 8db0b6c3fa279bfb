// Any bytes as the kernel's types, and look-ups in what parses.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/types.h"

using namespace hyperward;  // NOLINT(google-build-using-namespace)

namespace {

constexpr uint32_t kMaxSize = 1 << 30;

void check(const Result<kernel::Field>& field) {
  if (!field) {
    HW_CHECK(field.error().code == Code::kNotFound && !field.error().message.empty());
    return;
  }
  HW_CHECK(field->size_bytes <= kMaxSize && field->offset_bytes <= kMaxSize && field->bit_offset < 8);
}

// What the blob itself calls its types and members: the names that find anything.
std::vector<std::string_view> words_of(std::string_view text) {
  constexpr size_t kMaxWords = 32;
  std::vector<std::string_view> words;
  while (!text.empty() && words.size() < kMaxWords) {
    const std::string_view word = text.substr(0, text.find('\0'));
    if (!word.empty() && word.size() < 20) words.push_back(word);
    text.remove_prefix(std::min(text.size(), word.size() + 1));
  }
  return words;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto blob = std::as_bytes(std::span(data, size));
  const auto types = kernel::Types::parse({blob.begin(), blob.end()});
  if (!types) {
    HW_CHECK(!types.error().message.empty());
    return 0;
  }
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::vector<std::string_view> words = words_of(text.substr(text.size() - std::min<size_t>(text.size(), 300)));
  for (const std::string_view type : words) {
    const auto type_size = types->size_of(type);
    HW_CHECK(!type_size || (*type_size <= kMaxSize && types->has_type(type)));
    static_cast<void>(types->enumerator(type));
    for (const std::string_view member : words) {
      const auto field = types->field(type, member);
      check(field);
      HW_CHECK(types->has_field(type, member) == field.has_value());
      if (field) check(types->field(type, std::string(member) + "." + std::string(words.back())));
    }
  }
  return 0;
}
