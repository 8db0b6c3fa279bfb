// Only the executables of a list may talk to the outside, in either direction.
//
//   settings = { executables = ["/usr/bin/apt-get", "/usr/sbin/nginx"], own_networks = ["10.0.0.0/8", "fe80::/10"] }
//
// Own networks are not the outside. Who is not known is denied, and so are flows of the guest's kernel, which has no
// executable. The path is that of the file a process runs, which it cannot choose as it can its name; but who may
// replace that file, or writes the kernel's memory, can.
#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include <nlohmann/json.hpp>

#include "hyperward/module.hpp"

using namespace hyperward::module;

namespace {

class AllowedExecutables {
 public:
  explicit AllowedExecutables(std::string_view settings) {
    const auto json = nlohmann::json::parse(settings);
    json.at("executables").get_to(executables_);
    for (const std::string& path : executables_)
      if (path.empty() || path[0] != '/') throw std::invalid_argument("'" + path + "' is no absolute path");
    for (const std::string& network : json.value("own_networks", std::vector<std::string>()))
      own_networks_.emplace_back(network);
  }

  Answer judge(const View& view, const Packet& packet) {
    const auto holds_remote = [&](const Network& network) { return network.contains(packet.remote.address); };
    if (std::any_of(own_networks_.begin(), own_networks_.end(), holds_remote)) return allow();

    const Owner owner = view.owner();
    if (!owner.pid || owner.task == 0) return ask_again(deny("its process is not known").code(kUnknownProcess));
    const auto executable = executable_of(view, owner);
    if (!executable) return ask_again(deny(to_string(executable.error())).code(kUnknownExecutable));
    if (std::find(executables_.begin(), executables_.end(), *executable) != executables_.end()) return allow();
    return deny(*executable + " may not talk to the outside").code(kNotOnTheList);
  }

  [[nodiscard]] std::vector<Counter> counters() const { return {{"cached", cached_}, {"looked_up", looked_up_}}; }

 private:
  enum Code : uint32_t { kNotOnTheList = 1, kUnknownProcess, kUnknownExecutable };
  using Program = std::tuple<uint64_t, uint64_t, uint64_t>;  // task, start, executions
  static constexpr size_t kCacheMost = 1024;

  // What could not be found out may be found a moment later.
  static Answer ask_again(Answer answer) { return answer.for_ms(1000); }

  // A path takes dozens of reads, so it is kept for as long as a process runs the same program. Address and start tell
  // one process from the next that lies there; the kernel counts in self_exec_id how often it has called execve().
  // Before Linux 5.7 that is a shorter number: then the path is looked up for each flow.
  Result<std::string> executable_of(const View& view, const Owner& owner) {
    const auto executions = view.read<uint64_t>(owner.task, self_exec_id_);
    if (!executions) return view.executable(owner.task);

    if (boot_ != view.boot() || cache_.size() >= kCacheMost) cache_.clear();
    boot_ = view.boot();
    const Program program{owner.task, owner.start_time_ns, *executions};
    if (const auto known = cache_.find(program); known != cache_.end()) {
      ++cached_;
      return known->second;
    }
    auto executable = view.executable(owner.task);
    ++looked_up_;
    if (executable) cache_.emplace(program, *executable);
    return executable;
  }

  std::vector<std::string> executables_;
  std::vector<Network> own_networks_;
  Field self_exec_id_{"task_struct", "self_exec_id"};
  uint64_t boot_ = 0;  // that the cache is of
  std::map<Program, std::string> cache_;
  uint64_t cached_ = 0, looked_up_ = 0;
};

}  // namespace

HYPERWARD_MODULE(AllowedExecutables, "allowed-executables", "1.0", "lets only listed executables talk to the outside",
                 needs_guest());
