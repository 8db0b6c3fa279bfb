#include "datapath/pins.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include <cerrno>
#include <optional>
#include <vector>

namespace hyperward::datapath {
namespace {

constexpr const char* kMountPoint = "/sys/fs/bpf";
constexpr const char* kInitMountNamespace = "/proc/1/ns/mnt";
constexpr int kMaxAttempts = 10;  // to make a directory in one that goes again and again

std::optional<uint64_t> inode_of(const char* path) {
  struct stat status{};
  if (::stat(path, &status) != 0) return std::nullopt;
  return status.st_ino;
}

bool is_bpffs(const std::string& path) {
  struct statfs status{};
  return ::statfs(path.c_str(), &status) == 0 && static_cast<unsigned long>(status.f_type) == BPF_FS_MAGIC;
}

int mount_bpffs() {
  return ::mount("bpf", kMountPoint, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") == 0 ? 0 : errno;
}

// A thread may not change its mount namespace while others share its file system state: a child does it.
int mount_bpffs_where_pid_1_is() {
  const pid_t child = ::fork();
  if (child < 0) return errno;
  if (child == 0) {
    const int ns = ::open(kInitMountNamespace, O_RDONLY | O_CLOEXEC);
    if (ns < 0 || ::setns(ns, CLONE_NEWNS) != 0) ::_exit(errno);
    ::_exit(mount_bpffs());
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return errno;
  return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

Result<std::string> default_root() {
  const auto ours = inode_of("/proc/self/ns/mnt"), init = inode_of(kInitMountNamespace);
  const bool elsewhere = init && ours != init;
  const std::string bpffs = (elsewhere ? "/proc/1/root" : "") + std::string(kMountPoint);
  if (!is_bpffs(bpffs)) {
    const int error = elsewhere ? mount_bpffs_where_pid_1_is() : mount_bpffs();
    if (error != 0) return fail_errno(error, fmt::format("mount a BPF file system on {}", kMountPoint));
    if (!is_bpffs(bpffs)) return fail(Code::kUnsupported, "{} is no BPF file system", bpffs);
  }
  return bpffs + "/hyperward";
}

std::string root_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

Result<void> make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return fail_errno(errno, fmt::format("make {}", path));
}

// The root too. Another process that detaches may take it away, empty as it is, before there is anything in it.
Result<void> make_directories(const std::string& path) {
  for (int attempt = 1;; ++attempt) {
    HW_OK(make_directory(root_of(path)));
    auto made = make_directory(path);
    if (made || made.error().code != Code::kNotFound || attempt == kMaxAttempts) return made;
  }
}

}  // namespace

std::string pin_name(std::string_view tap, uint64_t netns_inode) {
  std::string name;
  for (const char c : tap) {
    if (c == '.' || c == '%' || c == '@') {
      name += fmt::format("%{:02x}", static_cast<unsigned char>(c));
    } else {
      name += c;
    }
  }
  if (netns_inode != 0) name += fmt::format("@{}", netns_inode);
  return name;
}

Result<std::string> pin_path(std::string_view tap, std::string_view chosen_root) {
  std::string root(chosen_root);
  if (root.empty()) {
    HW_TRY(root, default_root());
  }
  const auto ours = inode_of("/proc/thread-self/ns/net"), init = inode_of("/proc/1/ns/net");
  return root + "/" + pin_name(tap, ours && ours != init ? *ours : 0);
}

Result<PinDirectory> PinDirectory::open(std::string_view tap, std::string_view root, bool create) {
  HW_TRY(const std::string path, pin_path(tap, root));
  if (create) HW_OK(make_directories(path));
  Fd lock(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock.valid()) return fail_errno(errno, fmt::format("open {}", path));
  if (!is_bpffs(path)) return fail(Code::kInvalid, "{} is not on a BPF file system", path);
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return fail(Code::kLimit, "{} is guarded by another process", tap);
    return fail_errno(errno, fmt::format("lock {}", path));
  }
  return PinDirectory(path, std::move(lock));
}

Result<void> PinDirectory::pin(int fd, std::string_view name) const {
  const std::string path = path_of(name);
  ::unlink(path.c_str());
  if (::bpf_obj_pin(fd, path.c_str()) != 0) return fail_errno(errno, fmt::format("pin {}", path));
  return {};
}

Result<Fd> PinDirectory::get(std::string_view name) const {
  const std::string path = path_of(name);
  Fd fd(::bpf_obj_get(path.c_str()));
  if (!fd.valid()) return fail_errno(errno, fmt::format("open {}", path));
  return fd;
}

void PinDirectory::clear() const {
  DIR* directory = ::opendir(path_.c_str());
  if (directory == nullptr) return;
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(directory))
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  ::closedir(directory);
  for (const std::string& name : names) ::unlink(path_of(name).c_str());
}

void PinDirectory::remove() const {
  clear();
  remove_if_empty();
}

void PinDirectory::remove_if_empty() const {
  if (::rmdir(path_.c_str()) == 0) ::rmdir(root_of(path_).c_str());
}

}  // namespace hyperward::datapath
