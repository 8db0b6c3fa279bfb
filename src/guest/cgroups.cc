#include "guest/cgroups.h"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>

#include "guest/resolver.h"

namespace hyperward::guest {

Result<CgroupLayout> CgroupLayout::resolve(const kernel::Types& types) {
  Resolver find(types);
  CgroupLayout at{};
  at.task_set = find.offset("task_struct", "cgroups");
  at.set_group = find.offset("css_set", "dfl_cgrp");
  at.group_node = find.offset("cgroup", "kn");
  at.node_name = find.offset("kernfs_node", "name");
  at.node_parent = find.offset_of_either("kernfs_node", "__parent", "parent");
  HW_OK(find.finish());
  return at;
}

Result<std::string> Cgroups::path(const Task& task) const {
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    HW_TRY(const GuestVirtual group, group_of(task));
    auto text = text_of(group);
    memory_.forget();
    HW_TRY(const GuestVirtual again, group_of(task));
    if (again == group) return text;
  }
  return fail(Code::kInconsistent, "pid {} kept changing its control group", task.tgid);
}

Result<GuestVirtual> Cgroups::group_of(const Task& task) const {
  const auto set = memory_.read<GuestVirtual>(task.address + at_.task_set);
  const auto group = set ? memory_.read<GuestVirtual>(*set + at_.set_group) : std::nullopt;
  if (!group) return fail(Code::kUnreadable, "the control groups of pid {} are not there", task.tgid);
  return *group;
}

Result<std::string> Cgroups::text_of(GuestVirtual group) const {
  PathText text;
  auto node = memory_.read<GuestVirtual>(group + at_.group_node);
  while (node) {
    const auto parent = memory_.read<GuestVirtual>(*node + at_.node_parent);
    const auto name = memory_.read<GuestVirtual>(*node + at_.node_name);
    if (!parent || !name) break;
    if (parent->is_null()) return text.text();  // the root, whose name is none
    HW_OK(prepend_name(*name, text));
    node = *parent;
  }
  return fail(Code::kUnreadable, "the names of the control group at {:#x} are not there", group.value);
}

// A string that ends in a NUL, read in pieces that lie in one page each.
Result<void> Cgroups::prepend_name(GuestVirtual name, PathText& text) const {
  constexpr size_t kPieceBytes = 64;
  std::array<char, PathText::kMaxNameBytes + 1> bytes;
  for (size_t have = 0; have < bytes.size();) {
    const size_t to_border = kPieceBytes - (name.value + have) % kPieceBytes;
    const auto piece = std::span(bytes).subspan(have).first(std::min(to_border, bytes.size() - have));
    if (!memory_.read(name + have, std::as_writable_bytes(piece)))
      return fail(Code::kUnreadable, "the name at {:#x} is not there", name.value);
    have += piece.size();
    const std::string_view text_so_far(bytes.data(), have);
    if (const size_t end = text_so_far.find('\0'); end != std::string_view::npos)
      return text.prepend(text_so_far.substr(0, end));
  }
  return fail(Code::kInconsistent, "the name at {:#x} has no end", name.value);
}

}  // namespace hyperward::guest
