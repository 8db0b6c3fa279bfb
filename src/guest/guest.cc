#include "guest/guest.h"

#include <utility>

#include "guest/addresses.h"
#include "guest/cgroups.h"
#include "guest/files.h"
#include "guest/flows.h"
#include "guest/inventory.h"
#include "guest/kernel_memory.h"
#include "guest/layout.h"
#include "guest/namespaces.h"
#include "guest/owners.h"
#include "guest/page_cache.h"
#include "guest/paths.h"
#include "guest/tasks.h"
#include "guest/tcp_sockets.h"
#include "guest/udp_sockets.h"
#include "guest/users.h"

namespace hyperward::guest {
namespace {

class MemoryOfKernel final : public KernelMemory {
 public:
  explicit MemoryOfKernel(const kernel::Kernel& kernel) : kernel_(kernel) {}

  void forget() const override { kernel_.memory().forget(); }

 protected:
  [[nodiscard]] bool do_read(GuestVirtual address, std::span<std::byte> out) const override {
    return kernel_.read(address, out);
  }
  [[nodiscard]] bool do_read_user(GuestVirtual page_tables, GuestVirtual address,
                                  std::span<std::byte> out) const override {
    return kernel_.user_space(page_tables).read(address, out);
  }

 private:
  const kernel::Kernel& kernel_;
};

}  // namespace

// In the order in which they stand on one another.
struct Guest::Parts {
  Parts(std::unique_ptr<memory::PhysicalMemory> ram_, std::unique_ptr<kernel::Kernel> kernel_, const Layout& layout_,
        const Roots& roots_)
      : ram(std::move(ram_)), kernel(std::move(kernel_)), layout(layout_), roots(roots_) {}

  std::unique_ptr<memory::PhysicalMemory> ram;
  std::unique_ptr<kernel::Kernel> kernel;
  Layout layout;
  Roots roots;
  MemoryOfKernel memory{*kernel};
  Tasks tasks{memory, layout, roots};
  Files files{memory, layout};
  Namespaces namespaces{memory, layout, roots};
  TcpSockets tcp{memory, layout, roots};
  UdpSockets udp{memory, layout};
  Addresses addresses{memory, layout, roots};
  Owners owners{memory, layout, roots, tasks, files};
  Flows flows{memory, layout, namespaces, tcp, udp, addresses, owners};
  Inventory inventory{memory, layout, namespaces, tcp, udp, tasks, files};
  FindSymbol find_symbol = [this](std::string_view name) { return kernel->symbol(name); };
  // What a guest can be guarded without.
  Result<PageCacheLayout> page_cache = PageCacheLayout::resolve(kernel->types(), find_symbol, memory);
  Result<PathLayout> paths = PathLayout::resolve(kernel->types(), find_symbol);
  Result<CgroupLayout> cgroups = CgroupLayout::resolve(kernel->types());

  // The process at an address that came from outside, as the guest is now.
  [[nodiscard]] Result<Task> process_at(GuestVirtual address) const {
    memory.forget();
    return within_budget(tasks.process_at(address));
  }
  // What a look gives, unless it could not read all that it wanted.
  template <typename T>
  [[nodiscard]] Result<T> within_budget(Result<T> result) const {
    if (memory.refused()) return fail(Code::kLimit, "the budget of reads is spent");
    return result;
  }
};

Result<std::unique_ptr<Guest>> Guest::attach(std::unique_ptr<memory::PhysicalMemory> memory) {
  HW_TRY(std::unique_ptr<kernel::Kernel> kernel, kernel::Kernel::attach(*memory));
  HW_TRY(const Layout layout, Layout::resolve(kernel->types()));
  HW_TRY(const Roots roots, Roots::resolve(
                                kernel->types(), [&](std::string_view name) { return kernel->symbol(name); },
                                [&](std::string_view name) { return kernel->symbol_with_suffix(name); }));
  auto parts = std::make_unique<Parts>(std::move(memory), std::move(kernel), layout, roots);
  HW_OK(parts->owners.index_credentials());
  return std::unique_ptr<Guest>(new Guest(std::move(parts)));
}

Guest::Guest(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Guest::~Guest() = default;

const kernel::Kernel& Guest::kernel() const {
  return *parts_->kernel;
}

Result<std::vector<Process>> Guest::processes() const {
  parts_->memory.forget();
  std::vector<Process> processes;
  HW_OK(parts_->within_budget(parts_->tasks.for_each([&](const Task& task) {
    processes.push_back(parts_->tasks.describe(task));
    return false;
  })));
  return processes;
}

Result<std::vector<Socket>> Guest::sockets() const {
  return parts_->within_budget(parts_->inventory.sockets());
}

Result<void> Guest::for_each_task(const VisitTask& visit) const {
  parts_->memory.forget();
  return parts_->within_budget(
      parts_->tasks.for_each([&](const Task& task) { return visit(parts_->tasks.summarize(task)); }));
}

Result<TaskInfo> Guest::task(uint32_t pid) const {
  std::optional<Task> found;
  parts_->memory.forget();
  HW_OK(parts_->within_budget(parts_->tasks.for_each([&](const Task& task) {
    if (task.tgid == pid) found = task;
    return found.has_value();
  })));
  if (!found) return fail(Code::kNotFound, "the guest has no process {}", pid);
  return parts_->within_budget<TaskInfo>(parts_->tasks.summarize(*found));
}

Result<TaskInfo> Guest::task_at(GuestVirtual address) const {
  HW_TRY(const Task task, parts_->process_at(address));
  return parts_->within_budget<TaskInfo>(parts_->tasks.summarize(task));
}

Result<void> Guest::for_each_file(GuestVirtual task_address, const VisitFile& visit) const {
  HW_TRY(const Task task, parts_->process_at(task_address));
  const auto table = parts_->files.table(task.files);
  if (!table) return parts_->within_budget<void>({});
  parts_->files.for_each(*table, 0, table->capacity, [&](uint32_t fd, GuestVirtual address) {
    const auto file = parts_->files.read(address);
    return file && visit({.fd = fd,
                          .file = address,
                          .inode = parts_->files.inode_number(*file),
                          .sock = parts_->files.sock_of(address, *file)});
  });
  return parts_->within_budget<void>({});
}

Result<std::string> Guest::executable(GuestVirtual task_address) const {
  if (!parts_->paths) return std::unexpected(parts_->paths.error());
  HW_TRY(const Task task, parts_->process_at(task_address));
  return parts_->within_budget(Paths(parts_->memory, *parts_->paths, parts_->tasks).executable(task));
}

Result<std::string> Guest::cgroup(GuestVirtual task_address) const {
  if (!parts_->cgroups) return std::unexpected(parts_->cgroups.error());
  HW_TRY(const Task task, parts_->process_at(task_address));
  return parts_->within_budget(Cgroups(parts_->memory, *parts_->cgroups).path(task));
}

Result<Socket> Guest::socket(GuestVirtual sock) const {
  return parts_->within_budget(parts_->inventory.socket(sock));
}

Owner Guest::owner(Protocol protocol, const Endpoint& local, const Endpoint& remote) {
  return parts_->flows.owner(protocol, local, remote);
}

Result<std::vector<User>> Guest::users() const {
  parts_->memory.forget();
  if (!parts_->page_cache) return std::unexpected(parts_->page_cache.error());
  HW_TRY(const std::string passwd,
         parts_->within_budget(PageCache(parts_->memory, *parts_->page_cache, parts_->tasks).read("/etc/passwd")));
  return parse_passwd(passwd);
}

Result<kernel::Field> Guest::field(std::string_view type, std::string_view path) const {
  HW_TRY(const kernel::Field field, parts_->kernel->types().field(type, path));
  if (field.bit_size != 0) return fail(Code::kUnsupported, "{}.{} is a bit field", type, path);
  return field;
}

Result<GuestVirtual> Guest::symbol(std::string_view name) const {
  const auto address = parts_->kernel->symbol(name);
  if (!address) return fail(Code::kNotFound, "the kernel has no symbol {}", name);
  return *address;
}

Result<void> Guest::read(GuestVirtual address, std::span<std::byte> out) const {
  if (out.size() > kMaxReadBytes) return fail(Code::kInvalid, "{} bytes are more than {}", out.size(), kMaxReadBytes);
  parts_->memory.forget();
  if (parts_->memory.read(address, out)) return {};
  return parts_->within_budget<void>(
      fail(Code::kUnreadable, "{} bytes at {:#x} are not there", out.size(), address.value));
}

bool Guest::listens(Protocol protocol, const Endpoint& local) const {
  return parts_->flows.listens(protocol, local);
}

uint64_t Guest::reads() const {
  return parts_->memory.reads();
}

ReadBudget::ReadBudget(const Guest& guest, uint64_t reads) : guest_(guest) {
  HW_CHECK(!guest.parts_->memory.is_limited());
  guest.parts_->memory.limit_reads(reads);
}
ReadBudget::~ReadBudget() {
  guest_.parts_->memory.limit_reads(KernelMemory::kUnlimited);
}
bool ReadBudget::spent() const {
  return guest_.parts_->memory.refused();
}

}  // namespace hyperward::guest
