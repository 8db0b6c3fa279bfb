#include "guest/tasks.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace hyperward::guest {
namespace {

constexpr uint32_t kKernelThreadFlag = 0x00200000;  // PF_KTHREAD, include/linux/sched.h
constexpr uint64_t kUserEnd = uint64_t{1} << 56;    // of the largest address space, TASK_SIZE_MAX
constexpr std::byte kWriterHolds{0xff};             // _QW_LOCKED, include/asm-generic/qrwlock.h

}  // namespace

std::string_view Task::name() const {
  return {comm.data(), static_cast<size_t>(std::find(comm.begin(), comm.end() - 1, '\0') - comm.begin())};
}

std::optional<Task> Tasks::read(GuestVirtual address) const {
  const auto& at = layout_.task;
  Copy<kMaxTaskExtentBytes> copy;
  if (!copy.load(memory_, address, at.extent)) return std::nullopt;
  Task task{.address = address,
            .pid = copy.at<uint32_t>(at.pid),
            .tgid = copy.at<uint32_t>(at.tgid),
            .cred = copy.pointer(at.cred),
            .files = copy.pointer(at.files),
            .signal = copy.pointer(at.signal),
            .real_parent = copy.pointer(at.real_parent),
            .leader = copy.pointer(at.group_leader),
            .next = copy.pointer(at.tasks),
            .previous = copy.pointer(at.tasks + sizeof(uint64_t)),
            .start_time_ns = copy.at<uint64_t>(at.start_time),
            .comm = copy.at<std::array<char, kCommBytes>>(at.comm)};
  if (task.pid > kMaxPid || task.tgid > kMaxPid) return std::nullopt;
  return task;
}

Result<std::optional<Task>> TaskWalk::next() {
  while (here_.is_null() ? step_back() : true) {
    if (next_ == head_) return std::nullopt;
    const auto task = tasks_.read(next_ - layout_.task.tasks);
    if (task && task->previous == here_) {
      // A thread that execs takes the place, the pid and the age of its leader (de_thread() in fs/exec.c).
      const bool again =
          visited_ != 0 && latest(0).tgid == task->tgid && latest(0).start_time_ns == task->start_time_ns;
      if (visited_ == Tasks::kMaxTasks)
        return fail(Code::kLimit, "the task list has more than {} tasks", Tasks::kMaxTasks);
      trail_[visited_++ % kTrail] = {next_, task->tgid, task->start_time_ns};
      here_ = std::exchange(next_, task->next);
      if (again) continue;
      return task;
    }
    if (++steps_back_ > kMaxStepsBack || memory_.refused()) break;
    memory_.forget();
    if (!step_back()) break;
  }
  if (visited_ == 0 && here_.is_null())
    return fail(Code::kUnreadable, "init_task's list {:#x} is not there", head_.value);
  return fail(Code::kInconsistent, "the task list changed, or does not link up, at {:#x}", next_.value);
}

// To the last task of the trail that is still linked, or to where the list begins if all of the trail is known.
bool TaskWalk::step_back() {
  for (size_t back = 0; back < std::min(visited_, kTrail); ++back) {
    const Visited& seen = latest(back);
    const auto task = tasks_.read(seen.node - layout_.task.tasks);
    if (!task || task->tgid != seen.tgid || task->start_time_ns != seen.start_time_ns) continue;
    if (memory_.read<GuestVirtual>(task->previous) != seen.node) continue;
    here_ = seen.node;
    next_ = task->next;
    return true;
  }
  const auto first = memory_.read<GuestVirtual>(head_);
  if (!first || visited_ > kTrail) return false;
  here_ = head_;
  next_ = *first;
  return true;
}

// A writer of the list is at work: give it a moment. In a dump, or when its vCPU sleeps, the wait ends by its limit;
// the back-pointers are what the walk relies on.
void Tasks::wait_for_writer() const {
  if (roots_.tasklist_lock.is_null() || !layout_.writer_byte) return;
  for (int look = 0; look < kMaxLockLooks; ++look) {
    const auto writer = memory_.read<std::byte>(roots_.tasklist_lock + *layout_.writer_byte);
    if (!writer || *writer != kWriterHolds) return;
    memory_.forget();
  }
}

Result<std::vector<Task>> Tasks::all() const {
  std::vector<Task> tasks;
  HW_OK(for_each([&](const Task& task) {
    tasks.push_back(task);
    return false;
  }));
  return tasks;
}

std::optional<Task> Tasks::first() const {
  const auto node = memory_.read<GuestVirtual>(roots_.init_task + layout_.task.tasks);
  const auto task = node ? read(*node - layout_.task.tasks) : std::nullopt;
  return task && task->tgid == 1 ? task : std::nullopt;
}

Result<Task> Tasks::process_at(GuestVirtual leader) const {
  const auto task = read(leader);
  const GuestVirtual node = leader + layout_.task.tasks;
  if (!task || task->leader != leader || memory_.read<GuestVirtual>(task->previous) != node)
    return fail(Code::kNotFound, "no process runs at {:#x}", leader.value);
  return *task;
}

uint32_t Tasks::thread_count(const Task& leader) const {
  return memory_.read<uint32_t>(leader.signal + layout_.signal.thread_count).value_or(0);
}

std::vector<Task> Tasks::threads(const Task& leader) const {
  std::vector<Task> threads;
  const GuestVirtual head = leader.signal + layout_.signal.thread_head;
  auto node = memory_.read<GuestVirtual>(head);
  while (node && *node != head && threads.size() < kMaxThreads) {
    const auto thread = read(*node - layout_.task.thread_node);
    if (!thread || thread->tgid != leader.tgid || thread->signal != leader.signal) break;
    threads.push_back(*thread);
    node = memory_.read<GuestVirtual>(*node);
  }
  return threads;
}

// fs/proc/array.c task_state_array, by __task_state_index() of include/linux/sched.h.
char Tasks::state_of(const Task& task) const {
  constexpr uint32_t kReported = 0x7f;                         // TASK_REPORT: R, S, D, T, t, X, Z, P
  constexpr uint32_t kIdle = 0x402;                            // TASK_IDLE: uninterruptible, no load
  constexpr uint32_t kOtherUninterruptible = 0x1000 | 0x8000;  // TASK_RTLOCK_WAIT, TASK_FROZEN
  constexpr std::string_view kLetters = "RSDTtXZP";
  const auto state = memory_.read<uint32_t>(task.address + layout_.task.state);
  const auto exit_state = memory_.read<uint32_t>(task.address + layout_.task.exit_state);
  if (!state || !exit_state) return '?';
  if ((*state & kIdle) == kIdle) return 'I';
  if ((*state & kOtherUninterruptible) != 0) return 'D';
  return kLetters[static_cast<size_t>(std::bit_width((*state | *exit_state) & kReported))];
}

// As much as is present: user memory may be swapped out, or be gone by now.
std::string Tasks::user_bytes(GuestVirtual page_tables, uint64_t begin, uint64_t end) const {
  std::string bytes;
  while (begin < end) {
    const uint64_t page_end = (begin | (memory::kPageSize - 1)) + 1;
    const size_t piece = static_cast<size_t>(std::min(end, page_end) - begin);
    const size_t have = bytes.size();
    bytes.resize(have + piece);
    if (!memory_.read_user(page_tables, {begin}, std::as_writable_bytes(std::span(bytes).subspan(have)))) {
      bytes.resize(have);
      break;
    }
    begin += piece;
  }
  return bytes;
}

// As /proc/PID/cmdline has it (get_mm_cmdline() in fs/proc/base.c): the arguments, or, once the process has written
// over the NUL at their end, the one text that begins there and may go on through the environment.
std::vector<std::string> Tasks::arguments(GuestVirtual mm) const {
  const auto page_tables = memory_.read<GuestVirtual>(mm + layout_.mm.pgd);
  const auto begin = memory_.read<uint64_t>(mm + layout_.mm.arg_start);
  const auto end = memory_.read<uint64_t>(mm + layout_.mm.arg_end);
  const auto environment_end = memory_.read<uint64_t>(mm + layout_.mm.env_end);
  if (!page_tables || !begin || !end || !environment_end || *begin >= *end) return {};
  if (*end > kUserEnd || *environment_end > kUserEnd) return {};

  std::string bytes = user_bytes(*page_tables, *begin, *begin + std::min(*end - *begin, kMaxArgumentsBytes));
  const bool complete = bytes.size() == *end - *begin;
  if (complete && bytes.back() != '\0') {
    if (*environment_end > *end)
      bytes += user_bytes(*page_tables, *end, *end + std::min(*environment_end - *end, kMaxArgumentsBytes));
    return {bytes.substr(0, bytes.find('\0'))};
  }
  std::vector<std::string> arguments;
  for (size_t from = 0; from < bytes.size();) {
    const size_t nul = std::min(bytes.find('\0', from), bytes.size());
    arguments.push_back(bytes.substr(from, nul - from));
    from = nul + 1;
  }
  return arguments;
}

Process Tasks::describe(const Task& task) const {
  Process process{.task = task.address,
                  .pid = task.tgid,
                  .state = state_of(task),
                  .comm = std::string(task.name()),
                  .args = {},
                  .start_time_ns = task.start_time_ns,
                  .threads = thread_count(task)};
  if (const auto parent = read(task.real_parent)) process.parent_pid = parent->tgid;
  const auto& at = layout_.cred;
  Copy<kMaxSmallExtentBytes> cred;
  if (cred.load(memory_, task.cred, at.extent)) {
    process.uid = cred.at<uint32_t>(at.uid);
    process.gid = cred.at<uint32_t>(at.gid);
    process.effective_uid = cred.at<uint32_t>(at.euid);
    process.effective_gid = cred.at<uint32_t>(at.egid);
  }
  process.kernel_thread = is_kernel_thread(task);
  if (const auto mm = memory_of(task)) process.args = arguments(*mm);
  return process;
}

TaskInfo Tasks::summarize(const Task& task) const {
  TaskInfo info{.address = task.address,
                .pid = task.tgid,
                .comm = std::string(task.name()),
                .start_time_ns = task.start_time_ns,
                .kernel_thread = is_kernel_thread(task)};
  if (const auto parent = read(task.real_parent)) {
    info.parent = parent->leader;
    info.parent_pid = parent->tgid;
  }
  const auto& at = layout_.cred;
  Copy<kMaxSmallExtentBytes> cred;
  if (cred.load(memory_, task.cred, at.extent)) {
    info.uid = cred.at<uint32_t>(at.uid);
    info.gid = cred.at<uint32_t>(at.gid);
  }
  return info;
}

bool Tasks::is_kernel_thread(const Task& task) const {
  const auto flags = memory_.read<uint32_t>(task.address + layout_.task.flags);
  return flags && (*flags & kKernelThreadFlag) != 0;
}

std::optional<GuestVirtual> Tasks::memory_of(const Task& task) const {
  const auto mm = memory_.read<GuestVirtual>(task.address + layout_.task.mm);
  if (!mm || mm->is_null() || is_kernel_thread(task)) return std::nullopt;
  return mm;
}

}  // namespace hyperward::guest
