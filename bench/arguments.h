// The benchmarks' command lines.
#pragma once

#include <charconv>
#include <string_view>

namespace hyperward::bench {

// The number at `index`, or `otherwise` when there is none.
inline int number(int argc, char** argv, int index, int otherwise) {
  int value = otherwise;
  if (index < argc) {
    const std::string_view text(argv[index]);
    std::from_chars(text.data(), text.data() + text.size(), value);
  }
  return value;
}

}  // namespace hyperward::bench
