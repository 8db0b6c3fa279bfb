// Bob Jenkins' lookup3 hash as the kernel computes it (include/linux/jhash.h), for the socket tables.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace hyperward::guest {

namespace jhash_detail {
constexpr uint32_t kInitial = 0xdeadbeef;

constexpr void mix(uint32_t& a, uint32_t& b, uint32_t& c) {
  a -= c, a ^= std::rotl(c, 4), c += b;
  b -= a, b ^= std::rotl(a, 6), a += c;
  c -= b, c ^= std::rotl(b, 8), b += a;
  a -= c, a ^= std::rotl(c, 16), c += b;
  b -= a, b ^= std::rotl(a, 19), a += c;
  c -= b, c ^= std::rotl(b, 4), b += a;
}

constexpr uint32_t finish(uint32_t a, uint32_t b, uint32_t c) {
  c ^= b, c -= std::rotl(b, 14);
  a ^= c, a -= std::rotl(c, 11);
  b ^= a, b -= std::rotl(a, 25);
  c ^= b, c -= std::rotl(b, 16);
  a ^= c, a -= std::rotl(c, 4);
  b ^= a, b -= std::rotl(a, 14);
  c ^= b, c -= std::rotl(b, 24);
  return c;
}
}  // namespace jhash_detail

constexpr uint32_t jhash_3words(uint32_t a, uint32_t b, uint32_t c, uint32_t seed) {
  const uint32_t initial = seed + jhash_detail::kInitial + (3 << 2);
  return jhash_detail::finish(a + initial, b + initial, c + initial);
}

constexpr uint32_t jhash_1word(uint32_t a, uint32_t seed) {
  const uint32_t initial = seed + jhash_detail::kInitial + (1 << 2);
  return jhash_detail::finish(a + initial, initial, initial);
}

// jhash2() of an IPv6 address, which is four words.
constexpr uint32_t jhash_4words(const std::array<uint32_t, 4>& words, uint32_t seed) {
  uint32_t a = jhash_detail::kInitial + (4 << 2) + seed;
  uint32_t b = a;
  uint32_t c = a;
  a += words[0], b += words[1], c += words[2];
  jhash_detail::mix(a, b, c);
  return jhash_detail::finish(a + words[3], b, c);
}

}  // namespace hyperward::guest
