// The guest's own view of itself, read from its memory: processes, sockets, and who owns a flow.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/net.h"
#include "base/result.h"
#include "guest/types.h"
#include "kernel/kernel.h"
#include "memory/physical_memory.h"

namespace hyperward::guest {

// One running (or dumped) guest. Not for several threads at a time: reading keeps an index that learns.
class Guest {
 public:
  // Finds the kernel, resolves every offset, and indexes the processes that run. kUnsupported, naming what is
  // missing, when the kernel's types are not as any known kernel has them.
  [[nodiscard]] static Result<std::unique_ptr<Guest>> attach(std::unique_ptr<memory::PhysicalMemory> memory);
  ~Guest();

  [[nodiscard]] const kernel::Kernel& kernel() const;

  [[nodiscard]] Result<std::vector<Process>> processes() const;
  // TCP and UDP over IPv4 and IPv6, of all network namespaces, with who holds them.
  [[nodiscard]] Result<std::vector<Socket>> sockets() const;

  // Whose flow is this? `local` is the guest's end. Never fails: what is not known is unknown, with the reason.
  [[nodiscard]] Owner owner(Protocol protocol, const Endpoint& local, const Endpoint& remote);

  // Does a listening (TCP) or unconnected (UDP) socket wait for a stranger's packets to `local`?
  [[nodiscard]] bool listens(Protocol protocol, const Endpoint& local) const;

  // User numbers and names from the guest's own /etc/passwd, if its kernel has that file in memory (kNotFound: not
  // now). They are the guest's word.
  [[nodiscard]] Result<std::vector<std::pair<uint32_t, std::string>>> users() const;

  // Reads of guest memory so far, for benchmarks.
  [[nodiscard]] uint64_t reads() const;

 private:
  struct Parts;
  explicit Guest(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace hyperward::guest
