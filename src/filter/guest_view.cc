#include "filter/guest_view.h"

#include <algorithm>
#include <cstring>

#include <spdlog/spdlog.h>

namespace hyperward::filter {
namespace {

constexpr size_t kLogLineMaxBytes = 512;

GuestView& view_of(hyperward_view* view) {
  return *static_cast<GuestView*>(view);
}

// Fills as much of the caller's struct as both sides know; its `size` stays the caller's.
template <typename T>
void fill(T* out, const T& value) {
  constexpr size_t kSizeBytes = sizeof(out->size);
  const size_t known = std::min<size_t>(out->size, sizeof(T));
  if (known > kSizeBytes)
    std::memcpy(reinterpret_cast<char*>(out) + kSizeBytes, reinterpret_cast<const char*>(&value) + kSizeBytes,
                known - kSizeBytes);
}

uint64_t boot_of(hyperward_view* view) {
  return view_of(view).boot();
}

void owner_of(hyperward_view* view, hyperward_owner* owner) {
  fill(owner, view_of(view).question().owner);
}

void remark(hyperward_view* view, uint8_t verdict, uint32_t code) {
  const auto said = verdict == HYPERWARD_DENY ? policy::Verdict::kDeny : policy::Verdict::kAllow;
  view_of(view).answer().remark({said, code});
}

int error_of(const Error& error) {
  switch (error.code) {
    case Code::kInvalid: return -HYPERWARD_INVALID;
    case Code::kNotFound: return -HYPERWARD_NOT_FOUND;
    case Code::kInconsistent: return -HYPERWARD_INCONSISTENT;
    case Code::kLimit: return -HYPERWARD_LIMIT;
    case Code::kUnsupported: return -HYPERWARD_UNSUPPORTED;
    default: return -HYPERWARD_UNREADABLE;
  }
}

void copy_comm(std::string_view comm, char (&out)[16]) {
  comm.copy(out, sizeof(out) - 1);
}

hyperward_task to_abi(const guest::TaskInfo& task) {
  hyperward_task abi{};
  abi.size = sizeof(abi);
  abi.pid = task.pid;
  abi.parent_pid = task.parent_pid;
  abi.uid = task.uid;
  abi.gid = task.gid;
  abi.kernel_thread = task.kernel_thread ? 1 : 0;
  abi.address = task.address.value;
  abi.parent = task.parent.value;
  abi.start_time_ns = task.start_time_ns;
  copy_comm(task.comm, abi.comm);
  return abi;
}

// The text with its NUL, or nothing of it.
int copy_path(const Result<std::string>& path, char* out, size_t room) {
  if (!path) return error_of(path.error());
  if (path->size() >= room) return -HYPERWARD_LIMIT;
  std::memcpy(out, path->c_str(), path->size() + 1);
  return static_cast<int>(path->size());
}

int for_each_task(hyperward_view* view, hyperward_visit_task visit, void* context) {
  const guest::Guest* const guest = view_of(view).guest();
  if (guest == nullptr) return -HYPERWARD_UNREADABLE;
  const auto done = guest->for_each_task([&](const guest::TaskInfo& task) {
    const hyperward_task abi = to_abi(task);
    return visit(context, &abi) != 0;
  });
  return done ? 0 : error_of(done.error());
}

int give(const Result<guest::TaskInfo>& found, hyperward_task* task) {
  if (!found) return error_of(found.error());
  fill(task, to_abi(*found));
  return 0;
}

int task_by_pid(hyperward_view* view, uint32_t pid, hyperward_task* task) {
  const guest::Guest* const guest = view_of(view).guest();
  return guest == nullptr ? -HYPERWARD_UNREADABLE : give(guest->task(pid), task);
}

int task_at(hyperward_view* view, uint64_t address, hyperward_task* task) {
  const guest::Guest* const guest = view_of(view).guest();
  return guest == nullptr ? -HYPERWARD_UNREADABLE : give(guest->task_at({address}), task);
}

int for_each_file(hyperward_view* view, uint64_t task, hyperward_visit_file visit, void* context) {
  const guest::Guest* const guest = view_of(view).guest();
  if (guest == nullptr) return -HYPERWARD_UNREADABLE;
  const auto done = guest->for_each_file({task}, [&](const guest::OpenFile& file) {
    const hyperward_file abi{
        .size = sizeof(abi), .fd = file.fd, .address = file.file.value, .inode = file.inode, .socket = file.sock.value};
    return visit(context, &abi) != 0;
  });
  return done ? 0 : error_of(done.error());
}

int socket_at(hyperward_view* view, uint64_t sock, hyperward_socket* out) {
  const guest::Guest* const guest = view_of(view).guest();
  if (guest == nullptr) return -HYPERWARD_UNREADABLE;
  const auto found = guest->socket({sock});
  if (!found) return error_of(found.error());
  hyperward_socket abi{};
  abi.size = sizeof(abi);
  abi.protocol = static_cast<uint8_t>(found->protocol);
  abi.state = static_cast<uint8_t>(found->state);
  abi.local_port = found->local.port;
  abi.remote_port = found->remote.port;
  std::ranges::copy(found->local.address.bytes(), abi.local_address);
  std::ranges::copy(found->remote.address.bytes(), abi.remote_address);
  abi.uid = found->uid;
  abi.network_namespace = found->network_namespace;
  abi.inode = found->inode;
  fill(out, abi);
  return 0;
}

int executable(hyperward_view* view, uint64_t task, char* path, size_t room) {
  const guest::Guest* const guest = view_of(view).guest();
  return guest == nullptr ? -HYPERWARD_UNREADABLE : copy_path(guest->executable({task}), path, room);
}

int cgroup(hyperward_view* view, uint64_t task, char* path, size_t room) {
  const guest::Guest* const guest = view_of(view).guest();
  return guest == nullptr ? -HYPERWARD_UNREADABLE : copy_path(guest->cgroup({task}), path, room);
}

int field(hyperward_view* view, const char* type, const char* path, hyperward_field* out) {
  const guest::Guest* const guest = view_of(view).guest();
  if (guest == nullptr) return -HYPERWARD_UNREADABLE;
  const auto found = guest->field(type, path);
  if (!found) return error_of(found.error());
  *out = {.offset_bytes = found->offset_bytes, .size_bytes = found->size_bytes};
  return 0;
}

int symbol(hyperward_view* view, const char* name, uint64_t* address) {
  const guest::Guest* const guest = view_of(view).guest();
  if (guest == nullptr) return -HYPERWARD_UNREADABLE;
  const auto found = guest->symbol(name);
  if (!found) return error_of(found.error());
  *address = found->value;
  return 0;
}

int read(hyperward_view* view, uint64_t address, void* out, size_t bytes) {
  const guest::Guest* const guest = view_of(view).guest();
  if (guest == nullptr) return -HYPERWARD_UNREADABLE;
  const auto done = guest->read({address}, std::span(static_cast<std::byte*>(out), bytes));
  return done ? 0 : error_of(done.error());
}

void log(const char* line) {
  spdlog::info("module: {}", guest::printable(std::string_view(line, ::strnlen(line, kLogLineMaxBytes))));
}

}  // namespace

const hyperward_host& GuestView::host() {
  static constexpr hyperward_host kHost{
      .size = sizeof(hyperward_host),
      .abi = HYPERWARD_ABI,
      .boot = boot_of,
      .owner = owner_of,
      .for_each_task = for_each_task,
      .task_by_pid = task_by_pid,
      .task_at = task_at,
      .for_each_file = for_each_file,
      .socket_at = socket_at,
      .executable = executable,
      .cgroup = cgroup,
      .field = field,
      .symbol = symbol,
      .read = read,
      .remark = remark,
      .log = log,
  };
  return kHost;
}

}  // namespace hyperward::filter
