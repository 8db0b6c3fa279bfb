// What one question costs a filter module, over the memory of a guest that runs.
//
//   module_run PID MODULE SETTINGS PROCESS [QUESTIONS]
//
// MODULE is a shared object, SETTINGS its JSON. The questions are about the guest's connected TCP sockets, in random
// order: those that a process named PROCESS holds ("of_process"), and all others ("of_others"). Prints one JSON object;
// of both, what each question took the module in nanoseconds, by the clock and of time on a core (a module that loses
// its core meanwhile is not slow), and beside it what the owner of the same flow took hyperward. Before that is timed,
// each was looked up once.
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include "arguments.h"
#include "daemon/guest_source.h"
#include "filter/guest_view.h"
#include "filter/loaded_module.h"
#include "guest/guest.h"

namespace hyperward {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

constexpr int kQuestions = 2000;
constexpr uint64_t kBoot = 1;

struct Flow {
  Endpoint local, remote;
};

struct Flows {
  std::vector<Flow> of_process, of_others;
};

Flows flows_of(const std::vector<guest::Socket>& sockets, const std::string& process) {
  Flows flows;
  for (const guest::Socket& socket : sockets) {
    const bool connected = socket.state == guest::TcpState::kEstablished && !socket.holders.empty();
    if (socket.protocol != Protocol::kTcp || !connected) continue;
    const bool is_its = std::ranges::find(socket.holders, process, &guest::SocketHolder::comm) != socket.holders.end();
    (is_its ? flows.of_process : flows.of_others).push_back({socket.local, socket.remote});
  }
  return flows;
}

int64_t cpu_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

int64_t ns_since(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
}

// As the guest's first packet of a flow that it began.
filter::Question question_about(const Flow& flow, const guest::Owner& owner) {
  const packet::FlowKey key{.protocol = Protocol::kTcp, .source = flow.local, .destination = flow.remote};
  return filter::question_of(key, policy::Direction::kOut, HYPERWARD_NEW_FLOW, owner, nullptr, {});
}

json ask(filter::LoadedModule& module, guest::Guest& guest, const std::vector<Flow>& flows, int questions) {
  json measured{{"flows", flows.size()},
                {"module_ns", json::array()},
                {"module_cpu_ns", json::array()},
                {"owner_ns", json::array()}};
  if (flows.empty()) return measured;
  for (const Flow& flow : flows) static_cast<void>(guest.owner(Protocol::kTcp, flow.local, flow.remote));
  std::mt19937 random(1);  // NOLINT(bugprone-random-generator-seed): the same order in every run
  std::uniform_int_distribution<size_t> any(0, flows.size() - 1);
  uint64_t denied = 0, faults = 0, reads = 0;
  for (int i = 0; i < questions; ++i) {
    const Flow& flow = flows[any(random)];
    auto start = Clock::now();
    const guest::Owner owner = guest.owner(Protocol::kTcp, flow.local, flow.remote);
    measured["owner_ns"].push_back(ns_since(start));

    const filter::Question question = question_about(flow, owner);
    filter::GuestView view(&guest, kBoot);
    const uint64_t reads_before = guest.reads();
    const int64_t cpu_before = cpu_ns();
    start = Clock::now();
    const auto said = module.judge(question, view);
    measured["module_ns"].push_back(ns_since(start));
    measured["module_cpu_ns"].push_back(cpu_ns() - cpu_before);
    reads += guest.reads() - reads_before;
    faults += said ? 0 : 1;
    denied += said && said->verdict == policy::Verdict::kDeny ? 1 : 0;
  }
  measured["denied"] = denied;
  measured["faults"] = faults;
  measured["reads_per_question"] = static_cast<double>(reads) / questions;
  return measured;
}

Result<json> measure(pid_t pid, const char* file, const char* settings, const char* process, int questions) {
  HW_TRY(const vm::Qemu qemu, vm::qemu_by_pid(pid));
  HW_TRY(auto memory, daemon::open_memory(qemu, daemon::Access::kAuto));
  HW_TRY(const auto guest, guest::Guest::attach(std::move(memory)));
  HW_TRY(const auto module, filter::LoadedModule::load(file, settings));
  HW_TRY(const auto sockets, guest->sockets());
  HW_TRY(const auto processes, guest->processes());
  const Flows flows = flows_of(sockets, process);
  if (flows.of_process.empty()) return fail(Code::kNotFound, "no process {} has a connected TCP socket", process);
  json measured{{"module", module->info().name}, {"processes", processes.size()}, {"sockets", sockets.size()}};
  measured["of_process"] = ask(*module, *guest, flows.of_process, questions);
  measured["of_others"] = ask(*module, *guest, flows.of_others, questions);
  measured["last_fault"] = module->status().last_fault;
  return measured;
}

}  // namespace
}  // namespace hyperward

int main(int argc, char** argv) {
  using hyperward::bench::number;
  const int pid = number(argc, argv, 1, 0), questions = number(argc, argv, 5, hyperward::kQuestions);
  if (argc < 5 || pid <= 0 || questions <= 0) {
    fmt::print(stderr, "usage: module_run PID MODULE SETTINGS PROCESS [QUESTIONS]\n");
    return 2;
  }
  spdlog::set_level(spdlog::level::err);
  const auto measured = hyperward::measure(pid, argv[2], argv[3], argv[4], questions);
  if (!measured) {
    fmt::print(stderr, "module_run: {}\n", measured.error().message);
    return 1;
  }
  fmt::print("{}\n", measured->dump());
  return 0;
}
