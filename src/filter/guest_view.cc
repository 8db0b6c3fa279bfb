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

int field(hyperward_view* view, const char* type, const char* path, hyperward_field* out) {
  const guest::Guest* const guest = view_of(view).guest();
  if (guest == nullptr) return -HYPERWARD_UNREADABLE;
  const auto found = guest->kernel().types().field(type, path);
  if (!found) return error_of(found.error());
  if (found->bit_size != 0) return -HYPERWARD_UNSUPPORTED;
  *out = {.offset_bytes = found->offset_bytes, .size_bytes = found->size_bytes};
  return 0;
}

int symbol(hyperward_view* view, const char* name, uint64_t* address) {
  const guest::Guest* const guest = view_of(view).guest();
  if (guest == nullptr) return -HYPERWARD_UNREADABLE;
  const auto found = guest->kernel().symbol(name);
  if (!found) return -HYPERWARD_NOT_FOUND;
  *address = found->value;
  return 0;
}

int read(hyperward_view* view, uint64_t address, void* out, size_t bytes) {
  const guest::Guest* const guest = view_of(view).guest();
  if (guest == nullptr) return -HYPERWARD_UNREADABLE;
  const std::span<std::byte> room(static_cast<std::byte*>(out), bytes);
  return guest->kernel().read({address}, room) ? 0 : -HYPERWARD_UNREADABLE;
}

void log(const char* line) {
  spdlog::info("module: {}", guest::printable(std::string_view(line, ::strnlen(line, kLogLineMaxBytes))));
}

// TODO before release of the interface: these wait for guest::Guest to walk files and paths.
int for_each_task(hyperward_view*, hyperward_visit_task, void*) {
  return -HYPERWARD_UNSUPPORTED;
}
int task_by_pid(hyperward_view*, uint32_t, hyperward_task*) {
  return -HYPERWARD_UNSUPPORTED;
}
int task_at(hyperward_view*, uint64_t, hyperward_task*) {
  return -HYPERWARD_UNSUPPORTED;
}
int for_each_file(hyperward_view*, uint64_t, hyperward_visit_file, void*) {
  return -HYPERWARD_UNSUPPORTED;
}
int socket_at(hyperward_view*, uint64_t, hyperward_socket*) {
  return -HYPERWARD_UNSUPPORTED;
}
int path_of(hyperward_view*, uint64_t, char*, size_t) {
  return -HYPERWARD_UNSUPPORTED;
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
      .executable = path_of,
      .cgroup = path_of,
      .field = field,
      .symbol = symbol,
      .read = read,
      .remark = remark,
      .log = log,
  };
  return kHost;
}

}  // namespace hyperward::filter
