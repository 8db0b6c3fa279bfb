// What the daemon answers, how fast, and what it takes for itself.
//
//   daemon_bench GUESTS [CALLS]
//
// Guards so many taps in a network of its own. No virtual machine stands behind them: the guests are never readable,
// and everything else is as it would be. Prints one JSON object: the time of each Daemon::status(), of each GET
// /v1/status and of each POST of a rule (committed and in force when it is answered), without flows and with kFlows in
// the guest's table, in microseconds; and the process's memory in bytes and
// its share of a core once the guests are guarded and nothing happens.
#include <bpf/bpf.h>
#include <sys/mount.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include "arguments.h"
#include "cli/client.h"
#include "daemon/daemon.h"
#include "daemon/http_server.h"
#include "daemon/test_directory.h"
#include "datapath/flow_table.h"
#include "datapath/test_net.h"

namespace hyperward::daemon {
namespace {

using Clock = std::chrono::steady_clock;
using datapath::test::TestNet;
using nlohmann::json;
using namespace std::chrono_literals;

constexpr int kFlows = 10'000, kRules = 50;
constexpr auto kStartsWithin = 30s, kIdle = 3s;

double us_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

struct Stage {
  TestNet net;
  std::vector<Fd> taps;  // but the first, which is the net's
  TestDirectory directory;
  std::unique_ptr<Daemon> daemon;
  std::unique_ptr<HttpServer> server;

  explicit Stage(TestNet made) : net(std::move(made)) {}
  [[nodiscard]] std::filesystem::path socket() const { return directory.path() / "control.sock"; }
};

void write_configuration(const std::filesystem::path& folder, int guests) {
  std::filesystem::create_directories(folder / "guests.d");
  std::ofstream(folder / "hyperward.toml") << fmt::format(
      "[daemon]\nsocket = \"{0}/control.sock\"\ndatabase = \"{0}/store/hyperward.db\"\nguests = \"guests.d\"\n",
      folder.native());
  std::ofstream(folder / "guests.d/all.rules") << "default allow\ndeny to tcp port 25 from uid 1000-1999\n";
  for (int i = 0; i < guests; ++i)
    std::ofstream(folder / fmt::format("guests.d/g{}.toml", i)) << fmt::format(
        "[guest]\nname = \"g{}\"\n[guard]\ntap = \"tap{}\"\nrules = \"all.rules\"\ndefault = \"allow\"\n", i, i);
}

Result<size_t> guarded(Daemon& daemon) {
  HW_TRY(const json status, daemon.status());
  size_t count = 0;
  for (const json& guest : status["guests"]) count += guest["state"] == "unreadable" ? 1 : 0;
  return count;
}

Result<std::unique_ptr<Stage>> set_up(int guests) {
  HW_TRY(TestNet net, TestNet::make());
  // What guards tell other commands stays out of the machine's sight too.
  std::error_code ignored;
  std::filesystem::create_directories("/run/hyperward", ignored);
  if (::mount("tmpfs", "/run/hyperward", "tmpfs", 0, nullptr) != 0) return fail_errno(errno, "mount /run/hyperward");
  auto stage = std::make_unique<Stage>(std::move(net));
  for (int i = 1; i < guests; ++i) {
    HW_TRY(Fd tap, datapath::test::make_tap(fmt::format("tap{}", i)));
    stage->taps.push_back(std::move(tap));
  }
  write_configuration(stage->directory.path(), guests);

  GuestAccess access;
  access.find = [](const GuestSource& source) -> Result<vm::Qemu> {
    return vm::Qemu{.pid = ::getpid(), .name = source.name, .qmp_sockets = {}, .uuid = {}, .taps = {}};
  };
  access.attach = [](const vm::Qemu&, Access) -> Result<std::unique_ptr<guest::Guest>> {
    return fail(Code::kNotFound, "there is no kernel");
  };
  access.pin_root = stage->net.pin_root();
  spdlog::set_level(spdlog::level::err);
  const std::filesystem::path file = stage->directory.path() / "hyperward.toml";
  HW_TRY(DaemonConfig config, load_daemon_config(file));
  HW_TRY(stage->daemon, Daemon::start(file, std::move(config), std::move(access)));
  HW_TRY(stage->server, HttpServer::start({.control = stage->socket(), .read = {}}, *stage->daemon));

  for (const auto deadline = Clock::now() + kStartsWithin;; std::this_thread::sleep_for(50ms)) {
    HW_TRY(const size_t ready, guarded(*stage->daemon));
    if (ready == static_cast<size_t>(guests)) return stage;
    if (Clock::now() > deadline) return fail(Code::kSystem, "{} of {} guests are guarded", ready, guests);
  }
}

// Into the table of the first guest, as if they had been judged.
Result<void> put_flows(const Stage& stage) {
  const Fd flows = datapath::test::pinned(stage.net, "flows");
  for (int i = 0; i < kFlows; ++i) {
    const packet::FlowKey key{
        .protocol = Protocol::kTcp,
        .source = {IpAddress::v4(10, 0, static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)), 40000},
        .destination = {IpAddress::v4(192, 0, 2, 1), 443}};
    hw_flow flow{};
    flow.verdict = HW_ALLOW;
    flow.direction = HW_OUT;
    flow.state = HW_STATE_TCP_ESTABLISHED;
    flow.created_ns = flow.judged_ns = flow.last_seen_ns = datapath::now_ns();
    const hw_flow_key abi = datapath::to_abi(key);
    if (::bpf_map_update_elem(flows.get(), &abi, &flow, BPF_ANY) != 0) return fail_errno(errno, "store a flow");
  }
  return {};
}

Result<json> time_of_status(Stage& stage, int calls) {
  const cli::Client client({.control = stage.socket()});
  json result;
  for (int i = 0; i < calls; ++i) {
    auto start = Clock::now();
    HW_OK(stage.daemon->status());
    result["status_us"].push_back(us_since(start));
    start = Clock::now();
    HW_OK(client.get("/v1/status"));
    result["http_us"].push_back(us_since(start));
  }
  return result;
}

Result<json> time_of_rules(const Stage& stage) {
  const cli::Client client({.control = stage.socket()});
  json times;
  for (int i = 0; i < kRules; ++i) {
    const json body{{"rule", fmt::format("deny to tcp port {} from uid 1000", 1000 + i)}};
    const auto start = Clock::now();
    HW_TRY(const json rule, client.post("/v1/guests/g0/rules", body.dump()));
    times.push_back(us_since(start));
    HW_OK(client.remove(fmt::format("/v1/guests/g0/rules/{}", rule["id"].get<int64_t>())));
  }
  return times;
}

// Our own: without files that others map too.
Result<int64_t> memory_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    int64_t kilobytes = 0;
    if (std::sscanf(line.c_str(), "RssAnon: %ld kB", &kilobytes) == 1) return kilobytes * 1024;
  }
  return fail(Code::kUnsupported, "/proc/self/status does not tell RssAnon");
}

Result<json> measure(int guests, int calls) {
  HW_TRY(const auto stage, set_up(guests));
  const std::clock_t idle = std::clock();
  std::this_thread::sleep_for(kIdle);
  const double idle_cpu =
      static_cast<double>(std::clock() - idle) / CLOCKS_PER_SEC / std::chrono::duration<double>(kIdle).count();
  HW_TRY(const int64_t memory, memory_bytes());
  HW_TRY(json result, time_of_status(*stage, calls));
  result["guests"] = guests;
  result["memory_bytes"] = memory;
  result["idle_cores"] = idle_cpu;
  HW_TRY(result["rule_us"], time_of_rules(*stage));
  HW_OK(put_flows(*stage));
  HW_TRY(result["rule_with_flows_us"], time_of_rules(*stage));
  return result;
}

}  // namespace
}  // namespace hyperward::daemon

int main(int argc, char** argv) {
  using namespace hyperward::daemon;
  using hyperward::bench::number;
  const int guests = number(argc, argv, 1, 0), calls = number(argc, argv, 2, 500);
  if (guests <= 0 || calls <= 0) {
    fmt::print(stderr, "usage: daemon_bench GUESTS [CALLS]\n");
    return 2;
  }
  const auto measured = measure(guests, calls);
  if (!measured) {
    fmt::print(stderr, "daemon_bench: {}\n", measured.error().message);
    return 1;
  }
  fmt::print("{}\n", measured->dump());
  return 0;
}
