// What the packet path costs.
//
//   datapath_bench known [FLOWS [RUNS]]   one packet of a flow that is known, in a table of so many
//   datapath_bench held [FLOWS]           a new flow's first packet: tap, hold, verdict, put back; and a known one's
//   way datapath_bench guard INTERFACE        allows everything on it until its standard input ends, for other programs
//
// The first two make a network of their own and print one JSON object, times in nanoseconds. A single run of a program
// has some 20 ns of the test run's own in it: `empty` is what a program that does nothing takes.
#include <bpf/bpf.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "arguments.h"
#include "datapath/datapath.h"
#include "datapath/test_net.h"
#include "packet/build.h"

namespace hyperward::datapath {
namespace {

namespace build = packet::build;
using Clock = std::chrono::steady_clock;
using nlohmann::json;
using packet::Tcp;
using test::Bytes;
using test::TestNet;

constexpr std::chrono::seconds kArrivesWithin{1};
constexpr uint32_t kRepeat = 20'000;  // some 2 ms: short enough to be seldom interrupted on a busy machine
const IpAddress kWorld = IpAddress::v4(192, 0, 2, 1);

// The guest's address and port of the flow of this number.
Endpoint local_end(int flow) {
  const auto byte = [&](int shift) { return static_cast<uint8_t>(flow >> shift & 0xff); };
  return {IpAddress::v4(10, byte(16), byte(8), byte(0)), 40000};
}

Bytes from_guest(const Endpoint& guest, uint8_t flags) {
  return build::ethernet(build::ip(guest.address, kWorld, build::tcp(guest.port, 25, flags, 1000, 0, "hello")));
}

Judgement allowed() {
  Judgement judgement;
  judgement.verdict = Verdict::kAllow;
  judgement.direction = Direction::kOut;
  return judgement;
}

Result<Datapath> attach_with(const TestNet& net, int flows) {
  Options options = net.options();
  options.max_flows = options.max_half_open = 1U << 21U;
  HW_TRY(Datapath path, Datapath::attach(options));
  for (int flow = 0; flow < flows; ++flow)
    HW_OK(path.store(test::held(from_guest(local_end(flow), Tcp::kSyn)), allowed()));
  return path;
}

Result<double> run_repeatedly(int program, const Bytes& frame) {
  bpf_test_run_opts options{};
  options.sz = sizeof(options);
  options.data_in = frame.data();
  options.data_size_in = static_cast<uint32_t>(frame.size());
  options.repeat = kRepeat;
  const int error = ::bpf_prog_test_run_opts(program, &options);
  if (error != 0) return fail_errno(-error, "run a program");
  if (static_cast<int>(options.retval) == test::kRedirect) return fail(Code::kInvalid, "the flow was not known");
  return options.duration;
}

// r0 = 0; exit
Result<Fd> empty_program() {
  const bpf_insn instructions[] = {
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  Fd fd(::bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "empty", "GPL", instructions, std::size(instructions), nullptr));
  if (!fd.valid()) return fail_errno(errno, "load an empty program");
  return fd;
}

Result<json> measure_known(int flows, int runs) {
  HW_TRY(const TestNet net, TestNet::make());
  HW_TRY(Datapath path, attach_with(net, flows));
  HW_TRY(const Fd empty, empty_program());
  const Fd out = test::pinned(net, "from_guest"), in = test::pinned(net, "to_guest");
  const Endpoint guest = local_end(flows / 2);
  const Bytes sent = from_guest(guest, Tcp::kAck);
  const Bytes received =
      build::ethernet(build::ip(kWorld, guest.address, build::tcp(25, guest.port, Tcp::kAck, 5000, 1001, "hello")));
  json result{{"flows", flows}};
  for (int run = 0; run < runs; ++run) {
    HW_TRY(const double nothing, run_repeatedly(empty.get(), sent));
    HW_TRY(const double sent_ns, run_repeatedly(out.get(), sent));
    HW_TRY(const double received_ns, run_repeatedly(in.get(), received));
    result["empty_ns"].push_back(nothing);
    result["from_guest_ns"].push_back(sent_ns);
    result["to_guest_ns"].push_back(received_ns);
  }
  return result;
}

// Judges all that is held, until told to stop.
void allow_all(Datapath& path, const std::atomic<bool>& stop) {
  while (!stop) {
    pollfd waiting{path.hold_fd(), POLLIN, 0};
    ::poll(&waiting, 1, kBeat.count());
    path.beat();
    for (auto held = path.next(); held && *held; held = path.next())
      if (!path.store(**held, allowed()) || !path.reinject(**held)) break;
  }
}

// The world asks again and again, and does not sleep: waking it is no part of the way.
Result<int64_t> time_to_the_world(const TestNet& net, const Bytes& frame) {
  const auto start = Clock::now();
  net.guest_sends(frame);
  while (!net.world_has_frame() && Clock::now() - start < kArrivesWithin) continue;
  if (!net.world_receives()) return fail(Code::kInconsistent, "a frame did not arrive");
  return std::chrono::nanoseconds(Clock::now() - start).count();
}

Result<json> measure_held(int flows) {
  HW_TRY(const TestNet net, TestNet::make());
  HW_TRY(Datapath path, attach_with(net, 0));
  std::atomic<bool> stop = false;
  std::thread judge([&] { allow_all(path, stop); });
  json result;
  const auto measure = [&]() -> Result<void> {
    for (int flow = 0; flow < flows; ++flow) {
      HW_TRY(const int64_t held_ns, time_to_the_world(net, from_guest(local_end(flow), Tcp::kSyn)));
      HW_TRY(const int64_t known_ns, time_to_the_world(net, from_guest(local_end(flow), Tcp::kAck)));
      result["held_ns"].push_back(held_ns);
      result["known_ns"].push_back(known_ns);
    }
    return {};
  };
  const auto measured = measure();
  stop = true;
  judge.join();
  HW_OK(measured);
  return result;
}

Result<json> guard(const std::string& interface) {
  Options options;
  options.tap = interface;
  options.non_ip = Verdict::kAllow;
  HW_TRY(Datapath path, Datapath::attach(options));
  std::atomic<bool> stop = false;
  std::thread judge([&] { allow_all(path, stop); });
  std::puts("guarding");
  std::fflush(stdout);
  char byte = 0;
  while (::read(STDIN_FILENO, &byte, 1) > 0) continue;
  stop = true;
  judge.join();
  HW_TRY(const Counters counters, path.counters());
  {
    const Datapath last = std::move(path);  // ends here: detach() wants the tap for itself
  }
  HW_OK(Datapath::detach(interface));
  return json{{"passed", counters[HW_COUNT_PASSED]}, {"held", counters[HW_COUNT_HELD]}};
}

int run(int argc, char** argv) {
  using bench::number;
  const std::string_view what = argc > 1 ? argv[1] : "";
  Result<json> result = fail(Code::kInvalid, "usage: datapath_bench known|held|guard ...");
  if (what == "known") result = measure_known(number(argc, argv, 2, 1), number(argc, argv, 3, 51));
  if (what == "held") result = measure_held(number(argc, argv, 2, 2000));
  if (what == "guard" && argc > 2) result = guard(argv[2]);
  if (!result) {
    fmt::print(stderr, "datapath_bench: {}\n", result.error().message);
    return 1;
  }
  std::puts(result->dump().c_str());
  return 0;
}

}  // namespace
}  // namespace hyperward::datapath

int main(int argc, char** argv) {
  return hyperward::datapath::run(argc, argv);
}
