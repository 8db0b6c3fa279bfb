// How many new flows a second one guest's guard takes: tap, hold, owner in the guest's memory, rules, detection, back.
//
//   guard_bench PID [RUNS [SECONDS]]
//
// PID is a QEMU whose guest has sockets. In a network of its own the program stands where that guest's card would be:
// its SYNs have exactly the tuples of the guest's established TCP sockets, round and round, each time with another
// initial sequence number, which makes it another connection. The guard is the daemon's own (GuardedGuest, with a store
// on disk and the default settings but that findings are alerts), on one core; the sender is on the other.
//
// Prints one JSON object: RUNS runs at kWantedPerSecond, answered by the world and not answered; then the highest rate
// at which no frame was lost, by doubling and halving.
#include <sched.h>
#include <sys/mount.h>

#include <chrono>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include "arguments.h"
#include "daemon/guarded_guest.h"
#include "daemon/test_directory.h"
#include "datapath/flow_reader.h"
#include "datapath/test_net.h"
#include "guest/guest.h"
#include "packet/build.h"

namespace hyperward::daemon {
namespace {

namespace build = packet::build;
using Clock = std::chrono::steady_clock;
using datapath::test::Bytes;
using datapath::test::TestNet;
using nlohmann::json;
using packet::Tcp;
using namespace std::chrono_literals;

constexpr int kGuardsCore = 0, kSendersCore = 1;
constexpr unsigned kWantedPerSecond = 10'000;
constexpr unsigned kResolution = 1'000;  // of the highest rate
constexpr auto kRoundTrip = 20ms;        // until the world answers
constexpr auto kSettles = 1200ms;        // until status() tells what has happened by now
constexpr auto kStartsWithin = 10s;
constexpr const char* kName = "bench";
constexpr const char* kRules = R"(
set mail = { smtp, submissions, submission }
default allow
allow to tcp port @mail from user mail
deny to tcp port @mail
allow to tcp port https from process { curl, apt-helper }
deny to { tcp, udp } port 6000-7000 from uid 1000-1999
deny in to tcp port ssh peer 198.51.100.0/24 from user root
audit deny from unknown
)";

struct Flow {
  Endpoint local, remote;
};

Result<std::vector<Flow>> flows_of(const vm::Qemu& qemu) {
  HW_TRY(auto memory, open_memory(qemu, Access::kAuto));
  HW_TRY(const auto guest, guest::Guest::attach(std::move(memory)));
  HW_TRY(const auto sockets, guest->sockets());
  std::vector<Flow> flows;
  for (const guest::Socket& socket : sockets) {
    const bool owned = socket.state == guest::TcpState::kEstablished && !socket.holders.empty();
    if (socket.protocol == Protocol::kTcp && owned) flows.push_back({socket.local, socket.remote});
  }
  if (flows.empty()) return fail(Code::kNotFound, "the guest has no established TCP socket");
  return flows;
}

Result<void> pin_to(pid_t thread, int core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(core, &cores);
  if (::sched_setaffinity(thread, sizeof(cores), &cores) == 0) return {};
  return fail_errno(errno, fmt::format("run on core {}", core));
}

Result<pid_t> guards_thread() {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::ifstream(entry.path() / "comm") >> name;
    if (name == fmt::format("guard-{}", kName)) return std::stoi(entry.path().filename());
  }
  return fail(Code::kNotFound, "the guard has no thread");
}

// Time on a core, the kernel's work for it included: Documentation/scheduler/sched-stats.rst.
int64_t cpu_ns(pid_t thread) {
  int64_t ns = 0;
  std::ifstream(fmt::format("/proc/self/task/{}/schedstat", thread)) >> ns;
  return ns;
}

class Bench {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Bench>> make(pid_t qemu);
  [[nodiscard]] Result<json> run(unsigned per_second, std::chrono::milliseconds duration, bool answered);
  [[nodiscard]] size_t tuples() const { return flows_.size(); }

 private:
  Bench(TestNet net, std::vector<Flow> flows) : net_(std::move(net)), flows_(std::move(flows)) {}
  [[nodiscard]] Result<void> start(const vm::Qemu& qemu);
  [[nodiscard]] double send(unsigned per_second, uint64_t count, bool answered);
  [[nodiscard]] Result<double> named() const;

  TestNet net_;
  std::vector<Flow> flows_;
  TestDirectory directory_;
  std::unique_ptr<Store> store_;
  Events events_;
  std::unique_ptr<GuardedGuest> guest_;
  pid_t thread_ = 0;
  uint64_t sent_ = 0;
};

Result<std::unique_ptr<Bench>> Bench::make(pid_t pid) {
  HW_TRY(const vm::Qemu qemu, vm::qemu_by_pid(pid));
  HW_TRY(std::vector<Flow> flows, flows_of(qemu));
  HW_TRY(TestNet net, TestNet::make());
  // What guards tell other commands stays out of the machine's sight too.
  std::error_code ignored;
  std::filesystem::create_directories("/run/hyperward", ignored);
  if (::mount("tmpfs", "/run/hyperward", "tmpfs", 0, nullptr) != 0) return fail_errno(errno, "mount /run/hyperward");
  std::unique_ptr<Bench> bench(new Bench(std::move(net), std::move(flows)));
  HW_OK(bench->start(qemu));
  return bench;
}

Result<void> Bench::start(const vm::Qemu& qemu) {
  HW_TRY(store_, Store::open(directory_.path() / "store" / "hyperward.db"));
  GuestFile file{.file = directory_.path() / "bench.toml", .config = {}, .rules = std::string(kRules)};
  Config& config = file.config;
  config.guest.name = kName;
  config.tap = TestNet::kTap;
  config.users = {{"root", 0}, {"mail", 8}};
  config.detection.response.actions.fill(detect::Action::kAlert);
  GuestAccess access;
  access.find = [qemu](const GuestSource&) -> Result<vm::Qemu> { return qemu; };
  access.pin_root = net_.pin_root();
  guest_ = std::make_unique<GuardedGuest>(GuardedGuest::Setup{.file = std::move(file), .access = std::move(access)},
                                          *store_, events_);
  const auto deadline = Clock::now() + kStartsWithin;
  while (guest_->status().state != GuestStatus::State::kGuarded) {
    if (Clock::now() > deadline) return fail(Code::kSystem, "the guard does not start: {}", guest_->status().problem);
    std::this_thread::sleep_for(50ms);
  }
  HW_TRY(thread_, guards_thread());
  HW_OK(pin_to(thread_, kGuardsCore));
  return pin_to(0, kSendersCore);
}

// Evenly, and never asleep: the rate that was reached.
double Bench::send(unsigned per_second, uint64_t count, bool answered) {
  struct Answer {
    Clock::time_point due;
    Flow flow;
    uint32_t sequence = 0;
  };
  std::deque<Answer> answers;
  const auto answer_until = [&](Clock::time_point now) {
    for (; !answers.empty() && answers.front().due <= now; answers.pop_front()) {
      const auto& [due, flow, sequence] = answers.front();
      net_.world_sends(build::ethernet(
          build::ip(flow.remote.address, flow.local.address,
                    build::tcp(flow.remote.port, flow.local.port, Tcp::kSyn | Tcp::kAck, ~sequence, sequence + 1))));
    }
  };
  const std::chrono::duration<double> interval(1.0 / per_second);
  const auto start = Clock::now();
  for (uint64_t i = 0; i < count; ++i, ++sent_) {
    const auto due = start + std::chrono::duration_cast<std::chrono::nanoseconds>(static_cast<double>(i) * interval);
    do answer_until(Clock::now());
    while (Clock::now() < due);
    const Flow& flow = flows_[sent_ % flows_.size()];
    const auto sequence = static_cast<uint32_t>(sent_ + 1);
    net_.guest_sends(build::ethernet(build::ip(flow.local.address, flow.remote.address,
                                               build::tcp(flow.local.port, flow.remote.port, Tcp::kSyn, sequence))));
    if (answered) answers.push_back({Clock::now() + kRoundTrip, flow, sequence});
  }
  const std::chrono::duration<double> took = Clock::now() - start;
  std::this_thread::sleep_for(kRoundTrip);
  answer_until(Clock::time_point::max());
  return static_cast<double>(count) / took.count();
}

// The part of the table's flows whose process is known.
Result<double> Bench::named() const {
  HW_TRY(const auto table, datapath::FlowReader::open(guest_->status().pins));
  size_t flows = 0, with_process = 0;
  HW_OK(table.for_each_flow([&](const datapath::FlowRecord& record) {
    ++flows;
    with_process += record.flow.owner.pid != 0 ? 1 : 0;
    return true;
  }));
  return flows == 0 ? 0 : static_cast<double>(with_process) / static_cast<double>(flows);
}

Result<json> Bench::run(unsigned per_second, std::chrono::milliseconds duration, bool answered) {
  std::this_thread::sleep_for(kSettles);
  const GuestStatus before = guest_->status();
  const uint64_t count = uint64_t{per_second} * static_cast<uint64_t>(duration.count()) / 1000;
  const int64_t cpu_before = cpu_ns(thread_);
  const double reached = send(per_second, count, answered);
  const int64_t cpu = cpu_ns(thread_) - cpu_before;
  std::this_thread::sleep_for(kSettles);
  const GuestStatus after = guest_->status();
  const auto counted = [&](hw_counter counter) { return after.counters[counter] - before.counters[counter]; };
  const uint64_t judged = after.judged - before.judged;
  const uint64_t full = counted(HW_COUNT_HOLD_FULL), lost = after.counters.hold_lost - before.counters.hold_lost;
  const uint64_t by_default = counted(HW_COUNT_DEFAULT_ALLOWED) + counted(HW_COUNT_DEFAULT_DENIED);
  uint64_t findings = 0;
  for (size_t kind = 0; kind < detect::kKinds; ++kind) findings += after.findings[kind] - before.findings[kind];
  HW_TRY(const double named_part, named());
  return json{{"per_second", reached},
              {"sent", count},
              {"judged", judged},
              {"put_back", counted(HW_COUNT_REINJECTED)},
              {"hold_full", full},
              {"hold_lost", lost},
              {"default", by_default},
              {"lost", lost + by_default},
              {"named_part", named_part},
              {"findings", findings},
              {"accounts", after.detector_accounts},
              {"cpu_us_per_flow", static_cast<double>(cpu) / 1e3 / static_cast<double>(count)}};
}

bool without_loss(const json& run) {
  return run["lost"] == 0 && run["judged"] == run["sent"] && run["put_back"] == run["sent"];
}

// One that sends less than it should says nothing about the guard at that rate.
bool as_fast(const json& run, unsigned per_second) {
  return run["per_second"].get<double>() > 0.98 * per_second;
}

Result<json> measure(pid_t qemu, int runs, int seconds) {
  HW_TRY(const std::unique_ptr<Bench> bench, Bench::make(qemu));
  const auto duration = std::chrono::seconds(seconds);
  json result{{"tuples", bench->tuples()}};
  HW_TRY([[maybe_unused]] const json warm, bench->run(kWantedPerSecond, 2s, true));
  for (int i = 0; i < runs; ++i) {
    HW_TRY(json answered, bench->run(kWantedPerSecond, duration, true));
    HW_TRY(json unanswered, bench->run(kWantedPerSecond, duration, false));
    result["answered"].push_back(std::move(answered));
    result["unanswered"].push_back(std::move(unanswered));
  }
  unsigned good = 0, bad = 0;
  for (unsigned rate = kWantedPerSecond; bad == 0 || bad - good > kResolution;
       rate = bad == 0 ? 2 * rate : (good + bad) / 2) {
    HW_TRY(json run, bench->run(rate, duration, true));
    const bool held = without_loss(run) && as_fast(run, rate);
    (held ? good : bad) = rate;
    result["tried"].push_back(std::move(run));
    if (bad != 0 && bad <= kResolution) break;
  }
  result["highest_per_second"] = good;
  return result;
}

}  // namespace
}  // namespace hyperward::daemon

int main(int argc, char** argv) {
  using namespace hyperward::daemon;
  using hyperward::bench::number;
  const int pid = number(argc, argv, 1, 0), runs = number(argc, argv, 2, 3), seconds = number(argc, argv, 3, 3);
  if (pid <= 0 || runs <= 0 || seconds <= 0) {
    fmt::print(stderr, "usage: guard_bench PID [RUNS [SECONDS]]\n");
    return 2;
  }
  spdlog::set_level(spdlog::level::err);
  const auto measured = measure(pid, runs, seconds);
  if (!measured) {
    fmt::print(stderr, "guard_bench: {}\n", measured.error().message);
    return 1;
  }
  fmt::print("{}\n", measured->dump());
  return 0;
}
