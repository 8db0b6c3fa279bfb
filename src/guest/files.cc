#include "guest/files.h"

namespace hyperward::guest {

std::optional<File> Files::read(GuestVirtual file) const {
  const auto& at = layout_.file;
  Copy<kMaxSmallExtentBytes> copy;
  if (!copy.load(memory_, file, at.extent)) return std::nullopt;
  return File{.inode = copy.pointer(at.inode),
              .credentials = copy.pointer(at.credentials),
              .private_data = copy.pointer(at.private_data),
              .operations = copy.pointer(at.operations)};
}

GuestVirtual Files::sock_of(GuestVirtual address, const File& file) const {
  Copy<kMaxSmallExtentBytes> socket;
  if (file.private_data.is_null() || !socket.load(memory_, file.private_data, layout_.socket.extent)) return {};
  const GuestVirtual sock = socket.pointer(layout_.socket.sock);
  if (socket.pointer(layout_.socket.file) != address || sock.is_null()) return {};
  if (memory_.read<GuestVirtual>(sock + layout_.sock.socket) != file.private_data) return {};
  return sock;
}

uint64_t Files::inode_number(const File& file) const {
  return memory_.read<uint64_t>(file.inode + layout_.inode.number).value_or(0);
}

std::optional<FdTable> Files::table(GuestVirtual files_struct) const {
  const auto& at = layout_.files;
  Copy<kMaxSmallExtentBytes> files;
  if (files_struct.is_null() || !files.load(memory_, files_struct, at.extent)) return std::nullopt;
  Copy<kMaxSmallExtentBytes> table;
  if (!table.load(memory_, files.pointer(at.table), at.table_extent)) return std::nullopt;
  return FdTable{.slots = table.pointer(at.slots),
                 .capacity = std::min(table.at<uint32_t>(at.capacity), kMaxFds),
                 .next_fd = files.at<uint32_t>(at.next_fd)};
}

bool Files::holds(GuestVirtual files_struct, uint32_t fd, GuestVirtual file) const {
  const auto open = table(files_struct);
  if (!open || fd >= open->capacity) return false;
  return memory_.read<GuestVirtual>(open->slots + uint64_t{fd} * sizeof(uint64_t)) == file;
}

std::optional<uint32_t> Files::find(GuestVirtual files_struct, GuestVirtual file, uint32_t search_limit) const {
  const auto open = table(files_struct);
  if (!open) return std::nullopt;
  std::optional<uint32_t> found;
  const auto is_it = [&](uint32_t fd, GuestVirtual held) {
    if (held == file) found = fd;
    return found.has_value();
  };
  const uint32_t newest_end = std::min(open->next_fd, open->capacity);
  const uint32_t newest_begin = newest_end - std::min(newest_end, kNewestSlots);
  if (for_each(*open, newest_begin, newest_end, is_it)) return found;
  if (for_each(*open, newest_end, std::max(search_limit, newest_end + kNewestSlots), is_it)) return found;
  for_each(*open, 0, std::min(search_limit, newest_begin), is_it);
  return found;
}

}  // namespace hyperward::guest
