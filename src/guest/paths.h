// Paths of files as the guest's first process would read them in /proc, from the kernel's dentries and mounts.
//
//   mm.exe_file -> file.f_path -> dentry, name by name along d_parent up to the root of its mount; then the mount's
//   mountpoint in the mount it stands on, and so on, up to the first process's root or a mount that stands on none
//
// That is d_path() (fs/d_path.c). Names and mounts change while we read: d_path() looks whether rename_lock and
// mount_lock have counted on meanwhile, and begins again if so; we do too.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "guest/kernel_memory.h"
#include "guest/layout.h"
#include "guest/path_text.h"
#include "guest/tasks.h"
#include "kernel/types.h"

namespace hyperward::guest {

struct PathLayout {
  uint32_t executable;  // mm_struct.exe_file
  // file.f_path; since 6.18 in a union with its writable name __f_path, before that by itself.
  uint32_t file_mount, file_dentry;
  uint32_t task_fs, root_mount, root_dentry;
  struct Dentry {
    uint32_t parent, name, name_length;
    uint32_t hash_link;  // d_hash.pprev: null in a dentry that no look-up finds any more
    Extent extent;
  } dentry;
  struct Mount {                        // struct mount
    uint32_t root, parent, mountpoint;  // mnt.mnt_root, mnt_parent, mnt_mountpoint
    uint32_t public_part;               // mnt, the struct vfsmount that paths point to
    Extent extent;
  } mount;
  GuestVirtual rename_count, mount_count;  // the locks' sequence counts; null: not known

  // kUnsupported, naming every field that is missing.
  [[nodiscard]] static Result<PathLayout> resolve(const kernel::Types& types, const FindSymbol& find);
};

class Paths {
 public:
  static constexpr int kMaxMounts = 256;  // on the way of one path
  static constexpr int kMaxAttempts = 4;

  Paths(const KernelMemory& memory, const PathLayout& layout, const Tasks& tasks)
      : memory_(memory), at_(layout), tasks_(tasks) {}

  // See Guest::executable().
  [[nodiscard]] Result<std::string> executable(const Task& task) const;

 private:
  struct Path {          // struct path
    GuestVirtual mount;  // the struct vfsmount
    GuestVirtual dentry;
    bool operator==(const Path&) const = default;
  };
  struct Mount {
    GuestVirtual root;
    Path below;  // what it is mounted on; its own mount when that is nothing
  };
  struct Dentry {
    GuestVirtual parent;
    GuestVirtual name;
    uint32_t name_length = 0;
    bool hashed = false;
  };
  struct Counts {
    uint32_t renames = 0;
    uint32_t mounts = 0;
    bool operator==(const Counts&) const = default;
    [[nodiscard]] bool settled() const { return ((renames | mounts) & 1) == 0; }  // odd: a writer is at work
  };

  [[nodiscard]] Result<Path> file_path(GuestVirtual file) const;
  [[nodiscard]] Path root() const;
  [[nodiscard]] Counts counts() const;
  [[nodiscard]] Result<std::string> text_of(Path path) const;
  [[nodiscard]] Result<Dentry> dentry(GuestVirtual address) const;
  [[nodiscard]] Result<Mount> mount(GuestVirtual address) const;
  [[nodiscard]] Result<void> prepend_name(const Dentry& dentry, PathText& text) const;

  const KernelMemory& memory_;
  const PathLayout& at_;
  const Tasks& tasks_;
};

}  // namespace hyperward::guest
