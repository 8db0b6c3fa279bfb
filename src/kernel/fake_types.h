// BTF for tests, type by type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hyperward::kernel {

class FakeTypes {
 public:
  struct Member {
    std::string name;  // empty: anonymous
    uint32_t type = 0;
    uint32_t bit_offset = 0;
    uint32_t bit_size = 0;  // 0: no bit field
  };
  struct Enumerator {
    std::string name;
    int64_t value = 0;
  };

  // Each gives the new type's id.
  uint32_t integer(std::string_view name, uint32_t size_bytes) { return add(name, kInt, 0, size_bytes, {0}); }
  uint32_t pointer(uint32_t type) { return add("", kPtr, 0, type, {}); }
  uint32_t array(uint32_t type, uint32_t count) { return add("", kArray, 0, 0, {type, 1, count}); }
  uint32_t alias(std::string_view name, uint32_t type) { return add(name, kTypedef, 0, type, {}); }
  uint32_t constant(uint32_t type) { return add("", kConst, 0, type, {}); }
  uint32_t structure(std::string_view name, uint32_t size_bytes, const std::vector<Member>& members) {
    return aggregate(kStruct, name, size_bytes, members);
  }
  uint32_t union_of(std::string_view name, uint32_t size_bytes, const std::vector<Member>& members) {
    return aggregate(kUnion, name, size_bytes, members);
  }
  uint32_t enumeration(std::string_view name, const std::vector<Enumerator>& values, bool is_signed = false) {
    std::vector<uint32_t> words;
    for (const Enumerator& value : values) {
      words.push_back(string(value.name));
      words.push_back(static_cast<uint32_t>(value.value));
    }
    return add(name, kEnum | (is_signed ? kKindFlag : 0), values.size(), 4, words);
  }
  uint32_t enumeration64(std::string_view name, const std::vector<Enumerator>& values) {
    std::vector<uint32_t> words;
    for (const Enumerator& value : values) {
      words.push_back(string(value.name));
      words.push_back(static_cast<uint32_t>(value.value));
      words.push_back(static_cast<uint32_t>(static_cast<uint64_t>(value.value) >> 32));
    }
    return add(name, kEnum64, values.size(), 8, words);
  }
  // Anything at all, for tests of what should be refused.
  uint32_t add(std::string_view name, uint32_t kind, size_t count, uint32_t size_or_type,
               const std::vector<uint32_t>& content) {
    words_.push_back(string(name));
    words_.push_back((kind & kKindFlag) | (kind & 0x1f) << 24 | static_cast<uint32_t>(count));
    words_.push_back(size_or_type);
    words_.insert(words_.end(), content.begin(), content.end());
    return ++last_id_;
  }
  [[nodiscard]] uint32_t next_id() const { return last_id_ + 1; }

  [[nodiscard]] std::vector<std::byte> build() const {
    const auto types_size = static_cast<uint32_t>(words_.size() * sizeof(uint32_t));
    const uint32_t header[] = {0x0001eb9f, 24, 0, types_size, types_size, static_cast<uint32_t>(strings_.size())};
    std::vector<std::byte> bytes;
    const auto append = [&](std::span<const std::byte> part) { bytes.insert(bytes.end(), part.begin(), part.end()); };
    append(std::as_bytes(std::span(header)));
    append(std::as_bytes(std::span(words_)));
    append(std::as_bytes(std::span(strings_)));
    return bytes;
  }

  static constexpr uint32_t kKindFlag = uint32_t{1} << 31;
  static constexpr uint32_t kInt = 1, kPtr = 2, kArray = 3, kStruct = 4, kUnion = 5, kEnum = 6, kTypedef = 8,
                            kConst = 10, kEnum64 = 19;

 private:
  uint32_t string(std::string_view text) {
    if (text.empty()) return 0;
    const auto offset = static_cast<uint32_t>(strings_.size());
    strings_.append(text);
    strings_.push_back('\0');
    return offset;
  }

  uint32_t aggregate(uint32_t kind, std::string_view name, uint32_t size_bytes, const std::vector<Member>& members) {
    bool has_bit_fields = false;
    for (const Member& member : members) has_bit_fields = has_bit_fields || member.bit_size != 0;
    std::vector<uint32_t> words;
    for (const Member& member : members) {
      words.push_back(string(member.name));
      words.push_back(member.type);
      words.push_back(member.bit_offset | member.bit_size << 24);
    }
    return add(name, kind | (has_bit_fields ? kKindFlag : 0), members.size(), size_bytes, words);
  }

  std::vector<uint32_t> words_;
  std::string strings_ = std::string(1, '\0');
  uint32_t last_id_ = 0;
};

}  // namespace hyperward::kernel
