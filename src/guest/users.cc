#include "guest/users.h"

#include <algorithm>
#include <charconv>

namespace hyperward::guest {
namespace {

// What is before the separator, or all; `text` goes on after it.
std::string_view take(std::string_view& text, char separator) {
  const size_t end = std::min(text.find(separator), text.size());
  const std::string_view taken = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return taken;
}

}  // namespace

std::vector<User> parse_passwd(std::string_view text) {
  std::vector<User> users;
  while (!text.empty() && users.size() < kMaxUsers) {
    std::string_view line = take(text, '\n');
    const std::string_view name = take(line, ':');
    take(line, ':');
    const std::string_view number = take(line, ':');
    uint32_t uid = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), uid);
    if (error != std::errc() || end != number.data() + number.size()) continue;
    if (name.empty() || name.size() > kMaxUserNameBytes) continue;
    users.emplace_back(uid, name);
  }
  return users;
}

}  // namespace hyperward::guest
