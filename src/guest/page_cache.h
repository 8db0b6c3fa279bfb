// Small files of the guest, as far as its kernel has them in memory: paths through the dentry cache, contents from the
// page cache. No disk is read; a file that the guest has not used lately is not there.
//
//   the first process's fs_struct.root -> dentry, children by name -> inode -> address_space.i_pages, an xarray of
//   folios (lib/xarray.c) -> struct page -> its number in vmemmap -> the page, in the direct map
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "guest/kernel_memory.h"
#include "guest/layout.h"
#include "guest/tasks.h"
#include "kernel/types.h"

namespace hyperward::guest {

struct PageCacheLayout {
  uint32_t task_fs, root_dentry;
  // hlists since 6.8 (da549bdd15c2 "dentry: switch the lists of children to hlist"), rings before.
  uint32_t children, sibling;
  uint32_t name, name_length, dentry_inode;
  uint32_t inode_mode, inode_size, inode_mapping, pages;
  uint32_t node_shift, node_slots, node_slot_count;
  uint32_t page_bytes;  // of struct page
  GuestVirtual vmemmap, direct_map;

  [[nodiscard]] static Result<PageCacheLayout> resolve(const kernel::Types& types, const FindSymbol& find,
                                                       const KernelMemory& memory);
};

class PageCache {
 public:
  static constexpr size_t kMaxFileBytes = 1 << 20;
  static constexpr size_t kMaxChildren = 1 << 16;  // of one directory
  static constexpr int kMaxTreeDepth = 11;         // of an xarray: 64 bits of index, 6 at each level

  PageCache(const KernelMemory& memory, const PageCacheLayout& layout, const Tasks& tasks)
      : memory_(memory), at_(layout), tasks_(tasks) {}

  // The bytes of a regular file: "/etc/passwd". No symbolic links, no mounts below the root. kNotFound when the path
  // or any page of the file is not in memory.
  [[nodiscard]] Result<std::string> read(std::string_view path) const;

 private:
  [[nodiscard]] Result<GuestVirtual> root() const;
  [[nodiscard]] Result<GuestVirtual> child(GuestVirtual directory, std::string_view name) const;
  [[nodiscard]] bool has_name(GuestVirtual dentry, std::string_view name) const;
  [[nodiscard]] std::optional<GuestVirtual> page(GuestVirtual tree, uint64_t index) const;

  const KernelMemory& memory_;
  const PageCacheLayout& at_;
  const Tasks& tasks_;
};

}  // namespace hyperward::guest
