// Where an attachment's maps and programs live between two processes: a directory of a BPF file system.
//
// Pins must outlive the process, so they belong into the mount namespace of the machine, not into one that goes with
// the process: `ip netns exec` makes such a one and mounts a fresh /sys in it, without a bpffs and out of the sight of
// the next process. So PID 1's /sys/fs/bpf is meant always. When our mount namespace is another than PID 1's, it is
// reached as /proc/1/root/sys/fs/bpf; when there is no bpffs, one is mounted, in PID 1's namespace too.
//
//   /sys/fs/bpf/hyperward/tap0/                   flows, inbound, fragments, counters, config; the four programs
//   /sys/fs/bpf/hyperward/tap0@4026532301/        the same in a network namespace other than PID 1's (its inode)
//   /sys/fs/bpf/hyperward/vnet0%2e100/            bpffs allows no dots in names (kernel/bpf/inode.c, bpf_lookup)
#pragma once

#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace hyperward::datapath {

class PinDirectory {
 public:
  // The directory of this tap in the calling thread's network namespace, locked until the object goes. `root` as in
  // Options::pin_root. kLimit: another process has it; kNotFound: it is not there and `create` is false.
  [[nodiscard]] static Result<PinDirectory> open(std::string_view tap, std::string_view root, bool create);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string path_of(std::string_view name) const { return path_ + "/" + std::string(name); }
  // Pins a map or a program, in place of what has the name.
  [[nodiscard]] Result<void> pin(int fd, std::string_view name) const;
  [[nodiscard]] Result<Fd> get(std::string_view name) const;
  void clear() const;            // removes all pins
  void remove() const;           // and the directory
  void remove_if_empty() const;  // and the root, when no other tap has a directory in it

 private:
  PinDirectory(std::string path, Fd lock) : path_(std::move(path)), lock_(std::move(lock)) {}

  std::string path_;
  Fd lock_;
};

// The directory's path, whether it is there or not. With an empty `root`, makes sure that there is a bpffs.
[[nodiscard]] Result<std::string> pin_path(std::string_view tap, std::string_view root);
// Its last part: see above. A namespace of 0 is PID 1's.
[[nodiscard]] std::string pin_name(std::string_view tap, uint64_t netns_inode);

}  // namespace hyperward::datapath
