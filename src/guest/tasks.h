// The processes of the guest: the kernel's task list, and what a task_struct tells.
//
// init_task.tasks links the leader of every thread group, oldest first. The guest adds and removes tasks while we
// walk, so each step is confirmed by its back-pointer (next->prev == here: a task that left the list has its `prev`
// poisoned, include/linux/rculist.h). A walk that fails the test goes back to the last task that it has seen and that
// is still linked, and on from there. New tasks join at the end and none changes its place, so nothing is seen twice
// and nothing is left out that was there all the time.
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

class Tasks;

// Stands in the task list and goes through it task by task.
class TaskWalk {
 public:
  static constexpr size_t kTrail = 64;       // tasks it could go back to
  static constexpr int kMaxStepsBack = 256;  // of one walk

  TaskWalk(const KernelMemory& memory, const Layout& layout, const Roots& roots, const Tasks& tasks)
      : memory_(memory), layout_(layout), tasks_(tasks), head_(roots.init_task + layout.task.tasks) {}

  // The next process, oldest first, without the idle task; nothing at the end. kInconsistent when the list kept
  // changing or does not link up, kLimit beyond Tasks::kMaxTasks.
  [[nodiscard]] Result<std::optional<Task>> next();

 private:
  struct Visited {
    GuestVirtual node;
    uint32_t tgid = 0;
    uint64_t start_time_ns = 0;
  };

  [[nodiscard]] bool step_back();
  [[nodiscard]] const Visited& latest(size_t back) const { return trail_[(visited_ - 1 - back) % kTrail]; }

  const KernelMemory& memory_;
  const Layout& layout_;
  const Tasks& tasks_;
  GuestVirtual head_;
  GuestVirtual here_{};  // the node it stands on; null before the first step
  GuestVirtual next_{};
  size_t visited_ = 0;
  int steps_back_ = 0;
  std::array<Visited, kTrail> trail_{};
};

class Tasks {
 public:
  static constexpr size_t kMaxTasks = 1 << 18;
  static constexpr size_t kMaxThreads = 1 << 16;  // of one process
  static constexpr uint32_t kMaxPid = 1 << 22;    // PID_MAX_LIMIT, include/linux/threads.h
  static constexpr int kMaxLockLooks = 256;
  static constexpr size_t kMaxArgumentsBytes = 1 << 16;

  Tasks(const KernelMemory& memory, const Layout& layout, const Roots& roots)
      : memory_(memory), layout_(layout), roots_(roots) {}

  // Nothing when it is unreadable or its numbers cannot be a task's.
  [[nodiscard]] std::optional<Task> read(GuestVirtual task) const;

  // Process 1; nothing before it is made.
  [[nodiscard]] std::optional<Task> first() const;
  // The process whose leader's task_struct lies there, if the task list links it, or the idle task; kNotFound else. So
  // no address that was made up gets further than here.
  [[nodiscard]] Result<Task> process_at(GuestVirtual leader) const;

  // Visits every process as a TaskWalk does, and ends with its errors.
  template <typename Visit>  // bool(const Task&): true to stop
  [[nodiscard]] Result<void> for_each(Visit&& visit) const {
    wait_for_writer();
    TaskWalk walk(memory_, layout_, roots_, *this);
    while (true) {
      HW_TRY(const std::optional<Task> task, walk.next());
      if (!task || visit(*task)) return {};
    }
  }
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
  [[nodiscard]] TaskInfo summarize(const Task& task) const;  // less than describe(), in four reads

  // It may use a process's memory for a while, and is none all the same.
  [[nodiscard]] bool is_kernel_thread(const Task& task) const;
  // Its mm_struct; nothing for a kernel thread and for a process that has exited.
  [[nodiscard]] std::optional<GuestVirtual> memory_of(const Task& task) const;

 private:
  void wait_for_writer() const;
  [[nodiscard]] char state_of(const Task& task) const;
  [[nodiscard]] std::vector<std::string> arguments(GuestVirtual mm) const;
  [[nodiscard]] std::string user_bytes(GuestVirtual page_tables, uint64_t begin, uint64_t end) const;

  const KernelMemory& memory_;
  const Layout& layout_;
  const Roots& roots_;
};

}  // namespace hyperward::guest
