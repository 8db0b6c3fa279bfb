// ps, ss and owner: what a guest's memory says, as tables for people or JSON for programs.
#include <map>

#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/flow_words.h"
#include "cli/print_json.h"
#include "cli/table.h"
#include "cli/target.h"
#include "cli/waiting.h"
#include "guest/guest.h"

namespace hyperward::cli {
namespace {

using nlohmann::json;

struct ReadOptions {
  Target target;
  bool as_json = false;
  std::vector<std::string> words;
};

Result<std::unique_ptr<guest::Guest>> attach(const Target& target) {
  const Waiting waiting("looking for the guest's kernel");  // a dump may have to come from its disk
  HW_TRY(auto memory, open_memory(target));
  return guest::Guest::attach(std::move(memory));
}

using UserNames = std::map<uint32_t, std::string>;

std::string user_text(const UserNames& names, uint32_t uid) {
  const auto found = names.find(uid);
  return found == names.end() ? fmt::format("{}", uid) : guest::printable(found->second);
}

json user_json(const UserNames& names, uint32_t uid) {
  const auto found = names.find(uid);
  return found == names.end() ? json(nullptr) : json(found->second);
}

// The guest's own names for its users; none is no error, numbers serve too.
UserNames user_names(const guest::Guest& guest) {
  const auto users = guest.users();
  return users ? UserNames(users->begin(), users->end()) : UserNames();
}

std::string holders_text(const std::vector<guest::SocketHolder>& holders) {
  std::vector<std::string> parts;
  parts.reserve(holders.size());
  for (const auto& holder : holders)
    parts.push_back(fmt::format("{}({},fd={})", guest::printable(holder.comm), holder.pid, holder.fd));
  return fmt::format("{}", fmt::join(parts, " "));
}

json holders_json(const std::vector<guest::SocketHolder>& holders) {
  json list = json::array();
  for (const auto& holder : holders) list.push_back({{"pid", holder.pid}, {"fd", holder.fd}, {"comm", holder.comm}});
  return list;
}

json text_json(const Result<std::string>& text) {
  return text ? json(*text) : json(nullptr);
}

json open_sockets_json(const guest::Guest& guest, const guest::Process& process) {
  json list = json::array();
  const auto done = guest.for_each_file(process.task, [&](const guest::OpenFile& file) {
    if (!file.sock.is_null()) list.push_back({{"fd", file.fd}, {"inode", file.inode}});
    return false;
  });
  if (!done) spdlog::debug("pid {}: {}", process.pid, done.error().message);  // it may be about to end
  return list;
}

Result<void> run_ps(const ReadOptions& options) {
  HW_TRY(const auto guest, attach(options.target));
  HW_TRY(const auto processes, guest->processes());
  const UserNames names = user_names(*guest);
  if (options.as_json) {
    json list = json::array();
    for (const auto& process : processes) {
      list.push_back({{"pid", process.pid},
                      {"ppid", process.parent_pid},
                      {"uid", process.uid},
                      {"gid", process.gid},
                      {"euid", process.effective_uid},
                      {"egid", process.effective_gid},
                      {"user", user_json(names, process.uid)},
                      {"state", std::string(1, process.state)},
                      {"comm", process.comm},
                      {"args", process.args},
                      {"executable", text_json(guest->executable(process.task))},
                      {"cgroup", text_json(guest->cgroup(process.task))},
                      {"sockets", open_sockets_json(*guest, process)},
                      {"kernel_thread", process.kernel_thread},
                      {"threads", process.threads},
                      {"start_time_ns", process.start_time_ns}});
    }
    print_json(list);
    return {};
  }
  Table table({">PID", ">PPID", "USER", "S", "COMM", "ARGS"});
  for (const auto& process : processes) {
    const std::string args = process.kernel_thread ? fmt::format("[{}]", guest::printable(process.comm))
                                                   : guest::printable(fmt::format("{}", fmt::join(process.args, " ")));
    table.add({fmt::format("{}", process.pid), fmt::format("{}", process.parent_pid), user_text(names, process.uid),
               std::string(1, process.state), guest::printable(process.comm), args});
  }
  fmt::print("{}", table.text());
  return {};
}

Result<void> run_ss(const ReadOptions& options) {
  HW_TRY(const auto guest, attach(options.target));
  HW_TRY(const auto sockets, guest->sockets());
  const UserNames names = user_names(*guest);
  if (options.as_json) {
    json list = json::array();
    for (const auto& socket : sockets) {
      list.push_back({{"protocol", to_string(socket.protocol)},
                      {"family", socket.v6 ? "v6" : "v4"},
                      {"state", guest::to_string(socket.protocol, socket.state)},
                      {"local", to_string(socket.local)},
                      {"remote", to_string(socket.remote)},
                      {"receive_queue", socket.receive_queue},
                      {"send_queue", socket.send_queue},
                      {"uid", socket.uid},
                      {"user", user_json(names, socket.uid)},
                      {"inode", socket.inode},
                      {"netns", socket.network_namespace},
                      {"processes", holders_json(socket.holders)}});
    }
    print_json(list);
    return {};
  }
  Table table({"PROTO", "STATE", ">RECV-Q", ">SEND-Q", "LOCAL", "REMOTE", "USER", "PROCESSES"});
  for (const auto& socket : sockets) {
    table.add({to_string(socket.protocol), guest::to_string(socket.protocol, socket.state),
               fmt::format("{}", socket.receive_queue), fmt::format("{}", socket.send_queue), to_string(socket.local),
               to_string(socket.remote), user_text(names, socket.uid), holders_text(socket.holders)});
  }
  fmt::print("{}", table.text());
  return {};
}

json owner_json(const guest::Owner& owner, const UserNames& names) {
  json value = {{"uid", nullptr}, {"gid", nullptr}, {"user", nullptr}, {"process", nullptr}};
  if (owner.uid) value["uid"] = *owner.uid;
  if (owner.uid) value["user"] = user_json(names, *owner.uid);
  if (owner.gid) value["gid"] = *owner.gid;
  if (owner.process) {
    value["process"] = {
        {"pid", owner.process->pid}, {"comm", owner.process->comm}, {"start_time_ns", owner.process->start_time_ns}};
  }
  value["how"] = guest::to_string(owner.how);
  value["reason"] = guest::to_string(owner.reason);
  value["others"] = holders_json(owner.others);
  value["evidence"] = {{"socket", fmt::format("{:#x}", owner.evidence.socket.value)},
                       {"file", fmt::format("{:#x}", owner.evidence.file.value)},
                       {"task", fmt::format("{:#x}", owner.evidence.task.value)},
                       {"inode", owner.evidence.inode},
                       {"fd", owner.evidence.fd},
                       {"netns", owner.evidence.network_namespace}};
  return value;
}

Result<void> run_owner(ReadOptions options) {
  // The guest's name may stand before the flow, or be given by an option instead.
  if (options.words.size() == 4) {
    options.target.guest.name = options.words.front();
    options.words.erase(options.words.begin());
  }
  HW_TRY(const FlowWords flow, parse_flow(options.words));
  HW_TRY(const auto guest, attach(options.target));
  const guest::Owner owner = guest->owner(flow.protocol, flow.local, flow.remote);
  if (options.as_json) {
    json value = owner_json(owner, user_names(*guest));
    value["flow"] = {
        {"protocol", to_string(flow.protocol)}, {"local", to_string(flow.local)}, {"remote", to_string(flow.remote)}};
    print_json(value);
    return {};
  }
  fmt::print("{}\n", guest::to_string(owner));
  return {};
}

CLI::App* add_command(CLI::App& app, const char* name, const char* description, ReadOptions& options) {
  CLI::App* command = app.add_subcommand(name, description);
  options.target.add_options(*command);
  command->add_flag("--json", options.as_json, "print JSON");
  return command;
}

}  // namespace

void add_read_commands(CLI::App& app, Chosen& chosen) {
  const auto options = std::make_shared<ReadOptions>();

  CLI::App* ps = add_command(app, "ps", "list the guest's processes, read from its memory", *options);
  ps->add_option("guest", options->target.guest.name, "the guest's name (QEMU's -name)");
  ps->callback([=, &chosen] { chosen.action = [=] { return run_ps(*options); }; });

  CLI::App* ss = add_command(app, "ss", "list the guest's TCP and UDP sockets with their owners", *options);
  ss->add_option("guest", options->target.guest.name, "the guest's name (QEMU's -name)");
  ss->callback([=, &chosen] { chosen.action = [=] { return run_ss(*options); }; });

  CLI::App* owner = add_command(app, "owner", "tell whose a flow is, and how that was found", *options);
  owner->add_option("flow", options->words, "[GUEST] PROTOCOL LOCAL:PORT REMOTE:PORT; local is the guest's end")
      ->expected(1, 4);
  owner->callback([=, &chosen] { chosen.action = [=] { return run_owner(*options); }; });
}

}  // namespace hyperward::cli
