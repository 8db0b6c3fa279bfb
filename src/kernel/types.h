// The kernel's types, from its own description of them: BTF (Documentation/bpf/btf.rst).
//
// The blob is the guest's, so it is hostile: parse() checks every record's bounds once; look-ups after that are bounded
// in depth and steps, whatever cycles the type graph has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hyperward::kernel {

struct Field {
  uint32_t offset_bytes = 0;
  uint32_t size_bytes = 0;  // of a bit field: of the bytes that hold it
  uint8_t bit_offset = 0;   // of a bit field: from the lowest bit at offset_bytes
  uint8_t bit_size = 0;     // 0: no bit field
  bool is_pointer = false;
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
  // One type as it stands in the blob.
  struct Record {
    uint32_t name = 0;  // offset of a string
    uint8_t kind = 0;
    bool has_bit_fields = false;  // "kind_flag"
    uint16_t count = 0;           // of what follows: members, enumerators, parameters
    uint32_t size_or_type = 0;
    uint32_t content = 0;  // offset in blob_ of what follows
  };
  // Where a look-up is, and what it may still cost.
  struct Place {
    uint32_t type = 0;
    uint64_t bit_offset = 0;
    uint32_t bit_size = 0;
  };

  Types() = default;

  [[nodiscard]] Record record(uint32_t id) const;
  [[nodiscard]] std::string_view name_at(uint32_t offset) const;
  [[nodiscard]] bool is_name(uint32_t offset, std::string_view name) const;
  [[nodiscard]] uint32_t strip(uint32_t id) const;  // of typedefs and qualifiers; 0 when there is no end to them
  [[nodiscard]] std::optional<uint64_t> size_of_id(uint32_t id) const;
  [[nodiscard]] bool find_member(uint32_t id, std::string_view name, unsigned depth, unsigned& steps,
                                 Place& place) const;
  [[nodiscard]] std::optional<Field> field_of(uint32_t id, std::string_view path) const;
  // Calls visit(id) for each named type of that name until it returns true.
  template <typename Visit>
  bool any_named(std::string_view name, Visit visit) const;

  std::vector<std::byte> blob_;
  std::vector<uint32_t> offsets_;  // of type id in blob_; [0] is void
  std::vector<uint32_t> enums_;    // ids
  std::vector<uint32_t> buckets_;  // structs, unions, enums and typedefs: the first id whose name has the hash, or 0
  std::vector<uint32_t> named_;    // their ids, and
  std::vector<uint32_t> next_;     // the next in the same bucket, both by position
  std::span<const std::byte> strings_;  // in blob_
};

}  // namespace hyperward::kernel
