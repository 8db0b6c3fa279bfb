// What a detector, or an IDS outside, says of a guest's traffic: who does what to whom, on what figures.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/net.h"
#include "guest/types.h"
#include "packet/packet.h"
#include "policy/rules.h"

namespace hyperward::detect {

using Time = std::chrono::steady_clock::time_point;  // CLOCK_MONOTONIC, as in the datapath

enum class Kind : uint8_t {
  kHorizontalScan,  // one port, many addresses
  kVerticalScan,    // one address, many ports
  kSynFlood,        // connections without end to one service that does not answer them
  kUdpFlood,        // datagrams without end to one destination that does not answer them
  kMailBurst,       // more new connections to mail ports than a person, or a small server, makes
  kLoginBurst,      // more new connections to one login service than anyone has passwords to forget
  kListed,          // a connection to an address on the list
  kIds,             // an intrusion detection system outside said so
};
constexpr size_t kKinds = 8;

[[nodiscard]] std::string_view to_string(Kind kind);  // "horizontal-scan", ...: names in configs, alerts and metrics
[[nodiscard]] std::optional<Kind> kind_from(std::string_view name);

// Who is to blame, as far as it is known.
struct Culprit {
  std::optional<uint32_t> uid = std::nullopt;              // nothing: unknown
  std::optional<guest::ProcessId> process = std::nullopt;  // nothing: no single process stands out, or none is known
  guest::How how = guest::How::kUnknown;                   // how the flow that tipped the scales was attributed
  guest::Reason reason = guest::Reason::kNone;
};

struct Finding {
  Kind kind = Kind::kHorizontalScan;
  Time time{};
  Culprit culprit{};
  packet::FlowKey example;                                // the flow that tipped the scales; its source is the guest
  policy::Direction direction = policy::Direction::kOut;  // who began the flows; of detectors always the guest
  // What the flows have in common, beyond the example's protocol; nothing: they differ in it.
  std::optional<IpAddress> remote = std::nullopt;
  std::optional<uint16_t> port = std::nullopt;  // of the service: see service_port()
  // The detector's figures, in the order in which a reader wants them: {"destinations", 15}, {"seconds", 0.15}.
  std::vector<std::pair<std::string, double>> figures{};
  std::string text{};  // of an IDS: its own words, as it sent them
};

// The port that a flow was begun to: of the remote end, or the guest's own when others began it. Its source is the
// guest. Nothing: its protocol has no ports.
[[nodiscard]] std::optional<uint16_t> service_port(const packet::FlowKey& key, policy::Direction direction);

}  // namespace hyperward::detect
