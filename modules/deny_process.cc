// Denies what processes of given names send and receive, by the way of the xFilter paper: it walks the guest's tasks
// and their open files until it finds the socket that has the flow's endpoints.
//
//   settings = { processes = ["sendmail", "curl"] }
//
// That is slow, hundreds of reads for each flow, and hyperward has found the owner by then. But it needs no owner():
// where the two differ, somebody hides something.
//
// A socket may have many holders, as after a fork. One on the list is enough: nobody hides behind his parent. So only
// the files of processes on the list are looked through.
#include <algorithm>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "hyperward/module.hpp"

using namespace hyperward::module;

namespace {

// A socket that listens, or is not connected, has no remote end and takes what comes from anybody. Who begins a TCP
// connection has a socket with both ends: there, such a one says nothing.
bool carries(const Socket& socket, const Packet& packet) {
  if (socket.protocol != packet.protocol || socket.local.port != packet.local.port) return false;
  if (socket.remote == packet.remote) return true;
  if (packet.is_tcp() && packet.direction == Direction::kOut) return false;
  const bool any_local = socket.local.address.is_unspecified();
  return socket.remote.port == 0 && (any_local || socket.local.address == packet.local.address);
}

class DenyProcess {
 public:
  explicit DenyProcess(std::string_view settings)
      : processes_(nlohmann::json::parse(settings).at("processes").get<std::vector<std::string>>()) {
    for (const std::string& name : processes_)
      if (name.empty() || name.size() > kCommMaxBytes)
        throw std::invalid_argument("a process's name has 1 to 15 bytes, '" + name + "' has not");
  }

  Answer judge(const View& view, const Packet& packet) {
    for (const Task& task : view.tasks().value()) {
      if (std::find(processes_.begin(), processes_.end(), task.comm) == processes_.end()) continue;
      if (!holds_socket(view, task, packet)) continue;
      ++denied_;
      return deny(task.comm + " (pid " + std::to_string(task.pid) + ") is on the list");
    }
    return allow();
  }

  [[nodiscard]] std::vector<Counter> counters() const { return {{"denied", denied_}, {"files_seen", files_seen_}}; }

 private:
  static constexpr size_t kCommMaxBytes = 15;  // the kernel's TASK_COMM_LEN, without its NUL

  bool holds_socket(const View& view, const Task& task, const Packet& packet) {
    for (const File& file : unless_gone(view.files(task.address))) {
      ++files_seen_;
      if (file.socket == 0) continue;
      const auto socket = view.socket_at(file.socket);
      if (socket && carries(*socket, packet)) return true;
      if (!socket && socket.error() == Error::kLimit) throw Failure(Error::kLimit);
    }
    return false;
  }

  // A process may end while we look. What else goes wrong is a fault: the guest's default says what happens then.
  static std::vector<File> unless_gone(Result<std::vector<File>> files) {
    if (!files && files.error() == Error::kNotFound) return {};
    return std::move(files).value();
  }

  std::vector<std::string> processes_;
  uint64_t denied_ = 0, files_seen_ = 0;
};

}  // namespace

HYPERWARD_MODULE(DenyProcess, "deny-process", "1.0", "denies processes by name, found by a walk of their open files",
                 needs_guest());
