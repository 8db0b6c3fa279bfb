// Directories, mounts and control groups in a FakeKernel, with the layouts that say where their fields are.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "guest/cgroups.h"
#include "guest/fake_kernel.h"
#include "guest/paths.h"

namespace hyperward::guest {

class FakePaths {
 public:
  struct Dentry {
    uint64_t parent, name, hash_link;
    uint32_t name_length;
  };
  struct Mount {
    uint64_t parent, mountpoint;
    struct {
      uint64_t root;
    } public_part;
  };
  struct Fs {
    uint64_t root_mount, root_dentry;
  };
  struct CssSet {
    uint64_t group;
  };
  struct Cgroup {
    uint64_t node;
  };
  struct KernfsNode {
    uint64_t name, parent;
  };

  // The root directory, on a mount that stands on none, as the root of process 1.
  explicit FakePaths(FakeKernel& kernel) : kernel_(kernel) {
    root = add_dentry({}, "/");
    root_mount = add_mount(root, {}, {});
    group_root = add_group({}, "");
    first = add_process(1, "init");
    layout.rename_count = kernel.put(uint32_t{0});
    layout.mount_count = kernel.put(uint32_t{0});
  }

  // Without a parent: the root of a file system, its own parent.
  GuestVirtual add_dentry(GuestVirtual parent, std::string_view name) {
    const GuestVirtual dentry = kernel_.allocate<Dentry>();
    at_dentry(dentry) = {.parent = parent.is_null() ? dentry.value : parent.value,
                         .name = add_text(name).value,
                         .hash_link = dentry.value,  // anything but null
                         .name_length = static_cast<uint32_t>(name.size())};
    return dentry;
  }
  // Without a parent: a mount that stands on none, its own parent.
  GuestVirtual add_mount(GuestVirtual dentry, GuestVirtual parent, GuestVirtual mountpoint) {
    const GuestVirtual mount = kernel_.allocate<Mount>();
    kernel_.at<Mount>(mount) = {.parent = parent.is_null() ? mount.value : parent.value,
                                .mountpoint = parent.is_null() ? dentry.value : mountpoint.value,
                                .public_part = {dentry.value}};
    return mount;
  }
  GuestVirtual add_group(GuestVirtual parent, std::string_view name) {
    return kernel_.put(KernfsNode{add_text(std::string(name) + '\0').value, parent.value});
  }

  GuestVirtual add_process(uint32_t pid, std::string_view comm) {
    const GuestVirtual task = kernel_.add_process(pid, comm, 0);
    kernel_.at<FakeKernel::Task>(task).fs =
        kernel_.put(Fs{root_mount.value + offsetof(Mount, public_part), root.value}).value;
    set_group(task, group_root);
    return task;
  }
  void set_executable(GuestVirtual task, GuestVirtual mount, GuestVirtual dentry) {
    const GuestVirtual file =
        kernel_.put(FakeKernel::File{0, 0, 0, 0, mount.value + offsetof(Mount, public_part), dentry.value});
    kernel_.at<FakeKernel::Task>(task).mm = kernel_.put(FakeKernel::Mm{0, 0, 0, 0, file.value}).value;
  }
  void set_group(GuestVirtual task, GuestVirtual node) {
    kernel_.at<FakeKernel::Task>(task).cgroups = kernel_.put(CssSet{kernel_.put(Cgroup{node.value}).value}).value;
  }

  [[nodiscard]] Dentry& at_dentry(GuestVirtual dentry) { return kernel_.at<Dentry>(dentry); }
  [[nodiscard]] Mount& at_mount(GuestVirtual mount) { return kernel_.at<Mount>(mount); }
  [[nodiscard]] KernfsNode& at_group(GuestVirtual node) { return kernel_.at<KernfsNode>(node); }

  GuestVirtual root, root_mount, group_root, first;
  PathLayout layout{.executable = offsetof(FakeKernel::Mm, executable),
                    .file_mount = offsetof(FakeKernel::File, mount),
                    .file_dentry = offsetof(FakeKernel::File, dentry),
                    .task_fs = offsetof(FakeKernel::Task, fs),
                    .root_mount = offsetof(Fs, root_mount),
                    .root_dentry = offsetof(Fs, root_dentry),
                    .dentry = {.parent = offsetof(Dentry, parent),
                               .name = offsetof(Dentry, name),
                               .name_length = offsetof(Dentry, name_length),
                               .hash_link = offsetof(Dentry, hash_link),
                               .extent = {0, sizeof(Dentry)}},
                    .mount = {.root = offsetof(Mount, public_part),
                              .parent = offsetof(Mount, parent),
                              .mountpoint = offsetof(Mount, mountpoint),
                              .public_part = offsetof(Mount, public_part),
                              .extent = {0, sizeof(Mount)}},
                    .rename_count = {},
                    .mount_count = {}};
  CgroupLayout cgroup_layout{.task_set = offsetof(FakeKernel::Task, cgroups),
                             .set_group = offsetof(CssSet, group),
                             .group_node = offsetof(Cgroup, node),
                             .node_name = offsetof(KernfsNode, name),
                             .node_parent = offsetof(KernfsNode, parent)};

 private:
  GuestVirtual add_text(std::string_view text) {
    const GuestVirtual address = kernel_.allocate<char>(text.size());
    for (size_t i = 0; i < text.size(); ++i) kernel_.at<char>(address + i) = text[i];
    return address;
  }

  FakeKernel& kernel_;
};

}  // namespace hyperward::guest
