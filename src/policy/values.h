// What single words mean as ports, protocols, addresses, numbers and names. Each function gives the meaning, or what
// is wrong as the end of a sentence that begins with the word: "is no port".
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "policy/syntax.h"

namespace hyperward::policy {

template <typename T>
using Meaning = std::expected<T, std::string>;

struct Range {  // both ends belong to it
  uint32_t first = 0, last = 0;
};
struct Prefix {
  IpAddress address;
  uint32_t host_bits = 0;  // those behind the prefix, all 0 in the address
};
struct Comm {
  std::string_view name;
};

[[nodiscard]] Meaning<Range> read_protocol(const Word& word);
[[nodiscard]] Meaning<Range> read_port(const Word& word);
// A number or a range of them; `what` it is the number of stands in the error.
[[nodiscard]] Meaning<Range> read_id(const Word& word, std::string_view what);
// A name from `ids`, or what read_id() takes.
[[nodiscard]] Meaning<Range> read_named_id(const Word& word, std::string_view what,
                                           const std::map<std::string, uint32_t, std::less<>>& ids);
[[nodiscard]] Meaning<Comm> read_comm(const Word& word);
[[nodiscard]] Meaning<Prefix> read_prefix(const Word& word);
// "30m", "1h30m": from kDurationMin to kDurationMax.
[[nodiscard]] Meaning<std::chrono::seconds> read_duration(const Word& word);

// Whether a word can only be meant as an address.
[[nodiscard]] bool looks_like_address(const Word& word);

}  // namespace hyperward::policy
