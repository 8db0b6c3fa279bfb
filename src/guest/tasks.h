// The processes of the guest: the kernel's task list, and what a task_struct tells.
//
// init_task.tasks links the leader of every thread group, oldest first. The guest adds and removes tasks while we
// walk, so each step is confirmed by its back-pointer (next->prev == here: a task that left the list has its `prev`
// poisoned, include/linux/rculist.h), and a walk that fails the test starts again.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "guest/kernel_memory.h"
#include "guest/layout.h"
#include "guest/types.h"

namespace hyperward::guest {

// A copy of what a task_struct says.
struct Task {
  GuestVirtual address;
  uint32_t pid = 0;   // of the thread
  uint32_t tgid = 0;  // of its process: what user space calls the pid
  GuestVirtual cred;
  GuestVirtual files;  // files_struct; null once the task has exited
  GuestVirtual signal;
  GuestVirtual real_parent;
  GuestVirtual leader;  // of its thread group
  GuestVirtual next;    // the nodes beside its own in the task list
  GuestVirtual previous;
  uint64_t start_time_ns = 0;
  std::array<char, kCommBytes> comm{};

  [[nodiscard]] std::string_view name() const;
  [[nodiscard]] bool leads_group() const { return pid == tgid; }
};

class Tasks {
 public:
  static constexpr size_t kMaxTasks = 1 << 18;
  static constexpr size_t kMaxThreads = 1 << 16;  // of one process
  static constexpr uint32_t kMaxPid = 1 << 22;    // PID_MAX_LIMIT, include/linux/threads.h
  static constexpr int kMaxRestarts = 16;
  static constexpr int kMaxLockLooks = 256;
  static constexpr size_t kMaxArgumentsBytes = 1 << 16;

  Tasks(const KernelMemory& memory, const Layout& layout, const Roots& roots)
      : memory_(memory), layout_(layout), roots_(roots) {}

  // Nothing when it is unreadable or its numbers cannot be a task's.
  [[nodiscard]] std::optional<Task> read(GuestVirtual task) const;

  // Every process, oldest first, without the idle task. kInconsistent when the list kept changing or does not link up,
  // kLimit beyond kMaxTasks.
  [[nodiscard]] Result<std::vector<Task>> all() const;

  // The processes that started last, newest first, `limit` at most; fewer when the list changes under it.
  template <typename Visit>  // bool(const Task&): true to stop
  void newest(size_t limit, Visit&& visit) const {
    const GuestVirtual head = roots_.init_task + layout_.task.tasks;
    GuestVirtual expected_next = head;
    auto node = memory_.read<GuestVirtual>(head + sizeof(uint64_t));
    for (size_t i = 0; i < limit && node && *node != head; ++i) {
      const auto task = read(*node - layout_.task.tasks);
      if (!task || task->next != expected_next) return;
      if (visit(*task)) return;
      expected_next = *node;
      node = task->previous;
    }
  }

  // The threads of a process, its leader among them; fewer when the list changes under it.
  [[nodiscard]] std::vector<Task> threads(const Task& leader) const;
  [[nodiscard]] uint32_t thread_count(const Task& leader) const;

  [[nodiscard]] Process describe(const Task& task) const;

 private:
  [[nodiscard]] Result<std::vector<Task>> walk_once() const;
  void wait_for_writer() const;
  [[nodiscard]] char state_of(const Task& task) const;
  [[nodiscard]] std::vector<std::string> arguments(GuestVirtual mm) const;
  [[nodiscard]] std::string user_bytes(GuestVirtual page_tables, uint64_t begin, uint64_t end) const;

  const KernelMemory& memory_;
  const Layout& layout_;
  const Roots& roots_;
};

}  // namespace hyperward::guest
