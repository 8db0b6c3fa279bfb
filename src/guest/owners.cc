#include "guest/owners.h"

#include <algorithm>

namespace hyperward::guest {

Result<void> Owners::index_credentials() {
  HW_TRY(const std::vector<Task> processes, tasks_.all());
  for (const Task& leader : processes) {
    // Threads share the leader's credentials until one of them changes its own, as setuid() does in all of them.
    if (tasks_.thread_count(leader) > 1)
      for (const Task& thread : tasks_.threads(leader)) know(thread);
    know(leader);
  }
  return {};
}

void Owners::know(const Task& task) {
  if (by_credentials_.size() >= kMaxIndexed) by_credentials_.clear();
  by_credentials_.insert_or_assign(task.cred.value, Creator{{task.address, task.start_time_ns}, true});
}

void Owners::know_file(GuestVirtual file, const Task& task, uint32_t fd) {
  if (by_file_.size() >= kMaxIndexed) by_file_.clear();
  by_file_.insert_or_assign(file.value, Holding{{task.address, task.start_time_ns}, fd});
}

std::optional<Task> Owners::read(const Known& known) const {
  auto task = tasks_.read(known.task);
  if (!task || task->start_time_ns != known.start_time_ns || task->files.is_null()) return std::nullopt;
  return task;
}

Owner Owners::owner(const SockCommon& sock) {
  return owner(sock, false);
}

Owner Owners::owner_by_walk(const SockCommon& sock) {
  walk_reads_ = kWalkReadsMax;
  return owner(sock, true);
}

Owner Owners::owner(const SockCommon& sock, bool only_walk) {
  walk_reads_ = std::min(walk_reads_ + kWalkReadsPerLookup, kWalkReadsMax);
  Owner owner;
  owner.evidence.socket = sock.address();
  owner.evidence.state = sock.state();
  if (const auto file = file_of(sock, owner)) {
    read_creator(*file, owner);
    const bool named = only_walk ? from_walk(*file, owner)
                                 : from_index(*file, owner) || from_credentials(*file, owner) ||
                                       from_wait_queue(*file, owner) || from_newest_tasks(*file, owner) ||
                                       from_walk(*file, owner);
    if (!named && owner.reason == Reason::kNone) owner.reason = Reason::kNotConfirmed;
  }
  // TCP's socks are made anew in place: was it the same one all the time?
  memory_.forget();
  SockCommon again;
  if (!again.load(memory_, layout_, sock.address()) || !again.same_flow(sock)) {
    owner = {};
    owner.reason = Reason::kInconsistent;
  }
  return owner;
}

// The socket's file, if it has one that points back at it. Sets the uid, and the reason why there is no file.
std::optional<Owners::SocketFile> Owners::file_of(const SockCommon& sock, Owner& owner) const {
  Copy<kMaxSmallExtentBytes> copy;
  owner.reason = Reason::kInconsistent;
  if (!copy.load(memory_, sock.address(), layout_.sock.extent)) return std::nullopt;
  owner.uid = copy.at<uint32_t>(layout_.sock.uid);
  owner.how = How::kSocketOnly;
  SocketFile result;
  result.socket = copy.pointer(layout_.sock.socket);
  if (result.socket.is_null()) {
    owner.reason = (sock.flags() & layout_.sock.dead_flag) != 0 ? Reason::kOrphan : Reason::kNotAccepted;
    return std::nullopt;
  }
  if (!copy.load(memory_, result.socket, layout_.socket.extent)) return std::nullopt;
  if (copy.pointer(layout_.socket.sock) != sock.address()) return std::nullopt;
  result.address = copy.pointer(layout_.socket.file);
  if (result.address.is_null()) {
    owner.reason = Reason::kKernel;
    return std::nullopt;
  }
  const auto file = files_.read(result.address);
  if (!file || file->private_data != result.socket) return std::nullopt;
  result.file = *file;
  owner.reason = Reason::kNone;
  owner.evidence.file = result.address;
  return result;
}

void Owners::read_creator(const SocketFile& file, Owner& owner) const {
  owner.gid = memory_.read<uint32_t>(file.file.credentials + layout_.cred.egid);
  owner.evidence.inode = memory_.read<uint64_t>(file.file.inode + layout_.inode.number).value_or(0);
}

bool Owners::from_index(const SocketFile& file, Owner& owner) {
  const auto known = by_file_.find(file.address.value);
  if (known == by_file_.end()) return false;
  const auto task = read(known->second.holder);
  if (task && files_.holds(task->files, known->second.fd, file.address))
    return name({*task, known->second.fd}, How::kIndex, owner);
  by_file_.erase(known);
  return false;
}

bool Owners::from_credentials(const SocketFile& file, Owner& owner) {
  const GuestVirtual credentials = file.file.credentials;
  if (const auto known = by_credentials_.find(credentials.value); known != by_credentials_.end()) {
    const auto task = read(known->second.task);
    if (!task) by_credentials_.erase(known);
    if (const auto holder = task ? confirm(*task, file) : std::nullopt) {
      // Credentials that are no longer the task's own only hinted at it.
      const How how = task->cred == credentials ? How::kCredentials : How::kIndex;
      return name_and_learn(*holder, file, how, owner);
    }
  }
  std::optional<Holder> holder;
  tasks_.newest(kNewestTasks, [&](const Task& task) {
    if (task.cred != credentials) return false;
    know(task);
    holder = confirm(task, file);
    return true;
  });
  return holder && name_and_learn(*holder, file, How::kCredentials, owner);
}

bool Owners::from_wait_queue(const SocketFile& file, Owner& owner) {
  std::vector<Holder> found;
  const GuestVirtual head = file.socket + layout_.socket.wait_list;
  auto node = memory_.read<GuestVirtual>(head);
  for (size_t i = 0; i < kMaxWaiters && node && *node != head; ++i) {
    const auto task = waiter(*node - layout_.wait.entry, file);
    const auto holder = task ? confirm(*task, file) : std::nullopt;
    const auto same = [&](const Holder& other) { return other.task.tgid == task->tgid; };
    if (holder && std::ranges::none_of(found, same)) found.push_back(*holder);
    node = memory_.read<GuestVirtual>(*node);
  }
  const Holder* chosen = foremost(found);
  return chosen != nullptr && name_and_learn(*chosen, file, How::kWaitQueue, owner);
}

std::optional<Task> Owners::waiter(GuestVirtual entry, const SocketFile& file) {
  Copy<kMaxSmallExtentBytes> copy;
  if (!copy.load(memory_, entry, layout_.wait.extent)) return std::nullopt;
  const GuestVirtual function = copy.pointer(layout_.wait.function);
  const GuestVirtual data = copy.pointer(layout_.wait.private_data);
  if (function.is_null()) return std::nullopt;
  if (function == roots_.ep_poll_callback) return epoll_waiter(entry, file);
  if (function == roots_.pollwake) {
    const auto polling = memory_.read<GuestVirtual>(data + layout_.wait.polling_task);
    return polling ? tasks_.read(*polling) : std::nullopt;
  }
  if (function == roots_.autoremove_wake_function || function == roots_.woken_wake_function ||
      function == roots_.default_wake_function)
    return tasks_.read(data);
  return std::nullopt;
}

// An epoll set has a file of its own that lives long: its process is known by that file, or by its credentials.
std::optional<Task> Owners::epoll_waiter(GuestVirtual entry, const SocketFile& file) {
  const auto& at = layout_.wait;
  if (!at.epoll_wait) return std::nullopt;
  const auto item = memory_.read<GuestVirtual>(entry - *at.epoll_wait + at.epoll_base);
  if (!item || memory_.read<GuestVirtual>(*item + at.epitem_file) != file.address) return std::nullopt;
  const auto epoll = memory_.read<GuestVirtual>(*item + at.epitem_epoll);
  if (!epoll) return std::nullopt;
  const auto epoll_file = memory_.read<GuestVirtual>(*epoll + at.epoll_file);
  if (!epoll_file) return std::nullopt;
  if (const auto known = by_file_.find(epoll_file->value); known != by_file_.end()) return read(known->second.holder);
  const auto opened = files_.read(*epoll_file);
  if (!opened) return std::nullopt;
  const auto known = by_credentials_.find(opened->credentials.value);
  return known != by_credentials_.end() ? read(known->second.task) : std::nullopt;
}

bool Owners::from_newest_tasks(const SocketFile& file, Owner& owner) {
  std::vector<Holder> found;
  tasks_.newest(kNewestTasks, [&](const Task& task) {
    if (const auto holder = confirm(task, file, kMaxFdsOfNewest)) found.push_back(*holder);
    return false;
  });
  const Holder* chosen = foremost(found);
  return chosen != nullptr && name_and_learn(climb(*chosen, file), file, How::kWalk, owner);
}

bool Owners::from_walk(const SocketFile& file, Owner& owner) {
  if (walk_reads_ <= 0) return false;
  const uint64_t reads_before = memory_.reads();
  const auto found = holders(file);
  walk_reads_ -= static_cast<int64_t>(memory_.reads() - reads_before);
  if (!found) return false;

  const Holder* chosen = foremost(*found);
  for (const Holder& holder : *found)
    if (&holder != chosen && owner.others.size() < kMaxOthers)
      owner.others.push_back({holder.task.tgid, holder.fd, std::string(holder.task.name())});
  if (chosen != nullptr) return name_and_learn(*chosen, file, How::kWalk, owner);
  if (!found->empty()) owner.reason = Reason::kAmbiguous;
  return false;
}

// Every process that holds the file, one entry each. Learns on the way whose the credentials are, and where the other
// sockets and epoll sets are.
Result<std::vector<Owners::Holder>> Owners::holders(const SocketFile& file) {
  std::vector<Holder> found;
  uint64_t fds_seen = 0;
  HW_TRY(const std::vector<Task> processes, tasks_.all());
  const auto look_through = [&](const Task& task) {
    const auto table = files_.table(task.files);
    if (!table) return;
    fds_seen += table->capacity;
    std::optional<uint32_t> fd_here;
    files_.for_each(*table, 0, table->capacity, [&](uint32_t fd, GuestVirtual held) {
      if (held == file.address) {
        fd_here = fd_here.value_or(fd);
        return false;
      }
      const auto operations = memory_.read<GuestVirtual>(held + layout_.file.operations);
      if (operations && (*operations == file.file.operations || *operations == roots_.eventpoll_fops) &&
          !by_file_.contains(held.value))
        know_file(held, task, fd);
      return false;
    });
    if (fd_here) found.push_back({task, *fd_here});
  };
  for (const Task& leader : processes) {
    if (fds_seen > Files::kMaxFdsOfGuest) return fail(Code::kLimit, "more than {} descriptors", Files::kMaxFdsOfGuest);
    know(leader);
    look_through(leader);
    if (tasks_.thread_count(leader) < 2) continue;
    // Threads share the leader's table, unless one took a copy (unshare) or the leader has ended before them.
    GuestVirtual seen = leader.files;
    for (const Task& thread : tasks_.threads(leader)) {
      if (thread.files == leader.files || thread.files == seen) continue;
      seen = thread.files;
      if (found.empty() || found.back().task.tgid != leader.tgid) look_through(thread);
    }
  }
  return found;
}

// The one that stands for them all: the only holder, or the oldest when all others descend from it, as a server whose
// opener has gone and its workers do. Null when there is none such.
const Owners::Holder* Owners::foremost(const std::vector<Holder>& holders) const {
  if (holders.empty()) return nullptr;
  const auto oldest = std::ranges::min_element(
      holders, {}, [](const Holder& holder) { return std::pair(holder.task.start_time_ns, holder.task.tgid); });
  const bool of_all = std::ranges::all_of(
      holders, [&](const Holder& other) { return &other == &*oldest || descends(other.task, oldest->task.tgid); });
  return of_all ? &*oldest : nullptr;
}

// The oldest ancestor that holds the file too, with all between them.
Owners::Holder Owners::climb(Holder holder, const SocketFile& file) const {
  for (int i = 0; i < kMaxAncestors; ++i) {
    const auto thread = tasks_.read(holder.task.real_parent);
    const auto parent = thread ? tasks_.read(thread->leader) : std::nullopt;
    const auto above = parent ? confirm(*parent, file) : std::nullopt;
    if (!above) break;
    holder = *above;
  }
  return holder;
}

bool Owners::descends(const Task& task, uint32_t ancestor_pid) const {
  std::optional<Task> parent = tasks_.read(task.real_parent);
  for (int i = 0; i < kMaxAncestors && parent && parent->tgid != 0; ++i) {
    if (parent->tgid == ancestor_pid) return true;
    parent = tasks_.read(parent->real_parent);
  }
  return false;
}

std::optional<Owners::Holder> Owners::confirm(const Task& task, const SocketFile& file, uint32_t search_limit) const {
  const auto fd = files_.find(task.files, file.address, search_limit);
  if (!fd) return std::nullopt;
  return Holder{task, *fd};
}

bool Owners::name(const Holder& holder, How how, Owner& owner) const {
  const Task& task = holder.task;
  const auto leader = task.leads_group() ? std::optional(task) : tasks_.read(task.leader);
  if (!leader || leader->tgid != task.tgid || !leader->leads_group()) return false;
  owner.process = ProcessId{leader->tgid, std::string(leader->name()), leader->start_time_ns};
  owner.how = how;
  owner.reason = Reason::kNone;
  owner.evidence.task = leader->address;
  owner.evidence.fd = holder.fd;
  return true;
}

bool Owners::name_and_learn(const Holder& holder, const SocketFile& file, How how, Owner& owner) {
  if (!name(holder, how, owner)) return false;
  learn(file, holder);
  return true;
}

// The next socket that the same credentials opened may well be in the same hands; but whoever they belong to is asked
// first.
void Owners::learn(const SocketFile& file, const Holder& holder) {
  know_file(file.address, holder.task, holder.fd);
  const auto [creator, is_new] = by_credentials_.try_emplace(file.file.credentials.value);
  if (is_new || !creator->second.own)
    creator->second = {{holder.task.address, holder.task.start_time_ns}, holder.task.cred == file.file.credentials};
}

}  // namespace hyperward::guest
