// The guest's user names, as its /etc/passwd has them. The guest's root can write there what he likes: names are for
// people to read, rules go by number or by what the operator maps.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hyperward::guest {

using User = std::pair<uint32_t, std::string>;

constexpr size_t kMaxUsers = 1 << 16;
constexpr size_t kMaxUserNameBytes = 256;  // LOGIN_NAME_MAX

// One User for each line "name:password:uid:..."; others are left out. Several names may share a number.
[[nodiscard]] std::vector<User> parse_passwd(std::string_view text);

}  // namespace hyperward::guest
