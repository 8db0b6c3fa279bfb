// The guest's own view of itself, read from its memory: processes, sockets, and who owns a flow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/net.h"
#include "base/result.h"
#include "guest/types.h"
#include "kernel/kernel.h"
#include "memory/physical_memory.h"

namespace hyperward::guest {

using memory::GuestVirtual;

// One running (or dumped) guest. Not for several threads at a time: reading keeps an index that learns.
//
// Each look begins with the guest's memory as it is then. Addresses that a look takes may come from anywhere: one that
// does not lead to what it should is an error or an answer about the guest's memory, never more. While a ReadBudget
// lives, what returns a Result gives kLimit once it is spent; an Owner may then be unknown that would be known.
class Guest {
 public:
  static constexpr size_t kMaxReadBytes = size_t{1} << 16;  // at once, of read()

  // Finds the kernel, resolves every offset, and indexes the processes that run. kUnsupported, naming what is
  // missing, when the kernel's types are not as any known kernel has them.
  [[nodiscard]] static Result<std::unique_ptr<Guest>> attach(std::unique_ptr<memory::PhysicalMemory> memory);
  ~Guest();

  [[nodiscard]] const kernel::Kernel& kernel() const;

  [[nodiscard]] Result<std::vector<Process>> processes() const;
  // TCP and UDP over IPv4 and IPv6, of all network namespaces, with who holds them.
  [[nodiscard]] Result<std::vector<Socket>> sockets() const;

  // Visits every process once, oldest first: true to stop. What starts meanwhile is visited too; what ends may be. A
  // visitor may look at other things of the guest. kInconsistent when the list does not link up, or kept changing;
  // kLimit beyond 2^18 tasks.
  using VisitTask = std::function<bool(const TaskInfo&)>;
  [[nodiscard]] Result<void> for_each_task(const VisitTask& visit) const;
  // The process of that number, by a walk as above; kNotFound when none has it.
  [[nodiscard]] Result<TaskInfo> task(uint32_t pid) const;
  // The process at a TaskInfo's, Process's or Evidence's address, or at the parent that a TaskInfo tells; kNotFound
  // when no process is linked there (any more). The way up ends with pid 0.
  [[nodiscard]] Result<TaskInfo> task_at(GuestVirtual address) const;

  // For the process at that address, all of these: kNotFound when it is none.
  // Visits the files of its leader's table, by number: true to stop. None once it has exited; at most 2^20.
  using VisitFile = std::function<bool(const OpenFile&)>;
  [[nodiscard]] Result<void> for_each_file(GuestVirtual task, const VisitFile& visit) const;
  // The program it runs, as the guest's first process would read it in /proc/PID/exe: at most 4095 bytes of the guest's
  // choice, see printable(). " (deleted)" follows the path of a file that is in no directory (any more). kNotFound for
  // kernel threads, once it has exited, and for a file in no mount; kInconsistent for names that cannot be, or kept
  // changing; kLimit for what is longer, or more than 256 mounts on each other; kUnsupported when the kernel's types
  // are not as any known kernel has them.
  [[nodiscard]] Result<std::string> executable(GuestVirtual task) const;
  // Its control group in the unified hierarchy (v2): "/system.slice/cron.service", "/" where nobody uses that
  // hierarchy. Limits and errors as above; kUnsupported also for a kernel without control groups.
  [[nodiscard]] Result<std::string> cgroup(GuestVirtual task) const;

  // A TCP or UDP socket by its struct sock (of OpenFile, or Evidence's `socket`), without its holders. kNotFound for
  // what is no socket, kUnsupported for other sockets, kInconsistent when it was closed meanwhile.
  [[nodiscard]] Result<Socket> socket(GuestVirtual sock) const;

  // Whose flow is this? `local` is the guest's end. Never fails: what is not known is unknown, with the reason.
  [[nodiscard]] Owner owner(Protocol protocol, const Endpoint& local, const Endpoint& remote);

  // Does a listening (TCP) or unconnected (UDP) socket wait for a stranger's packets to `local`?
  [[nodiscard]] bool listens(Protocol protocol, const Endpoint& local) const;

  // User numbers and names from the guest's own /etc/passwd, if its kernel has that file in memory (kNotFound: not
  // now). They are the guest's word.
  [[nodiscard]] Result<std::vector<std::pair<uint32_t, std::string>>> users() const;

  // The kernel's own objects, by the names of its source. kNotFound for what it does not have.
  // A member of a struct or union: field("task_struct", "signal"), field("sock", "__sk_common.skc_dport"); pointers
  // are not followed. kUnsupported for a bit field.
  [[nodiscard]] Result<kernel::Field> field(std::string_view type, std::string_view path) const;
  // Where a variable or function of the kernel itself (no module) lies.
  [[nodiscard]] Result<GuestVirtual> symbol(std::string_view name) const;
  // Copies kernel memory into all of `out`; kUnreadable, with `out` unspecified, when any byte is not there, kInvalid
  // for more than kMaxReadBytes.
  [[nodiscard]] Result<void> read(GuestVirtual address, std::span<std::byte> out) const;

  // Reads of guest memory so far, for benchmarks.
  [[nodiscard]] uint64_t reads() const;

 private:
  friend class ReadBudget;
  struct Parts;
  explicit Guest(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

// Bounds what all looks at a guest may read while it lives; one at a time for a guest, which must outlive it. A read of
// a field or a struct counts one; a larger one counts once more for each page (4096 bytes) of it.
class ReadBudget {
 public:
  ReadBudget(const Guest& guest, uint64_t reads);
  ~ReadBudget();
  ReadBudget(const ReadBudget&) = delete;
  ReadBudget& operator=(const ReadBudget&) = delete;

  // Was a read refused? All further ones are.
  [[nodiscard]] bool spent() const;

 private:
  const Guest& guest_;
};

}  // namespace hyperward::guest
