// Control groups of the unified hierarchy (cgroup v2), as the `0::` line of /proc/PID/cgroup has them.
//
//   task.cgroups -> css_set.dfl_cgrp -> cgroup.kn -> kernfs_node, name by name along its parents
//
// Directories of this hierarchy cannot be renamed, so what must hold is that the task stayed in its group meanwhile.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "guest/kernel_memory.h"
#include "guest/path_text.h"
#include "guest/tasks.h"
#include "kernel/types.h"

namespace hyperward::guest {

struct CgroupLayout {
  uint32_t task_set;  // task_struct.cgroups; absent without CONFIG_CGROUPS
  uint32_t set_group, group_node;
  uint32_t node_name;
  // `__parent` since 6.15 (633488947ef6 "kernfs: Use RCU to access kernfs_node::parent.")
  uint32_t node_parent;

  // kUnsupported, naming every field that is missing.
  [[nodiscard]] static Result<CgroupLayout> resolve(const kernel::Types& types);
};

class Cgroups {
 public:
  static constexpr int kMaxAttempts = 4;

  Cgroups(const KernelMemory& memory, const CgroupLayout& layout) : memory_(memory), at_(layout) {}

  // See Guest::cgroup().
  [[nodiscard]] Result<std::string> path(const Task& task) const;

 private:
  [[nodiscard]] Result<GuestVirtual> group_of(const Task& task) const;
  [[nodiscard]] Result<std::string> text_of(GuestVirtual group) const;
  [[nodiscard]] Result<void> prepend_name(GuestVirtual name, PathText& text) const;

  const KernelMemory& memory_;
  const CgroupLayout& at_;
};

}  // namespace hyperward::guest
