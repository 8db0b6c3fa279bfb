// What reading a live guest costs: attach, and whose a flow is.
//
//   guest_bench PID|DUMP mapped|readv [ATTACHES [LOOKUPS]]
//
// Prints one JSON object: every attach, and with it one list of the processes and one of the sockets, in milliseconds;
// every look-up in nanoseconds; what they were made over.
// Look-ups go round the guest's TCP sockets in random order; before they are timed each was looked up once.
#include <charconv>
#include <chrono>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "daemon/guest_source.h"
#include "guest/guest.h"
#include "memory/open.h"

namespace hyperward {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

int number(const char* text, int otherwise) {
  if (text == nullptr) return otherwise;
  int value = 0;
  const std::string_view word = text;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc() && end == word.data() + word.size() ? value : 0;
}

struct Flow {
  Endpoint local, remote;
};

std::vector<Flow> tcp_flows(const std::vector<guest::Socket>& sockets) {
  std::vector<Flow> flows;
  for (const auto& socket : sockets) {
    const bool owned = socket.state == guest::TcpState::kEstablished && !socket.holders.empty();
    if (socket.protocol == Protocol::kTcp && owned) flows.push_back({socket.local, socket.remote});
  }
  return flows;
}

Result<std::unique_ptr<memory::PhysicalMemory>> open(const std::string& target, daemon::Access access) {
  const int pid = number(target.c_str(), 0);
  if (pid == 0) return memory::open_dump(target);
  HW_TRY(const vm::Qemu qemu, vm::qemu_by_pid(pid));
  return daemon::open_memory(qemu, access);
}

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

Result<json> measure(const std::string& target, daemon::Access access, int attaches, int lookups) {
  std::vector<double> attach_ms, processes_ms, sockets_ms;
  std::unique_ptr<guest::Guest> guest;
  std::vector<guest::Process> processes;
  std::vector<guest::Socket> sockets;
  for (int i = 0; i < attaches; ++i) {
    HW_TRY(auto memory, open(target, access));
    auto start = Clock::now();
    HW_TRY(guest, guest::Guest::attach(std::move(memory)));
    attach_ms.push_back(ms_since(start));
    start = Clock::now();
    HW_TRY(processes, guest->processes());
    processes_ms.push_back(ms_since(start));
    start = Clock::now();
    HW_TRY(sockets, guest->sockets());
    sockets_ms.push_back(ms_since(start));
  }

  const std::vector<Flow> flows = tcp_flows(sockets);
  if (flows.empty()) return fail(Code::kNotFound, "the guest has no established TCP socket to look up");

  for (const Flow& flow : flows) (void)guest->owner(Protocol::kTcp, flow.local, flow.remote);
  std::mt19937 random(1);  // NOLINT(bugprone-random-generator-seed): the same order in every run
  std::uniform_int_distribution<size_t> any(0, flows.size() - 1);
  std::vector<int64_t> lookup_ns;
  lookup_ns.reserve(static_cast<size_t>(lookups));
  int named = 0;
  const uint64_t reads_before = guest->reads();
  for (int i = 0; i < lookups; ++i) {
    const Flow& flow = flows[any(random)];
    const auto start = Clock::now();
    const guest::Owner owner = guest->owner(Protocol::kTcp, flow.local, flow.remote);
    lookup_ns.push_back(std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count());
    named += owner.process.has_value() ? 1 : 0;
  }
  const double reads_per_lookup = static_cast<double>(guest->reads() - reads_before) / lookups;
  return json{{"reads_per_lookup", reads_per_lookup},
              {"attach_ms", attach_ms},
              {"processes_ms", processes_ms},
              {"sockets_ms", sockets_ms},
              {"lookup_ns", lookup_ns},
              {"flows", flows.size()},
              {"processes", processes.size()},
              {"sockets", sockets.size()},
              {"named", named}};
}

}  // namespace
}  // namespace hyperward

int main(int argc, char** argv) {
  using namespace hyperward;
  const auto access = daemon::access_from(argc > 2 ? argv[2] : "");
  const int attaches = number(argc > 3 ? argv[3] : nullptr, 11);
  const int lookups = number(argc > 4 ? argv[4] : nullptr, 50000);
  if (argc < 2 || !access || attaches <= 0 || lookups <= 0) {
    fmt::print(stderr, "usage: guest_bench PID|DUMP mapped|readv [ATTACHES [LOOKUPS]]\n");
    return 2;
  }
  const auto measured = measure(argv[1], *access, attaches, lookups);
  if (!measured) {
    fmt::print(stderr, "guest_bench: {}\n", measured.error().message);
    return 1;
  }
  fmt::print("{}\n", measured->dump());
  return 0;
}
