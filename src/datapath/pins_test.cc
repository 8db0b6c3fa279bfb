#include "datapath/pins.h"

#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

namespace hyperward::datapath {
namespace {

TEST(PinName, is_the_taps) {
  EXPECT_EQ(pin_name("tap0", 0), "tap0");
  EXPECT_EQ(pin_name("tap0", 4026532301), "tap0@4026532301");
}

TEST(PinName, has_no_dots_and_no_two_meanings) {
  EXPECT_EQ(pin_name("vnet0.100", 0), "vnet0%2e100");
  EXPECT_EQ(pin_name("a%2eb", 0), "a%252eb");
  EXPECT_EQ(pin_name("tap0@4026532301", 0), "tap0%404026532301");
}

// The status of a child that runs `body`, or -1 when it did not end by itself.
int status_of_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

bool has_bpffs() {
  struct statfs status{};
  return ::statfs("/sys/fs/bpf", &status) == 0 && status.f_type == static_cast<long>(BPF_FS_MAGIC);
}

// As `ip netns exec` does it (lib/namespace.c, netns_switch): a /sys for the new network namespace, bare of all that
// was mounted below the old one.
bool renew_sys() {
  return ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 && ::umount2("/sys", MNT_DETACH) == 0 &&
         ::mount("sysfs", "/sys", "sysfs", 0, nullptr) == 0 && !has_bpffs();
}

constexpr int kNotAble = 100;

TEST(PinDirectory, is_where_pid_1_sees_it_from_inside_ip_netns_exec_too) {
  const int status = status_of_child([] {
    if (::unshare(CLONE_NEWPID) != 0) return kNotAble;
    return status_of_child([] {  // PID 1 of a machine of its own
      if (::unshare(CLONE_NEWNS) != 0 || !renew_sys()) return kNotAble;
      if (::mount("proc", "/proc", "proc", 0, nullptr) != 0) return kNotAble;
      const int inside = status_of_child([] {
        if (::unshare(CLONE_NEWNS | CLONE_NEWNET) != 0 || !renew_sys()) return kNotAble;
        const auto pins = PinDirectory::open("tap0", {}, true);
        if (!pins) return 1;
        return pins->path().starts_with("/proc/1/root/sys/fs/bpf/hyperward/tap0@") ? 0 : 2;
      });
      if (inside != 0) return inside;
      return has_bpffs() && ::access("/sys/fs/bpf/hyperward", F_OK) == 0 ? 0 : 3;
    });
  });
  if (status == kNotAble) GTEST_SKIP() << "NOT TESTED: pins from inside a network namespace. This needs root.";
  EXPECT_EQ(status, 0);
}

TEST(PinDirectory, takes_the_root_away_with_the_last_directory_in_it) {
  const int status = status_of_child([] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      return kNotAble;
    if (::mount("bpf", "/mnt", "bpf", 0, nullptr) != 0) return kNotAble;
    const auto there = [](const char* path) { return ::access(path, F_OK) == 0; };
    const auto first = PinDirectory::open("tap0", "/mnt/hyperward", true);
    const auto second = PinDirectory::open("tap1", "/mnt/hyperward", true);
    if (!first || !second) return 1;
    first->remove();
    if (there("/mnt/hyperward/tap0") || !there("/mnt/hyperward")) return 2;
    second->remove();
    return there("/mnt/hyperward") ? 3 : 0;
  });
  if (status == kNotAble) GTEST_SKIP() << "NOT TESTED: what is left on a BPF file system. This needs root.";
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace hyperward::datapath
