// What a filter module costs, in this process and in one of its own: by the built-in rules, which are cheap themselves.
//
//   module_bench [RUNS]
//
// Prints one JSON object. Per run: nanoseconds per packet of the rules called here; of packets asked one by one, with
// and without pauses between them (after a pause both sides sleep); of batches of 32, under load; and milliseconds from
// a crash to the next packet that is judged. This program is also the one that runs the module.
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string_view>
#include <thread>
#include <vector>

#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include "arguments.h"
#include "filter/loaded_module.h"
#include "filter/module_host.h"
#include "filter/module_process.h"
#include "filter/rules_module.h"

namespace hyperward::filter {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;
using namespace std::chrono_literals;

constexpr int kPackets = 20'000, kSpaced = 500, kBatches = 2'000, kBatch = 32;
constexpr auto kBetween = 2ms;  // longer than anybody spins

// Ten rules, the last of which matches.
std::string settings() {
  std::string rules;
  for (int port = 1; port < 10; ++port) rules += fmt::format("deny to tcp port {} from uid 1000\n", port);
  return json{{"rules", rules + "deny to tcp port 25 from uid 1000\ndefault allow\n"}}.dump();
}

Question a_question() {
  const packet::FlowKey flow{.protocol = Protocol::kTcp,
                             .source = {IpAddress::v4(10, 9, 0, 2), 43210},
                             .destination = {IpAddress::v4(203, 0, 113, 9), 25}};
  guest::Owner owner;
  owner.how = guest::How::kCredentials;
  owner.uid = 1000;
  return question_of(flow, policy::Direction::kOut, HYPERWARD_NEW_FLOW, owner, nullptr, {});
}

double ns_since(Clock::time_point start) {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

double median(std::vector<double>& values) {
  std::ranges::nth_element(values, values.begin() + static_cast<ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}
double p99(std::vector<double>& values) {
  const size_t index = values.size() * 99 / 100;
  std::ranges::nth_element(values, values.begin() + static_cast<ptrdiff_t>(index));
  return values[index];
}

double here_ns(LoadedModule& module) {
  const Question question = a_question();
  GuestView view(nullptr, 0);
  const auto start = Clock::now();
  for (int i = 0; i < kPackets; ++i) HW_CHECK(module.judge(question, view).has_value());
  return ns_since(start) / kPackets;
}

class Asker {
 public:
  explicit Asker(ModuleProcess& module) : module_(module) {}

  void ask(const Question& question) {
    GuestView view(nullptr, 0);
    HW_CHECK(!module_.ask(++ticket_, question, view).has_value());
  }
  // Until `count` answers have come; faults too, then.
  void wait(size_t count) {
    answered_.clear();
    module_.flush();
    module_.collect(answered_);
    while (answered_.size() < count) {
      pollfd waiting{module_.fd(), POLLIN, 0};
      ::poll(&waiting, 1, 1000);
      module_.collect(answered_);
    }
  }
  [[nodiscard]] bool all_judged() const {
    return std::ranges::all_of(answered_, [](const auto& one) { return one.said.has_value(); });
  }

 private:
  ModuleProcess& module_;
  std::vector<Module::Answered> answered_;
  uint64_t ticket_ = 0;
};

std::vector<double> one_by_one_ns(Asker& asker, int packets, std::chrono::microseconds between) {
  const Question question = a_question();
  std::vector<double> times;
  for (int i = 0; i < packets; ++i) {
    if (between != 0us) std::this_thread::sleep_for(between);
    const auto start = Clock::now();
    asker.ask(question);
    asker.wait(1);
    times.push_back(ns_since(start));
  }
  HW_CHECK(asker.all_judged());
  return times;
}

double batch_ns(Asker& asker) {
  const Question question = a_question();
  const auto start = Clock::now();
  for (int i = 0; i < kBatches; ++i) {
    for (int k = 0; k < kBatch; ++k) asker.ask(question);
    asker.wait(kBatch);
  }
  HW_CHECK(asker.all_judged());
  return ns_since(start) / (kBatches * kBatch);
}

// From the kill on. A process of its own for each: the first restart is the one without a pause.
double restart_ms() {
  auto module = ModuleProcess::start({.label = "bench", .settings = settings()}).value();
  Asker asker(*module);
  asker.ask(a_question());
  asker.wait(1);
  const auto start = Clock::now();
  ::kill(module->status().pid, SIGKILL);
  std::vector<Module::Answered> none;
  while (module->status().restarts == 0 || !module->status().running) {
    pollfd waiting{module->fd(), POLLIN, 0};
    ::poll(&waiting, 1, 1000);
    module->collect(none);
  }
  asker.ask(a_question());
  asker.wait(1);
  HW_CHECK(asker.all_judged());
  return ns_since(start) / 1e6;
}

json measure(int runs) {
  auto here = LoadedModule::make(rules_module(), settings()).value();
  auto there = ModuleProcess::start({.label = "bench", .settings = settings()}).value();
  Asker asker(*there);
  static_cast<void>(one_by_one_ns(asker, kPackets / 10, 0us));
  json result;
  for (int run = 0; run < runs; ++run) {
    result["here_ns"].push_back(here_ns(*here));
    auto times = one_by_one_ns(asker, kPackets, 0us);
    result["one_ns"].push_back(median(times));
    result["one_p99_ns"].push_back(p99(times));
    times = one_by_one_ns(asker, kSpaced, kBetween);
    result["asleep_ns"].push_back(median(times));
    result["asleep_p99_ns"].push_back(p99(times));
    result["batch_ns"].push_back(batch_ns(asker));
    result["restart_ms"].push_back(restart_ms());
  }
  return result;
}

}  // namespace
}  // namespace hyperward::filter

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == hyperward::filter::kModuleHostCommand)
    return hyperward::filter::run_module_host() ? 0 : 1;
  spdlog::set_level(spdlog::level::err);  // each restart is told of
  fmt::print("{}\n", hyperward::filter::measure(hyperward::bench::number(argc, argv, 1, 7)).dump());
  return 0;
}
