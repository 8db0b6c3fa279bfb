// A Unix socket in the file system that others reach, with the permissions that it shall have.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace hyperward::daemon {

// Removes its file in the end, unless somebody has put another in its place.
class UnixListener {
 public:
  // The numbers of socket(2). A datagram socket has nobody to accept: it is read as it is.
  enum class Type : int { kStream = SOCK_STREAM, kDatagram = SOCK_DGRAM };

  // Mode 0660, of the named group. It replaces a socket that nobody listens on any more. kInvalid: somebody listens,
  // the path is something else than a socket or too long, or there is no such group.
  [[nodiscard]] static Result<UnixListener> open(const std::filesystem::path& path,
                                                 const std::optional<std::string>& group, Type type = Type::kStream);

  UnixListener(UnixListener&& other) noexcept = default;
  UnixListener& operator=(UnixListener&& other) = delete;
  ~UnixListener() { remove(); }

  [[nodiscard]] int fd() const { return fd_.get(); }
  // Wakes whoever waits in accept() or recv(), for good, and takes the file away.
  void close();

 private:
  UnixListener(Fd fd, std::filesystem::path path) : fd_(std::move(fd)), path_(std::move(path)) {}
  void remove();

  Fd fd_;
  std::filesystem::path path_;
  dev_t device_ = 0;  // of the file as it was made
  ino_t inode_ = 0;   // 0: no file is ours
};

}  // namespace hyperward::daemon
