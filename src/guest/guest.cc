#include "guest/guest.h"

#include "guest/addresses.h"
#include "guest/files.h"
#include "guest/flows.h"
#include "guest/inventory.h"
#include "guest/kernel_memory.h"
#include "guest/layout.h"
#include "guest/namespaces.h"
#include "guest/owners.h"
#include "guest/page_cache.h"
#include "guest/tasks.h"
#include "guest/tcp_sockets.h"
#include "guest/udp_sockets.h"
#include "guest/users.h"

namespace hyperward::guest {
namespace {

class MemoryOfKernel final : public KernelMemory {
 public:
  explicit MemoryOfKernel(const kernel::Kernel& kernel) : kernel_(kernel) {}

  [[nodiscard]] bool read_user(GuestVirtual page_tables, GuestVirtual address,
                               std::span<std::byte> out) const override {
    return kernel_.user_space(page_tables).read(address, out);
  }
  void forget() const override { kernel_.memory().forget(); }

 protected:
  [[nodiscard]] bool do_read(GuestVirtual address, std::span<std::byte> out) const override {
    return kernel_.read(address, out);
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
  Result<PageCacheLayout> page_cache =
      PageCacheLayout::resolve(kernel->types(), [this](std::string_view name) { return kernel->symbol(name); }, memory);
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
  HW_TRY(const std::vector<Task> tasks, parts_->tasks.all());
  std::vector<Process> processes;
  processes.reserve(tasks.size());
  for (const Task& task : tasks) processes.push_back(parts_->tasks.describe(task));
  return processes;
}

Result<std::vector<Socket>> Guest::sockets() const {
  return parts_->inventory.sockets();
}

Owner Guest::owner(Protocol protocol, const Endpoint& local, const Endpoint& remote) {
  return parts_->flows.owner(protocol, local, remote);
}

Result<std::vector<User>> Guest::users() const {
  parts_->memory.forget();
  if (!parts_->page_cache) return std::unexpected(parts_->page_cache.error());
  HW_TRY(const std::string passwd, PageCache(parts_->memory, *parts_->page_cache, parts_->tasks).read("/etc/passwd"));
  return parse_passwd(passwd);
}

bool Guest::listens(Protocol protocol, const Endpoint& local) const {
  return parts_->flows.listens(protocol, local);
}

uint64_t Guest::reads() const {
  return parts_->memory.reads();
}

}  // namespace hyperward::guest
