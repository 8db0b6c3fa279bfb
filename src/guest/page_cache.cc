#include "guest/page_cache.h"

#include <algorithm>

namespace hyperward::guest {
namespace {

constexpr uint16_t kTypeMask = 0170000;  // S_IFMT
constexpr uint16_t kRegular = 0100000;   // S_IFREG
constexpr size_t kMaxNameBytes = 255;

// Where both lie when the kernel does not move them (arch/x86/include/asm/page_64_types.h, pgtable_64_types.h).
constexpr uint64_t kFixedVmemmap = 0xffffea0000000000;
constexpr uint64_t kFixedDirectMap = 0xffff888000000000;

// Entries of an xarray (include/linux/xarray.h): the low bits say what it is.
constexpr bool is_value(uint64_t entry) {
  return (entry & 1) != 0;
}
constexpr bool is_internal(uint64_t entry) {
  return (entry & 3) == 2;
}
constexpr bool is_node(uint64_t entry) {
  return is_internal(entry) && entry > 4096;
}

}  // namespace

Result<PageCacheLayout> PageCacheLayout::resolve(const kernel::Types& types, const FindSymbol& find,
                                                 const KernelMemory& memory) {
  PageCacheLayout at{};
  struct Wanted {
    uint32_t& offset;
    std::string_view type, path;
  };
  const bool hlists = types.has_field("dentry", "d_children");
  for (const Wanted& field : {Wanted{at.task_fs, "task_struct", "fs"},
                              {at.root_dentry, "fs_struct", "root.dentry"},
                              {at.children, "dentry", hlists ? "d_children" : "d_subdirs"},
                              {at.sibling, "dentry", hlists ? "d_sib" : "d_child"},
                              {at.name, "dentry", "d_name.name"},
                              {at.name_length, "dentry", "d_name.len"},
                              {at.dentry_inode, "dentry", "d_inode"},
                              {at.inode_mode, "inode", "i_mode"},
                              {at.inode_size, "inode", "i_size"},
                              {at.inode_mapping, "inode", "i_mapping"},
                              {at.pages, "address_space", "i_pages.xa_head"},
                              {at.node_shift, "xa_node", "shift"}}) {
    HW_TRY(const kernel::Field found, types.field(field.type, field.path));
    field.offset = found.offset_bytes;
  }
  HW_TRY(const kernel::Field slots, types.field("xa_node", "slots"));
  at.node_slots = slots.offset_bytes;
  at.node_slot_count = slots.size_bytes / sizeof(uint64_t);
  HW_TRY(at.page_bytes, types.size_of("page"));
  if (at.node_slot_count == 0 || at.page_bytes == 0) return fail(Code::kUnsupported, "xa_node or page has no size");

  const auto base = [&](std::string_view name, uint64_t fixed) {
    const auto variable = find(name);
    return variable ? memory.read<GuestVirtual>(*variable).value_or(GuestVirtual{}) : GuestVirtual{fixed};
  };
  at.vmemmap = base("vmemmap_base", kFixedVmemmap);
  at.direct_map = base("page_offset_base", kFixedDirectMap);
  return at;
}

Result<GuestVirtual> PageCache::root() const {
  const auto first = tasks_.first();
  if (!first) return fail(Code::kNotFound, "the guest has no first process yet");
  const auto fs = memory_.read<GuestVirtual>(first->address + at_.task_fs);
  const auto dentry = fs ? memory_.read<GuestVirtual>(*fs + at_.root_dentry) : std::nullopt;
  if (!dentry) return fail(Code::kUnreadable, "the first process's root directory is not there");
  return *dentry;
}

bool PageCache::has_name(GuestVirtual dentry, std::string_view name) const {
  if (memory_.read<uint32_t>(dentry + at_.name_length) != name.size()) return false;
  const auto text = memory_.read<GuestVirtual>(dentry + at_.name);
  std::string found(name.size(), '\0');
  return text && memory_.read(*text, std::as_writable_bytes(std::span(found))) && found == name;
}

Result<GuestVirtual> PageCache::child(GuestVirtual directory, std::string_view name) const {
  if (name.empty() || name.size() > kMaxNameBytes) return fail(Code::kInvalid, "'{}' is no file name", name);
  const GuestVirtual head = directory + at_.children;
  auto node = memory_.read<GuestVirtual>(head);
  for (size_t i = 0; node && !node->is_null() && *node != head; ++i) {
    if (i == kMaxChildren) return fail(Code::kLimit, "more than {} cached names beside '{}'", kMaxChildren, name);
    const GuestVirtual dentry = *node - at_.sibling;
    const auto inode = memory_.read<GuestVirtual>(dentry + at_.dentry_inode);
    if (inode && !inode->is_null() && has_name(dentry, name)) return dentry;
    node = memory_.read<GuestVirtual>(*node);
  }
  return fail(Code::kNotFound, "'{}' is not in the guest's dentry cache", name);
}

// The page at `index`, through the nodes of the tree. A folio of several pages stands in the first of its slots; the
// others say which that is.
std::optional<GuestVirtual> PageCache::page(GuestVirtual tree, uint64_t index) const {
  auto entry = memory_.read<uint64_t>(tree);
  uint64_t folio_index = 0;
  for (int depth = 0; entry && is_node(*entry); ++depth) {
    if (depth == kMaxTreeDepth) return std::nullopt;
    const GuestVirtual node{*entry - 2};
    const auto shift = memory_.read<uint8_t>(node + at_.node_shift);
    if (!shift || *shift > 63) return std::nullopt;
    uint64_t slot = (index >> *shift) % at_.node_slot_count;
    const auto slot_at = [&](uint64_t number) { return node + at_.node_slots + number * sizeof(uint64_t); };
    entry = memory_.read<uint64_t>(slot_at(slot));
    if (entry && is_internal(*entry) && !is_node(*entry)) {
      slot = *entry >> 2;
      if (slot >= at_.node_slot_count) return std::nullopt;
      entry = memory_.read<uint64_t>(slot_at(slot));
    }
    const uint64_t node_index = (index >> *shift) / at_.node_slot_count * at_.node_slot_count;
    folio_index = (node_index + slot) << *shift;
  }
  if (!entry || *entry == 0 || is_value(*entry) || is_internal(*entry) || index < folio_index) return std::nullopt;
  const uint64_t page = *entry + (index - folio_index) * at_.page_bytes;
  return at_.direct_map + (page - at_.vmemmap.value) / at_.page_bytes * memory::kPageSize;
}

Result<std::string> PageCache::read(std::string_view path) const {
  HW_TRY(GuestVirtual dentry, root());
  for (std::string_view rest = path.substr(path.starts_with('/') ? 1 : 0); !rest.empty();) {
    const size_t slash = std::min(rest.find('/'), rest.size());
    HW_TRY(dentry, child(dentry, rest.substr(0, slash)));
    rest.remove_prefix(std::min(slash + 1, rest.size()));
  }
  const GuestVirtual inode = memory_.read<GuestVirtual>(dentry + at_.dentry_inode).value_or(GuestVirtual{});
  const auto mode = memory_.read<uint16_t>(inode + at_.inode_mode);
  const auto size_bytes = memory_.read<uint64_t>(inode + at_.inode_size);
  const auto mapping = memory_.read<GuestVirtual>(inode + at_.inode_mapping);
  if (!mode || !size_bytes || !mapping) return fail(Code::kUnreadable, "the inode of {} is not there", path);
  if ((*mode & kTypeMask) != kRegular) return fail(Code::kUnsupported, "{} is no regular file", path);
  if (*size_bytes > kMaxFileBytes) return fail(Code::kLimit, "{} is larger than {} bytes", path, kMaxFileBytes);

  std::string bytes(*size_bytes, '\0');
  for (size_t begin = 0; begin < bytes.size(); begin += memory::kPageSize) {
    const auto from = page(*mapping + at_.pages, begin / memory::kPageSize);
    const auto piece = std::span(bytes).subspan(begin, std::min<size_t>(memory::kPageSize, bytes.size() - begin));
    if (!from || !memory_.read(*from, std::as_writable_bytes(piece)))
      return fail(Code::kNotFound, "{} is not in the guest's page cache", path);
  }
  return bytes;
}

}  // namespace hyperward::guest
