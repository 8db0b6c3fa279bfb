#include "daemon/privileges.h"

#include <cap-ng.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include <fmt/ranges.h>

namespace hyperward::daemon {
namespace {

// Each was tried by guarding a guest without it, except where another reason is given.
constexpr std::array kPrivileges{
    Privilege{CAP_BPF, "cap_bpf", Stage::kRunning, true, "loads the programs of a tap"},
    // Linux 6.18 does without. Not tried with older verifiers, which may not.
    Privilege{CAP_PERFMON, "cap_perfmon", Stage::kRunning, false,
              "spares the programs the checks that a stranger's get"},
    Privilege{CAP_NET_ADMIN, "cap_net_admin", Stage::kRunning, true, "puts them on the tap; makes the hold's own tap"},
    Privilege{CAP_SYS_PTRACE, "cap_sys_ptrace", Stage::kRunning, true, "opens and reads the memory of QEMU"},
    // Not tried: the file of a memory-backend-file, an IDS's log and a guest's configuration may be others' alone.
    Privilege{CAP_DAC_READ_SEARCH, "cap_dac_read_search", Stage::kRunning, false, "reads files that are not root's"},
    Privilege{CAP_SETGID, "cap_setgid", Stage::kStart, false, "joins the groups of the control sockets"},
    Privilege{CAP_SETPCAP, "cap_setpcap", Stage::kStart, false, "empties the bounding set"},
};

Result<void> refuse_more_privileges() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno(errno, "refuse further privileges");
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return fail_errno(errno, "refuse to be traced");
  return {};
}

Result<void> keep_only(Stage stage) {
  if (::capng_get_caps_process() != 0) return fail(Code::kSystem, "read the process's capabilities");
  std::vector<const Privilege*> kept;
  std::vector<std::string_view> missing;
  for (const Privilege& privilege : kPrivileges) {
    const bool has = ::capng_have_capability(CAPNG_PERMITTED, static_cast<unsigned>(privilege.capability)) == 1;
    if (has && privilege.last >= stage) kept.push_back(&privilege);
    if (!has && privilege.required) missing.emplace_back(privilege.name);
  }
  if (!missing.empty())
    return fail(Code::kPermission, "without {} nothing can be guarded: be root, or let the service manager start it",
                fmt::join(missing, ", "));

  const bool may_bound = ::capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) == 1;
  ::capng_clear(CAPNG_SELECT_ALL);
  for (const Privilege* privilege : kept) {
    const auto sets = static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET);
    ::capng_update(CAPNG_ADD, sets, static_cast<unsigned>(privilege->capability));
  }
  // Who may not shrink the bounding set gains nothing by it either, once there are no new privileges.
  if (may_bound && ::capng_apply(CAPNG_SELECT_BOUNDS) != 0)
    return fail(Code::kPermission, "give up capabilities of the bounding set");
  if (::capng_apply(CAPNG_SELECT_AMBIENT) != 0) return fail(Code::kPermission, "give up ambient capabilities");
  if (::capng_apply(CAPNG_SELECT_CAPS) != 0) return fail(Code::kPermission, "give up capabilities");
  return {};
}

Result<void> join(std::span<const std::string> names) {
  if (names.empty()) return {};
  const int count = ::getgroups(0, nullptr);
  if (count < 0) return fail_errno(errno, "read the process's groups");
  std::vector<gid_t> groups(static_cast<size_t>(count));
  if (::getgroups(count, groups.data()) != count) return fail_errno(errno, "read the process's groups");

  for (const std::string& name : names) {
    const group* const found = ::getgrnam(name.c_str());
    if (found == nullptr) return fail(Code::kInvalid, "there is no group '{}'", name);
    if (std::ranges::find(groups, found->gr_gid) == groups.end()) groups.push_back(found->gr_gid);
  }
  // Nothing to join needs no permission to.
  if (groups.size() == static_cast<size_t>(count)) return {};
  if (::setgroups(groups.size(), groups.data()) != 0)
    return fail_errno(errno, fmt::format("join the groups {}", fmt::join(names, ", ")));
  return {};
}

}  // namespace

std::span<const Privilege> privileges() {
  return kPrivileges;
}

Result<void> enter_start() {
  HW_OK(keep_only(Stage::kStart));
  return refuse_more_privileges();
}

Result<void> enter_running(std::span<const std::string> groups) {
  HW_OK(join(groups));
  return keep_only(Stage::kRunning);
}

}  // namespace hyperward::daemon
