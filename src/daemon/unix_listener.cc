#include "daemon/unix_listener.h"

#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace hyperward::daemon {
namespace {

constexpr int kBacklog = 64;  // connections that wait while all threads are busy
constexpr mode_t kMode = 0660;
constexpr size_t kMaxGroupBytes = 1UL << 20;  // a group's entry, with its members

Result<sockaddr_un> address_of(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string& text = path.native();
  if (text.empty() || text.size() >= sizeof(address.sun_path))
    return fail(Code::kInvalid, "'{}' cannot be a socket's path: 1 to {} bytes are possible", text,
                sizeof(address.sun_path) - 1);
  std::memcpy(address.sun_path, text.data(), text.size());
  return address;
}

Result<Fd> make_socket(UnixListener::Type type, int flags = 0) {
  Fd fd(::socket(AF_UNIX, static_cast<int>(type) | SOCK_CLOEXEC | flags, 0));
  if (!fd.valid()) return fail_errno(errno, "make a Unix socket");
  return fd;
}

Result<gid_t> group_id(const std::string& name) {
  std::vector<char> buffer(4096);
  group entry{};
  group* found = nullptr;
  int error = 0;
  while ((error = ::getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found)) == ERANGE &&
         buffer.size() < kMaxGroupBytes)
    buffer.resize(buffer.size() * 2);
  if (error != 0) return fail_errno(error, fmt::format("look up the group '{}'", name));
  if (found == nullptr) return fail(Code::kInvalid, "there is no group '{}'", name);
  return entry.gr_gid;
}

// Whether the path may be taken: nothing is there, or a socket that was left behind.
Result<void> check_free(const std::filesystem::path& path, UnixListener::Type type) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return fail_errno(errno, fmt::format("look at {}", path.string()));
  }
  if (!S_ISSOCK(status.st_mode)) return fail(Code::kInvalid, "{} is there, and is no socket", path.string());
  HW_TRY(const sockaddr_un address, address_of(path));
  HW_TRY(const Fd probe, make_socket(type, SOCK_NONBLOCK));
  const int refused =
      ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ? 0 : errno;
  // EAGAIN: too many wait for him already; EPROTOTYPE: his socket is of another type.
  if (refused == 0 || refused == EAGAIN || refused == EPROTOTYPE)
    return fail(Code::kInvalid, "somebody listens on {} already", path.string());
  if (refused == ECONNREFUSED || refused == ENOENT) return {};
  return fail_errno(refused, fmt::format("see whether somebody listens on {}", path.string()));
}

}  // namespace

// The file is born 0600 under another name, gets its group and mode, listens, and only then its name: at no time can
// anyone connect who may not.
Result<UnixListener> UnixListener::open(const std::filesystem::path& path, const std::optional<std::string>& group,
                                        Type type) {
  const std::filesystem::path fresh = path.native() + ".new";
  HW_TRY(const sockaddr_un address, address_of(fresh));
  std::optional<gid_t> gid;
  if (group) {
    HW_TRY(gid, group_id(*group));
  }
  HW_OK(check_free(path, type));

  HW_TRY(Fd fd, make_socket(type));
  // bind() makes the file with the mode of the socket's own inode, less the umask (net/unix/af_unix.c, unix_bind_bsd).
  if (::fchmod(fd.get(), 0600) != 0) return fail_errno(errno, "set a socket's mode");
  if (::unlink(fresh.c_str()) != 0 && errno != ENOENT)
    return fail_errno(errno, fmt::format("remove {}", fresh.string()));
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    return fail_errno(errno, fmt::format("make the socket {}", path.string()));

  UnixListener listener(std::move(fd), fresh);
  struct stat status{};
  if (::lstat(fresh.c_str(), &status) != 0) return fail_errno(errno, fmt::format("look at {}", fresh.string()));
  listener.device_ = status.st_dev;
  listener.inode_ = status.st_ino;
  if (gid && ::lchown(fresh.c_str(), static_cast<uid_t>(-1), *gid) != 0)
    return fail_errno(errno, fmt::format("give {} to the group '{}'", path.string(), *group));
  if (::chmod(fresh.c_str(), kMode) != 0) return fail_errno(errno, fmt::format("set the mode of {}", path.string()));
  if (type == Type::kStream && ::listen(listener.fd(), kBacklog) != 0)
    return fail_errno(errno, fmt::format("listen on {}", path.string()));
  if (::rename(fresh.c_str(), path.c_str()) != 0) return fail_errno(errno, fmt::format("make {}", path.string()));
  listener.path_ = path;
  return listener;
}

void UnixListener::close() {
  remove();
  ::shutdown(fd_.get(), SHUT_RDWR);
}

void UnixListener::remove() {
  struct stat status{};
  if (!fd_.valid() || inode_ == 0 || ::lstat(path_.c_str(), &status) != 0) return;
  if (status.st_dev == device_ && status.st_ino == inode_) ::unlink(path_.c_str());
  inode_ = 0;
}

}  // namespace hyperward::daemon
