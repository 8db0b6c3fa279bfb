#include "guest/paths.h"

#include <array>
#include <optional>
#include <span>
#include <string_view>

#include "guest/resolver.h"

namespace hyperward::guest {
namespace {

constexpr std::string_view kDeleted = " (deleted)";

}  // namespace

Result<PathLayout> PathLayout::resolve(const kernel::Types& types, const FindSymbol& find_symbol) {
  Resolver find(types);
  PathLayout at{};
  at.executable = find.offset("mm_struct", "exe_file");
  at.file_mount = find.offset_of_either("file", "f_path.mnt", "__f_path.mnt");
  at.file_dentry = find.offset_of_either("file", "f_path.dentry", "__f_path.dentry");
  at.task_fs = find.offset("task_struct", "fs");
  at.root_mount = find.offset("fs_struct", "root.mnt");
  at.root_dentry = find.offset("fs_struct", "root.dentry");

  auto& dentry = at.dentry;
  dentry.parent = find.offset("dentry", "d_parent");
  dentry.name = find.offset_of_either("dentry", "d_name.name", "__d_name.name");
  dentry.name_length = find.offset_of_either("dentry", "d_name.len", "__d_name.len");
  dentry.hash_link = find.offset("dentry", "d_hash.pprev");
  dentry.extent = extent_of({{dentry.parent, 8}, {dentry.name, 8}, {dentry.name_length, 4}, {dentry.hash_link, 8}});
  find.require_fits("dentry's fields", dentry.extent, kMaxSmallExtentBytes);

  auto& mount = at.mount;
  mount.public_part = find.offset("mount", "mnt");
  mount.root = find.offset("mount", "mnt.mnt_root");
  mount.parent = find.offset("mount", "mnt_parent");
  mount.mountpoint = find.offset("mount", "mnt_mountpoint");
  mount.extent = extent_of({{mount.root, 8}, {mount.parent, 8}, {mount.mountpoint, 8}});
  find.require_fits("mount's fields", mount.extent, kMaxSmallExtentBytes);
  HW_OK(find.finish());

  // Within a seqcount_spinlock_t since 5.10 (55f3560df975 "seqlock: Extend seqcount API with associated locks").
  auto sequence = find.maybe("seqlock_t", "seqcount.seqcount.sequence");
  if (!sequence) sequence = find.maybe("seqlock_t", "seqcount.sequence");
  const auto count_of = [&](std::string_view lock) {
    const auto address = sequence ? find_symbol(lock) : std::nullopt;
    return address ? *address + *sequence : GuestVirtual{};
  };
  at.rename_count = count_of("rename_lock");
  at.mount_count = count_of("mount_lock");
  return at;
}

Result<std::string> Paths::executable(const Task& task) const {
  const auto mm = tasks_.memory_of(task);
  const auto file = mm ? memory_.read<GuestVirtual>(*mm + at_.executable) : std::nullopt;
  if (!file || file->is_null()) return fail(Code::kNotFound, "pid {} runs no executable", task.tgid);

  for (int attempt = 1;; ++attempt) {
    const Counts before = counts();
    HW_TRY(const Path path, file_path(*file));
    auto text = text_of(path);
    memory_.forget();
    // The guest may stand still in the middle of a change: then the last attempt takes what there is.
    const bool last = attempt == kMaxAttempts;
    if (counts() == before && (before.settled() || last)) return text;
    if (last) return fail(Code::kInconsistent, "the guest's names or mounts kept changing");
  }
}

Result<Paths::Path> Paths::file_path(GuestVirtual file) const {
  const auto mount = memory_.read<GuestVirtual>(file + at_.file_mount);
  const auto dentry = memory_.read<GuestVirtual>(file + at_.file_dentry);
  if (!mount || !dentry) return fail(Code::kUnreadable, "the file at {:#x} is not there", file.value);
  return Path{*mount, *dentry};
}

// The first process's root; nothing that a path could lead to when it cannot be read.
Paths::Path Paths::root() const {
  const auto first = tasks_.first();
  const auto fs = first ? memory_.read<GuestVirtual>(first->address + at_.task_fs) : std::nullopt;
  if (!fs) return {};
  return {memory_.read<GuestVirtual>(*fs + at_.root_mount).value_or(GuestVirtual{}),
          memory_.read<GuestVirtual>(*fs + at_.root_dentry).value_or(GuestVirtual{})};
}

Paths::Counts Paths::counts() const {
  const auto count = [&](GuestVirtual address) {
    return address.is_null() ? 0 : memory_.read<uint32_t>(address).value_or(0);
  };
  return {.renames = count(at_.rename_count), .mounts = count(at_.mount_count)};
}

Result<std::string> Paths::text_of(Path path) const {
  const Path top = root();
  HW_TRY(const Dentry file, dentry(path.dentry));
  const bool is_root = file.parent == path.dentry;  // of a file system, or of nothing
  HW_TRY(Mount mounted, mount(path.mount));
  PathText text;
  if (is_root && mounted.root != path.dentry) {
    // In no directory at all: made by memfd_create(2), say; simple_dname() in fs/d_path.c.
    HW_OK(prepend_name(file, text));
    return text.text().append(kDeleted);
  }
  int mounts = 0;
  while (path != top) {
    if (path.dentry == mounted.root) {
      if (mounted.below.mount == path.mount) break;
      if (++mounts > kMaxMounts) return fail(Code::kLimit, "more than {} mounts on each other", kMaxMounts);
      path = mounted.below;
      HW_TRY(mounted, mount(path.mount));
      continue;
    }
    HW_TRY(const Dentry here, dentry(path.dentry));
    if (here.parent == path.dentry) return fail(Code::kNotFound, "the file lies outside of what is mounted");
    HW_OK(prepend_name(here, text));
    path.dentry = here.parent;
  }
  return file.hashed || is_root ? text.text() : text.text().append(kDeleted);
}

Result<Paths::Dentry> Paths::dentry(GuestVirtual address) const {
  const auto& at = at_.dentry;
  Copy<kMaxSmallExtentBytes> copy;
  if (!copy.load(memory_, address, at.extent))
    return fail(Code::kUnreadable, "the dentry at {:#x} is not there", address.value);
  return Dentry{.parent = copy.pointer(at.parent),
                .name = copy.pointer(at.name),
                .name_length = copy.at<uint32_t>(at.name_length),
                .hashed = !copy.pointer(at.hash_link).is_null()};
}

Result<Paths::Mount> Paths::mount(GuestVirtual address) const {
  const auto& at = at_.mount;
  Copy<kMaxSmallExtentBytes> copy;
  if (!copy.load(memory_, address - at.public_part, at.extent))
    return fail(Code::kUnreadable, "the mount at {:#x} is not there", address.value);
  return Mount{.root = copy.pointer(at.root),
               .below = {.mount = copy.pointer(at.parent) + at.public_part, .dentry = copy.pointer(at.mountpoint)}};
}

Result<void> Paths::prepend_name(const Dentry& dentry, PathText& text) const {
  std::array<char, PathText::kMaxNameBytes> bytes;
  if (dentry.name_length > bytes.size())
    return fail(Code::kInconsistent, "a name of {} bytes is no file's", dentry.name_length);
  const auto name = std::span(bytes).first(dentry.name_length);
  if (!memory_.read(dentry.name, std::as_writable_bytes(name)))
    return fail(Code::kUnreadable, "the name at {:#x} is not there", dentry.name.value);
  return text.prepend({name.data(), name.size()});
}

}  // namespace hyperward::guest
