// A guest and a world around it, for tests: who connects where, what answers, and a clock that only tests move.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "detect/detectors.h"

namespace hyperward::detect {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline guest::Owner process(uint32_t uid, uint32_t pid) {
  guest::Owner owner;
  owner.how = guest::How::kCredentials;
  owner.reason = guest::Reason::kNone;
  owner.uid = uid;
  owner.process = guest::ProcessId{.pid = pid, .comm = "test", .start_time_ns = 1000};
  return owner;
}
inline const guest::Owner kUnknownOwner;

// Of 198.18.0.0/15 nothing answers; all else does.
inline IpAddress dark(uint32_t n) {
  return IpAddress::v4(198, static_cast<uint8_t>(18 + (n >> 16) % 2), static_cast<uint8_t>(n >> 8),
                       static_cast<uint8_t>(n));
}
inline IpAddress alive(uint32_t n) {
  return IpAddress::v4(203, static_cast<uint8_t>(n >> 16), static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n));
}

class World {
 public:
  explicit World(Settings settings = {}, std::string_view listed = "")
      : detectors(std::move(settings), *Networks::parse(listed), [this](const packet::FlowKey& key) {
          ++asked;
          return answers(key);
        }) {}

  const packet::FlowKey& connect(const guest::Owner& owner, const IpAddress& remote, uint16_t port,
                                 Protocol protocol = Protocol::kTcp) {
    local_port_ = local_port_ == 60'999 ? 32'768 : static_cast<uint16_t>(local_port_ + 1);
    return connect_from(owner, {IpAddress::v4(10, 9, 0, 2), local_port_}, {remote, port}, protocol);
  }
  const packet::FlowKey& connect_from(const guest::Owner& owner, const Endpoint& local, const Endpoint& remote,
                                      Protocol protocol = Protocol::kTcp, bool cut = false) {
    latest_ = {.protocol = protocol, .source = local, .destination = remote};
    began_[latest_] = now;
    detectors.observe(NewFlow{.time = now, .key = latest_, .cut = cut}, owner, findings);
    return latest_;
  }
  void load(const guest::Owner& owner, const packet::FlowKey& key, uint64_t sent, uint64_t received) {
    detectors.observe(FlowLoad{.time = now, .key = key, .packets = {sent, received}}, owner, findings);
  }
  void wait(std::chrono::microseconds duration) {
    const Time end = now + duration;
    for (; next_tick_ <= end; next_tick_ += seconds(1)) {
      now = next_tick_;
      detectors.tick(now, findings);
    }
    now = end;
  }

  // "horizontal-scan uid 1000 pid 7 * port 22"
  [[nodiscard]] std::vector<std::string> found() const {
    std::vector<std::string> texts;
    for (const Finding& finding : findings) {
      std::string text(to_string(finding.kind));
      text += finding.culprit.uid ? fmt::format(" uid {}", *finding.culprit.uid) : " unknown";
      if (finding.culprit.process) text += fmt::format(" pid {}", finding.culprit.process->pid);
      text += finding.remote ? " " + to_string(*finding.remote) : " *";
      text += finding.port ? fmt::format(" port {}", *finding.port) : " *";
      texts.push_back(text);
    }
    return texts;
  }

  milliseconds round_trip{80};
  std::optional<IpAddress> favourite;  // of dark addresses: who sends from here is answered all the same
  std::vector<Finding> findings;
  uint64_t asked = 0;
  Time now = Time{} + std::chrono::hours(100);
  Detectors detectors;

 private:
  [[nodiscard]] bool answers(const packet::FlowKey& key) const {
    const auto& bytes = key.destination.address.bytes();
    const bool is_dark = bytes[12] == 198 && (bytes[13] == 18 || bytes[13] == 19);
    const auto begun = began_.find(key);
    const bool is_mute = is_dark && key.source.address != favourite;
    return !is_mute && begun != began_.end() && now - begun->second >= round_trip;
  }

  Time next_tick_ = now + seconds(1);
  uint16_t local_port_ = 32'767;
  packet::FlowKey latest_;
  std::unordered_map<packet::FlowKey, Time, packet::FlowHash> began_;
};

}  // namespace hyperward::detect
