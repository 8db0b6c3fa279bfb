// A BTF blob (include/uapi/linux/btf.h) is a header, a run of type records and a run of strings. A record is
// {name, info, size or type} and what its kind adds; a type's id is its number in the run, from 1.
#include "kernel/types.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/bytes.h"

namespace hyperward::kernel {
namespace {

constexpr uint16_t kMagic = 0xeb9f;
constexpr size_t kMaxBlobBytes = 64 << 20;  // distributions' kernels: 4 to 12 MiB
constexpr unsigned kMaxTypedefs = 32;
constexpr unsigned kMaxNesting = 16;     // of anonymous structs and arrays
constexpr unsigned kMaxSteps = 1 << 13;  // members looked at in one look-up; struct task_struct has 300
constexpr uint64_t kMaxTypeSize = 1 << 30;
constexpr uint32_t kPointerSize = 8;

struct Header {
  uint16_t magic;
  uint8_t version;
  uint8_t flags;
  uint32_t header_size;
  uint32_t types_offset;  // from the end of the header, as strings_offset
  uint32_t types_size;
  uint32_t strings_offset;
  uint32_t strings_size;
};

struct RawRecord {
  uint32_t name;
  uint32_t info;  // bits 0-15 count, 24-28 kind, 31 kind_flag
  uint32_t size_or_type;
};

struct RawMember {
  uint32_t name;
  uint32_t type;
  uint32_t offset;  // in bits; with kind_flag the top 8 bits are a bit field's size
};

struct RawArray {
  uint32_t type;
  uint32_t index_type;
  uint32_t count;
};

enum Kind : uint8_t {
  kInt = 1,
  kPtr,
  kArray,
  kStruct,
  kUnion,
  kEnum,
  kFwd,
  kTypedef,
  kVolatile,
  kConst,
  kRestrict,
  kFunc,
  kFuncProto,
  kVar,
  kDatasec,
  kFloat,
  kDeclTag,
  kTypeTag,
  kEnum64,
};

// What follows a record, or nothing for a kind that this file does not know.
std::optional<uint32_t> content_size(uint8_t kind, uint32_t count) {
  switch (kind) {
    case kInt:
    case kVar:
    case kDeclTag: return 4;
    case kArray: return sizeof(RawArray);
    case kStruct:
    case kUnion:
    case kDatasec:
    case kEnum64: return count * 12;
    case kEnum:
    case kFuncProto: return count * 8;
    case kPtr:
    case kFwd:
    case kTypedef:
    case kVolatile:
    case kConst:
    case kRestrict:
    case kFunc:
    case kFloat:
    case kTypeTag: return 0;
    default: return std::nullopt;
  }
}

bool is_struct(uint8_t kind) {
  return kind == kStruct || kind == kUnion;
}

uint32_t hash_of(std::string_view text) {
  uint32_t hash = 2166136261;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619;
  return hash ^ (hash >> 15);
}

}  // namespace

Result<Types> Types::parse(std::vector<std::byte> btf) {
  Types types;
  types.blob_ = std::move(btf);
  const std::span<const std::byte> blob = types.blob_;
  if (blob.size() > kMaxBlobBytes) return fail(Code::kLimit, "BTF of {} bytes is too large", blob.size());
  const auto header = load<Header>(blob, 0);
  if (!header || header->magic != kMagic || header->version != 1 || header->header_size < sizeof(Header))
    return fail(Code::kInvalid, "no BTF header");
  const uint64_t types_offset = uint64_t{header->header_size} + header->types_offset;
  const uint64_t strings_offset = uint64_t{header->header_size} + header->strings_offset;
  const auto records = slice(blob, types_offset, header->types_size);
  const auto strings = slice(blob, strings_offset, header->strings_size);
  if (!records || !strings || strings->empty() || strings->back() != std::byte{0})
    return fail(Code::kInvalid, "BTF is cut off");
  types.strings_ = *strings;

  types.offsets_.push_back(0);
  for (uint64_t at = 0; at < records->size();) {
    const auto raw = load<RawRecord>(*records, at);
    if (!raw) return fail(Code::kInvalid, "BTF type {} is cut off", types.offsets_.size());
    const auto id = static_cast<uint32_t>(types.offsets_.size());
    const auto kind = static_cast<uint8_t>((raw->info >> 24) & 0x1f);
    const auto content = content_size(kind, raw->info & 0xffff);
    if (!content) return fail(Code::kUnsupported, "BTF type {} is of the unknown kind {}", id, kind);
    if (!slice(*records, at + sizeof(RawRecord), *content) || raw->name >= strings->size())
      return fail(Code::kInvalid, "BTF type {} is cut off", id);
    types.offsets_.push_back(static_cast<uint32_t>(types_offset + at));
    if (kind == kEnum || kind == kEnum64) types.enums_.push_back(id);
    const bool is_named = raw->name != 0 && (is_struct(kind) || kind == kEnum || kind == kEnum64 || kind == kTypedef);
    if (is_named) types.named_.push_back(id);
    at += sizeof(RawRecord) + *content;
  }

  const auto named_count = static_cast<uint32_t>(types.named_.size());
  types.buckets_.assign(std::bit_ceil(std::max(named_count, 1U)), named_count);
  types.next_.resize(named_count);
  for (uint32_t i = named_count; i-- > 0;) {  // backwards, so that each chain ascends
    const std::string_view name = types.name_at(types.record(types.named_[i]).name);
    uint32_t& bucket = types.buckets_[hash_of(name) & (types.buckets_.size() - 1)];
    types.next_[i] = bucket;
    bucket = i;
  }
  return types;
}

Types::Record Types::record(uint32_t id) const {
  if (id == 0 || id >= offsets_.size()) return {};
  const auto raw = *load<RawRecord>(blob_, offsets_[id]);
  return {.name = raw.name,
          .kind = static_cast<uint8_t>((raw.info >> 24) & 0x1f),
          .has_bit_fields = (raw.info >> 31) != 0,
          .count = static_cast<uint16_t>(raw.info & 0xffff),
          .size_or_type = raw.size_or_type,
          .content = offsets_[id] + static_cast<uint32_t>(sizeof(RawRecord))};
}

// The strings end with a zero byte, which parse() has checked.
std::string_view Types::name_at(uint32_t offset) const {
  if (offset >= strings_.size()) return {};
  return reinterpret_cast<const char*>(strings_.data()) + offset;
}

bool Types::is_name(uint32_t offset, std::string_view name) const {
  return offset < strings_.size() && name.size() < strings_.size() - offset &&
         std::memcmp(strings_.data() + offset, name.data(), name.size()) == 0 &&
         strings_[offset + name.size()] == std::byte{0};
}

uint32_t Types::strip(uint32_t id) const {
  for (unsigned i = 0; i < kMaxTypedefs; ++i) {
    const Record type = record(id);
    switch (type.kind) {
      case kTypedef:
      case kVolatile:
      case kConst:
      case kRestrict:
      case kTypeTag: id = type.size_or_type; break;
      default: return type.kind == 0 ? 0 : id;
    }
  }
  return 0;
}

std::optional<uint64_t> Types::size_of_id(uint32_t id) const {
  uint64_t count = 1;
  for (unsigned i = 0; i < kMaxNesting; ++i) {
    const Record type = record(strip(id));
    uint64_t size = 0;
    switch (type.kind) {
      case kInt:
      case kStruct:
      case kUnion:
      case kEnum:
      case kEnum64:
      case kFloat: size = type.size_or_type; break;
      case kPtr: size = kPointerSize; break;
      case kArray: {
        const auto array = *load<RawArray>(blob_, type.content);
        count *= array.count;
        if (count > kMaxTypeSize) return std::nullopt;
        id = array.type;
        continue;
      }
      default: return std::nullopt;
    }
    const uint64_t total = count * size;  // both below 2^32
    return total <= kMaxTypeSize ? std::optional(total) : std::nullopt;
  }
  return std::nullopt;
}

template <typename Visit>
bool Types::any_named(std::string_view name, Visit visit) const {
  for (uint32_t i = buckets_[hash_of(name) & (buckets_.size() - 1)]; i < named_.size(); i = next_[i])
    if (is_name(record(named_[i]).name, name) && visit(named_[i])) return true;
  return false;
}

// Looks for a member in struct or union `id` and in its anonymous ones; leaves it in `place`, whose offset is added to.
// `steps` bounds what a type graph made for it could cost: anonymous structs within each other in many ways.
bool Types::find_member(uint32_t id, std::string_view name, unsigned depth, unsigned& steps, Place& place) const {
  const Record type = record(strip(id));
  if (!is_struct(type.kind) || depth == kMaxNesting) return false;
  for (uint32_t i = 0; i < type.count; ++i) {
    if (steps++ >= kMaxSteps) return false;
    const auto member = *load<RawMember>(blob_, type.content + i * sizeof(RawMember));
    const uint64_t bit_offset = type.has_bit_fields ? member.offset & 0xffffff : member.offset;
    const uint32_t bit_size = type.has_bit_fields ? member.offset >> 24 : 0;
    if (is_name(member.name, name)) {
      place = {member.type, place.bit_offset + bit_offset, bit_size};
      return true;
    }
    if (member.name != 0) continue;
    Place inner{member.type, place.bit_offset + bit_offset, 0};
    if (!find_member(member.type, name, depth + 1, steps, inner)) continue;
    place = inner;
    return true;
  }
  return false;
}

std::optional<Field> Types::field_of(uint32_t id, std::string_view path) const {
  Place place{id, 0, 0};
  unsigned steps = 0;
  while (true) {
    const std::string_view name = path.substr(0, path.find('.'));
    if (name.empty() || place.bit_size != 0 || !find_member(place.type, name, 0, steps, place)) return std::nullopt;
    if (name.size() == path.size()) break;
    path.remove_prefix(name.size() + 1);
  }
  const uint64_t offset = place.bit_offset / 8;
  const auto bit_offset = static_cast<uint8_t>(place.bit_offset % 8);
  const auto size = place.bit_size != 0 ? (bit_offset + place.bit_size + 7) / 8 : size_of_id(place.type);
  if (!size || offset > kMaxTypeSize || (place.bit_size == 0 && bit_offset != 0)) return std::nullopt;
  return Field{.offset_bytes = static_cast<uint32_t>(offset),
               .size_bytes = static_cast<uint32_t>(*size),
               .bit_offset = bit_offset,
               .bit_size = static_cast<uint8_t>(place.bit_size),
               .is_pointer = record(strip(place.type)).kind == kPtr};
}

Result<Field> Types::field(std::string_view type, std::string_view path) const {
  std::optional<Field> found;
  any_named(type, [&](uint32_t id) {
    found = field_of(id, path);
    return found.has_value();
  });
  if (!found) return fail(Code::kNotFound, "the kernel's types have no {}.{}", type, path);
  return *found;
}

bool Types::has_field(std::string_view type, std::string_view path) const {
  return any_named(type, [&](uint32_t id) { return field_of(id, path).has_value(); });
}

bool Types::has_type(std::string_view type) const {
  return any_named(type, [](uint32_t) { return true; });
}

Result<uint32_t> Types::size_of(std::string_view type) const {
  std::optional<uint64_t> size;
  any_named(type, [&](uint32_t id) {
    size = size_of_id(id);
    return size.has_value();
  });
  if (!size) return fail(Code::kNotFound, "the kernel's types have no {}", type);
  return static_cast<uint32_t>(*size);
}

Result<int64_t> Types::enumerator(std::string_view name) const {
  for (const uint32_t id : enums_) {
    const Record type = record(id);
    const uint32_t entry_size = type.kind == kEnum ? 8 : 12;
    for (uint32_t i = 0; i < type.count; ++i) {
      const uint32_t entry = type.content + i * entry_size;
      if (!is_name(*load<uint32_t>(blob_, entry), name)) continue;
      const auto low = *load<uint32_t>(blob_, entry + 4);
      if (type.kind == kEnum64) return static_cast<int64_t>(*load<uint64_t>(blob_, entry + 4));
      return type.has_bit_fields ? static_cast<int32_t>(low) : int64_t{low};  // kind_flag: the values are signed
    }
  }
  return fail(Code::kNotFound, "the kernel's types have no enumerator {}", name);
}

}  // namespace hyperward::kernel
