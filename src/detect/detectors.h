// The detectors of one guest: its new flows and their loads in, findings out.
//
// Each owner has an account of bounded size: a process, a user as a whole (whose processes may live for one connection
// each), or unknown. Accounts are bounded in number; of those idle longest, the one that holds least makes room.
//
// Who is found: the process, when it alone did enough. The user, without a process, when his processes did it together:
// of each, no more than a fifth of the count counts for him, and nothing that the process itself is found to do. So
// many short-lived processes are found like one, and a few busy ones are not. What was said of the user is not said of
// his processes again.
//
// A flood whose sockets are closed before anybody can look is unknown's for the most part, and its sender's for the
// rest. So floods are counted over all owners, too; once there is one, each owner who takes part in it is found.
//
// Pure: time comes with the events. Not for several threads at a time.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "detect/finding.h"
#include "detect/networks.h"
#include "guest/types.h"
#include "packet/packet.h"
#include "policy/rules.h"

namespace hyperward::detect {

// `count` in the window makes a scan or flood.
struct Window {
  bool enabled = true;
  uint32_t count = 0;
  std::chrono::milliseconds length{};
  bool operator==(const Window&) const = default;
};

// A bucket of `burst` new connections that refills with one every `interval`; empty, it makes a burst.
struct Bucket {
  bool enabled = true;
  uint32_t burst = 0;
  std::chrono::milliseconds interval{};
  std::vector<uint16_t> ports{};
  bool operator==(const Bucket&) const = default;
};

struct Settings {
  static constexpr uint32_t kMaxScanCount = 256;                      // a larger count of a scan counts as this one
  static constexpr std::chrono::milliseconds kMaxWindow{86'400'000};  // likewise of any time

  // Distinct destinations that did not answer. An answer may take `grace`: at least a third must be older than that.
  // Twice the count of a horizontal scan without a common port is one too: its finding has no port.
  Window horizontal_scan{.count = 15, .length = std::chrono::seconds(10)};
  Window vertical_scan{.count = 15, .length = std::chrono::seconds(10)};
  std::chrono::milliseconds grace{100};
  Window syn_flood{.count = 100, .length = std::chrono::seconds(2)};   // unanswered connections to one service
  Window udp_flood{.count = 4000, .length = std::chrono::seconds(1)};  // datagrams to one address, hardly answered
  Bucket mail_burst{.burst = 20, .interval = std::chrono::milliseconds(500), .ports = {25, 465, 587}};
  Bucket login_burst{.burst = 15, .interval = std::chrono::seconds(10), .ports = {22, 23, 3389, 5900}};
  bool listed = true;
  std::chrono::milliseconds warm_up{0};  // after the first event: nothing is found yet, but everything is counted
  // One culprit is reported once in so long per kind and target. After 16 targets of one kind it is reported once more
  // without a target, and then no more.
  std::chrono::milliseconds quiet{60'000};
  // A full account takes up to 18 kB: what a guest can make us keep is about 20 MB. Half are for processes, half for
  // users; it matters only how many of them open connections within a window.
  size_t max_accounts = 1024;
  bool operator==(const Settings&) const = default;
};

// A flow that was judged for the first time.
struct NewFlow {
  Time time{};
  packet::FlowKey key;  // its source is the guest
  policy::Direction direction = policy::Direction::kOut;
  policy::Verdict verdict = policy::Verdict::kAllow;
  bool cut = false;  // by a rule of run time: nothing is found of its owner for it, but a flood that goes on is one
};

// What a flow has carried so far. Of one whose beginning was not observed, only what it carries from the second on.
struct FlowLoad {
  Time time{};
  packet::FlowKey key;
  std::array<uint64_t, 2> packets{};  // from the guest, to the guest
};

class Detectors {
 public:
  // Whether the other side of a flow that the guest began has said yes: a SYN-ACK, a datagram, a reply. A RST is no
  // answer here. Asked seldom: when a finding hangs on it, and when an account has no room for more.
  using Answered = std::function<bool(const packet::FlowKey&)>;

  Detectors(Settings settings, Networks listed, Answered answered);
  ~Detectors();
  Detectors(Detectors&&) noexcept;
  Detectors& operator=(Detectors&&) noexcept;

  // Appends what follows from it to `findings`, seldom anything. Flows that others began are none of ours.
  void observe(const NewFlow& flow, const guest::Owner& owner, std::vector<Finding>& findings);
  // The same flow is shown again from time to time, with counters that only grow; those of other protocols than UDP
  // are passed over.
  void observe(const FlowLoad& load, const guest::Owner& owner, std::vector<Finding>& findings);
  // Findings that no further flow brings about: a burst that has ended before its answers were due. To be called about
  // every second.
  void tick(Time time, std::vector<Finding>& findings);

  [[nodiscard]] size_t accounts() const;
  [[nodiscard]] size_t bytes() const;  // about what all accounts take; bounded by the settings alone

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hyperward::detect
