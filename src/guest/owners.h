// From a socket to the process that opened it, at a cost that does not grow with the guest.
//
// No pointer leads from a socket to a process. A walk over all descriptor tables finds who holds the socket's struct
// file, and is too slow to do for each new connection, which is a new file. So, in this order, until one answers:
//
//   1. The index: this file was found before. Its process must still hold it at the same descriptor.
//   2. The credentials. file->f_cred is the very object that the opener's task->cred points to: fork copies it and
//      exec replaces it, so its address names one process (kernel/cred.c copy_creds(), prepare_exec_creds()). The
//      index of credentials is filled at attach and, on a miss, from the tasks that started last.
//   3. The wait queue. Who waits for the socket, in a call, in poll() or through epoll, is in socket.wq.
//   4. The newest tasks' descriptor tables: a server accepts, forks, and its child keeps the connection.
//   5. All descriptor tables. What it finds of other sockets goes into the index. Its reads are rationed, so that a
//      guest cannot make every look-up that slow.
//
// All these only nominate. A process is named when the socket's file is found in its descriptor table, now.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "guest/files.h"
#include "guest/kernel_memory.h"
#include "guest/layout.h"
#include "guest/sock.h"
#include "guest/tasks.h"
#include "guest/types.h"

namespace hyperward::guest {

class Owners {
 public:
  static constexpr size_t kMaxIndexed = 1 << 18;  // entries of either index; a full one is emptied
  static constexpr size_t kNewestTasks = 64;
  static constexpr size_t kMaxWaiters = 32;
  static constexpr size_t kMaxOthers = 8;
  static constexpr int kMaxAncestors = 64;
  static constexpr uint32_t kMaxFdsOfNewest = 1024;  // looked at in each of the newest tasks' tables
  // Reads that walks may spend: saved up with each look-up.
  static constexpr int64_t kWalkReadsMax = 1 << 20;
  static constexpr int64_t kWalkReadsPerLookup = 64;

  Owners(const KernelMemory& memory, const Layout& layout, const Roots& roots, const Tasks& tasks, const Files& files)
      : memory_(memory), layout_(layout), roots_(roots), tasks_(tasks), files_(files) {}

  // Fills the index of credentials with all processes that run.
  [[nodiscard]] Result<void> index_credentials();

  // Whose is this full socket (no TIME_WAIT, no request)? kInconsistent when it changed under the look-up.
  [[nodiscard]] Owner owner(const SockCommon& sock);

  // The same by looking through every descriptor table, for cross-checks.
  [[nodiscard]] Owner owner_by_walk(const SockCommon& sock);

 private:
  // A task that exists now only if what lies at `task` still started then.
  struct Known {
    GuestVirtual task;
    uint64_t start_time_ns = 0;
  };
  struct Creator {
    Known task;
    bool own = false;  // the credentials were its own when we looked; else it held a socket that they opened
  };
  struct Holding {
    Known holder;
    uint32_t fd = 0;
  };
  struct Holder {
    Task task;
    uint32_t fd = 0;
  };
  struct SocketFile {
    GuestVirtual address;
    GuestVirtual socket;
    File file;
  };
  [[nodiscard]] Owner owner(const SockCommon& sock, bool only_walk);
  [[nodiscard]] std::optional<SocketFile> file_of(const SockCommon& sock, Owner& owner) const;
  void read_creator(const SocketFile& file, Owner& owner) const;

  // Each names the process in `owner` and returns true, or leaves it as it is.
  bool from_index(const SocketFile& file, Owner& owner);
  bool from_credentials(const SocketFile& file, Owner& owner);
  bool from_wait_queue(const SocketFile& file, Owner& owner);
  bool from_newest_tasks(const SocketFile& file, Owner& owner);
  bool from_walk(const SocketFile& file, Owner& owner);

  [[nodiscard]] std::optional<Task> read(const Known& known) const;
  [[nodiscard]] std::optional<Task> waiter(GuestVirtual entry, const SocketFile& file);
  [[nodiscard]] std::optional<Task> epoll_waiter(GuestVirtual entry, const SocketFile& file);
  [[nodiscard]] std::optional<Holder> confirm(const Task& task, const SocketFile& file,
                                              uint32_t search_limit = Files::kMaxFdsSearched) const;
  bool name(const Holder& holder, How how, Owner& owner) const;
  bool name_and_learn(const Holder& holder, const SocketFile& file, How how, Owner& owner);
  [[nodiscard]] Holder climb(Holder holder, const SocketFile& file) const;
  [[nodiscard]] Result<std::vector<Holder>> holders(const SocketFile& file);
  [[nodiscard]] const Holder* foremost(const std::vector<Holder>& holders) const;
  [[nodiscard]] bool descends(const Task& task, uint32_t ancestor_pid) const;
  void know(const Task& task);
  void learn(const SocketFile& file, const Holder& holder);
  void know_file(GuestVirtual file, const Task& task, uint32_t fd);

  const KernelMemory& memory_;
  const Layout& layout_;
  const Roots& roots_;
  const Tasks& tasks_;
  const Files& files_;
  std::unordered_map<uint64_t, Creator> by_credentials_;
  std::unordered_map<uint64_t, Holding> by_file_;
  int64_t walk_reads_ = kWalkReadsMax;
};

}  // namespace hyperward::guest
