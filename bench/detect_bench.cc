// What detection alone costs: time per event, and memory when a guest does its worst.
//
//   detect_bench time [RUNS]   nanoseconds per event: innocent flows, and a scan among them
//   detect_bench memory        bytes after a million distinct destinations, and with every account as full as it gets
//
// Prints one JSON object. Memory is told twice: what Detectors::bytes() says, and what the heap says.
#include <malloc.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "detect/detectors.h"
#include "detect/flow_history.h"

namespace hyperward::detect {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;
using namespace std::chrono_literals;

constexpr uint32_t kEvents = 200'000;  // per run
constexpr auto kBetween = 100us;       // 10,000 flows a second
constexpr size_t kHistory = 32'768;    // daemon::Watch::kMaxHistory
constexpr uint32_t kUsers = 20, kProcessesPerUser = 50, kServices = 30;

guest::Owner owner(uint32_t uid, uint32_t pid) {
  guest::Owner owner;
  owner.how = guest::How::kCredentials;
  owner.uid = uid;
  owner.process = guest::ProcessId{.pid = pid, .comm = "bench", .start_time_ns = pid};
  return owner;
}

IpAddress address(uint8_t first, uint32_t n) {
  return IpAddress::v4(first, static_cast<uint8_t>(n >> 16), static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n));
}

// Nothing answers in 198.0.0.0/8.
bool is_dark(const packet::FlowKey& key) {
  return key.destination.address.bytes()[12] == 198;
}

class World {
 public:
  explicit World(Settings settings = {})
      : detectors(std::move(settings), Networks(), [](const packet::FlowKey& key) { return !is_dark(key); }) {}

  void connect(const guest::Owner& who, const IpAddress& remote, uint16_t port, Protocol protocol = Protocol::kTcp) {
    now_ += kBetween;
    local_port_ = local_port_ == 60'999 ? 32'768 : static_cast<uint16_t>(local_port_ + 1);
    const Endpoint local{IpAddress::v4(10, 0, 0, 1), local_port_};
    detectors.observe(
        NewFlow{.time = now_, .key = {.protocol = protocol, .source = local, .destination = {remote, port}}}, who,
        findings);
    if (now_ < next_tick_) return;
    detectors.tick(now_, findings);
    next_tick_ = now_ + 500ms;
  }

  Detectors detectors;
  std::vector<Finding> findings;

 private:
  Time now_ = Time{} + 100h, next_tick_ = now_;
  uint16_t local_port_ = 32'768;
};

// The processes of a busy server, each to a few services that answer.
void connect_innocently(World& world, uint32_t i, const std::vector<guest::Owner>& owners) {
  const uint32_t service = i * 7 % kServices;
  world.connect(owners[i % owners.size()], address(203, service), service % 3 == 0 ? 5432 : 443);
}

std::vector<guest::Owner> innocents() {
  std::vector<guest::Owner> owners;
  owners.reserve(size_t{kUsers} * kProcessesPerUser);
  for (uint32_t pid = 0; pid < kUsers * kProcessesPerUser; ++pid)
    owners.push_back(owner(1000 + pid % kUsers, 100 + pid));
  return owners;
}

// Every tenth flow belongs to a scan when `scans`.
double ns_per_event(World& world, bool scans) {
  static const std::vector<guest::Owner> owners = innocents();
  static const guest::Owner scanner = owner(4000, 50);
  const auto start = Clock::now();
  for (uint32_t i = 0; i < kEvents; ++i) {
    if (scans && i % 10 == 0)
      world.connect(scanner, address(198, i), 25);
    else
      connect_innocently(world, i, owners);
  }
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count() / kEvents;
}

json measure_time(int runs) {
  json result;
  World innocent, scan;
  (void)ns_per_event(innocent, false);
  (void)ns_per_event(scan, true);
  for (int run = 0; run < runs; ++run) {
    result["innocent_ns"].push_back(ns_per_event(innocent, false));
    result["scan_ns"].push_back(ns_per_event(scan, true));
  }
  result["innocent_findings"] = innocent.findings.size();
  result["scan_findings"] = scan.findings.size();
  return result;
}

size_t heap_bytes() {
  const auto heap = ::mallinfo2();
  return heap.uordblks + heap.hblkhd;
}

json measure_million() {
  const size_t before = heap_bytes();
  World world;
  world.findings.reserve(10'000);
  const guest::Owner scanner = owner(4000, 50);
  for (uint32_t i = 0; i < 1'000'000; ++i) world.connect(scanner, address(198, i), 25);
  return {{"accounts", world.detectors.accounts()},
          {"bytes", world.detectors.bytes()},
          {"heap_bytes", heap_bytes() - before}};
}

// As many processes as there are accounts for, each of a user of its own, each with as much of everything as it can
// get an account to hold: unanswered destinations, targets, login services, findings, loads of flows.
json measure_full() {
  const Settings settings;
  const size_t before = heap_bytes();
  World world(settings);
  const auto accounts = static_cast<uint32_t>(settings.max_accounts / 2);
  for (uint32_t id = 0; id < accounts; ++id) {
    const guest::Owner who = owner(1000 + id, 100'000 + id);
    for (uint32_t i = 0; i < 1'200; ++i) world.connect(who, address(198, i % 80), 22);
    for (uint32_t i = 0; i < 400; ++i) world.connect(who, address(198, i % 20), static_cast<uint16_t>(i));
    for (uint32_t i = 0; i < 40; ++i) world.connect(who, address(198, i), 53, Protocol::kUdp);
    world.findings = {};
  }
  return {{"accounts", world.detectors.accounts()},
          {"bytes", world.detectors.bytes()},
          {"heap_bytes", heap_bytes() - before}};
}

// Whose flows were.
json measure_history(size_t flows) {
  const size_t before = heap_bytes();
  FlowHistory history(flows, 600s);
  const guest::Owner who = owner(4000, 50);
  for (uint32_t i = 0; i < 2 * flows; ++i)
    history.remember(
        {.protocol = Protocol::kTcp, .source = {address(10, 1), 40000}, .destination = {address(198, i), 25}}, {who},
        Time{} + 100h);
  return {{"flows", history.size()}, {"heap_bytes", heap_bytes() - before}};
}

}  // namespace
}  // namespace hyperward::detect

int main(int argc, char** argv) {
  using namespace hyperward::detect;
  const std::string_view what = argc > 1 ? argv[1] : "", count = argc > 2 ? argv[2] : "11";
  int runs = 0;
  std::from_chars(count.data(), count.data() + count.size(), runs);
  json result;
  if (what == "time" && runs > 0) result = measure_time(runs);
  if (what == "memory")
    result = {{"million", measure_million()}, {"full", measure_full()}, {"history", measure_history(kHistory)}};
  if (result.is_null()) {
    fmt::print(stderr, "usage: detect_bench time [RUNS] | memory\n");
    return 2;
  }
  fmt::print("{}\n", result.dump());
  return 0;
}
