// File descriptor tables: which process holds a struct file, and at which number.
//
// files_struct.fdt points to an array of pointers to struct file, indexed by descriptor. next_fd is where the kernel
// looks for a free slot first: it gives the lowest one, so what was opened last lies just below it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "guest/kernel_memory.h"
#include "guest/layout.h"

namespace hyperward::guest {

struct FdTable {
  GuestVirtual slots;
  uint32_t capacity = 0;
  uint32_t next_fd = 0;
};

// What a struct file says.
struct File {
  GuestVirtual inode;
  GuestVirtual credentials;
  GuestVirtual private_data;
  GuestVirtual operations;
};

class Files {
 public:
  static constexpr uint32_t kMaxFds = 1 << 20;  // of one process: the default of fs.nr_open
  // What find() looks through of one table: more would let a guest slow us down with large ones.
  static constexpr uint32_t kMaxFdsSearched = 1 << 16;
  static constexpr uint64_t kMaxFdsOfGuest = 1 << 24;  // of all tables in one walk

  Files(const KernelMemory& memory, const Layout& layout) : memory_(memory), layout_(layout) {}

  [[nodiscard]] std::optional<File> read(GuestVirtual file) const;
  // The struct sock of a file that is a socket of any family; null for other files. A socket is known by its pointers:
  // file -> socket -> file, socket -> sock -> socket.
  [[nodiscard]] GuestVirtual sock_of(GuestVirtual address, const File& file) const;
  [[nodiscard]] uint64_t inode_number(const File& file) const;  // 0 when it is unreadable

  // Nothing when it is unreadable; a capacity beyond kMaxFds is cut to it.
  [[nodiscard]] std::optional<FdTable> table(GuestVirtual files_struct) const;

  [[nodiscard]] bool holds(GuestVirtual files_struct, uint32_t fd, GuestVirtual file) const;

  // The descriptor of `file`, looking first where the newest ones lie, then at the first `search_limit`.
  [[nodiscard]] std::optional<uint32_t> find(GuestVirtual files_struct, GuestVirtual file,
                                             uint32_t search_limit = kMaxFdsSearched) const;

  template <typename Visit>  // bool(uint32_t fd, GuestVirtual file): true to stop. Returns whether it was stopped.
  bool for_each(const FdTable& table, uint32_t begin, uint32_t end, Visit&& visit) const {
    std::array<GuestVirtual, kSlotsAtOnce> slots;
    end = std::min(end, table.capacity);
    for (uint32_t first = begin; first < end; first += kSlotsAtOnce) {
      const auto piece = std::span(slots).first(std::min(kSlotsAtOnce, end - first));
      if (!memory_.read(table.slots + uint64_t{first} * sizeof(uint64_t), std::as_writable_bytes(piece))) return false;
      for (uint32_t i = 0; i < piece.size(); ++i)
        if (!piece[i].is_null() && visit(first + i, piece[i])) return true;
    }
    return false;
  }

 private:
  static constexpr uint32_t kSlotsAtOnce = 512;
  static constexpr uint32_t kNewestSlots = 64;

  const KernelMemory& memory_;
  const Layout& layout_;
};

}  // namespace hyperward::guest
