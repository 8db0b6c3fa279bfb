// The kernel's types, from its own description of them: BTF (Documentation/bpf/btf.rst).
//
// The blob is the guest's, so it is hostile: parse() checks every record's bounds once; look-ups after that are bounded
// in depth and steps, whatever cycles the type graph has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hyperward::kernel {

struct Field {
  uint32_t offset_bytes = 0;
  uint32_t size_bytes = 0;  // of a bit field: of the bytes that hold it
  uint8_t bit_offset = 0;   // of a bit field: from the lowest bit at offset_bytes
  uint8_t bit_size = 0;     // 0: no bit field
};

class Types {
 public:
  // kInvalid for what is no BTF, is cut off, or contradicts itself.
  [[nodiscard]] static Result<Types> parse(std::vector<std::byte> btf);

  // A dotted path through embedded members. Anonymous structs and unions are looked through, typedefs and qualifiers
  // too; pointers are not followed: field("sock", "__sk_common.skc_dport"). `type` is a struct, a union, or a typedef
  // of one.
  [[nodiscard]] Result<Field> field(std::string_view type, std::string_view path) const;
  [[nodiscard]] bool has_field(std::string_view type, std::string_view path) const;
  [[nodiscard]] bool has_type(std::string_view type) const;
  [[nodiscard]] Result<uint32_t> size_of(std::string_view type) const;
  [[nodiscard]] Result<int64_t> enumerator(std::string_view name) const;  // "TCP_LISTEN", of whichever enum has it

 private:
  friend class TypesParser;

  struct Record;  // one type: see types.cc

  Types() = default;

  std::vector<std::byte> blob_;
  std::vector<uint32_t> offsets_;         // of type id in blob_; [0] is void
  std::vector<uint32_t> enums_;           // ids
  std::vector<uint32_t> buckets_;         // named structs, unions, enums, typedefs: first id by hash of the name
  std::vector<uint32_t> next_in_bucket_;  // by id
  uint32_t strings_offset_ = 0;
  uint32_t strings_size_ = 0;
};

}  // namespace hyperward::kernel
