// The detection of one guest: what its guard tells goes to the detectors and the history of owners, what they and the
// IDSs find becomes a finding with its evidence and a plan.
//
// On the guard's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include <nlohmann/json.hpp>

#include "daemon/config.h"
#include "datapath/datapath.h"
#include "detect/detectors.h"
#include "detect/finding.h"
#include "detect/flow_history.h"
#include "detect/ids_alert.h"
#include "detect/meter.h"
#include "detect/response.h"
#include "filter/filter.h"

namespace hyperward::daemon {

// A finding, what is to be done about it, and what it rests on.
struct Case {
  detect::Finding finding;
  detect::Plan plan;
  guest::Owner owner;  // of the example
};

// "horizontal-scan by uid 1000, scan (pid 107): 15 destinations, port 25, ...": one sentence, printable.
[[nodiscard]] std::string summary_of(const Case& found);
// Culprit, target, figures and evidence, as alerts keep them (docs/openapi.json).
[[nodiscard]] nlohmann::json details_of(const Case& found);

class Watch {
 public:
  // Cases that wait for somebody to act on them; what comes beyond is counted and forgotten.
  static constexpr size_t kMaxWaiting = 64;
  static constexpr size_t kMaxHistory = 32768;  // some 10 MB
  static constexpr std::chrono::seconds kHistoryAge{600};
  // Of the IDSs' alerts, so many are taken per second, with as many saved up as a burst.
  static constexpr double kIdsAlertsPerSecond = 20, kIdsAlertsBurst = 200;

  // `find` looks a flow up in the guard's table, `ask` in the guest; both are borrowed for as long as this lives.
  using Find = std::function<std::optional<datapath::FlowRecord>(const packet::FlowKey&)>;
  using Ask = std::function<detect::FlowOwner(Protocol, const Endpoint& local, const Endpoint& remote)>;
  Watch(const Config& config, Find find, Ask ask);

  void judged(const packet::FlowKey& key, const filter::Judgement& judgement, detect::Time now);
  void seen(const datapath::FlowRecord& flow, detect::Time now);
  void tick(detect::Time now);  // about twice a second: what is found by nothing happening
  // False: neither end is known to be this guest's, or there are too many, or `claim`, which is asked last, says no.
  using Claim = std::function<bool()>;
  [[nodiscard]] bool take(const detect::IdsAlert& alert, detect::Time now, const Claim& claim = [] { return true; });

  [[nodiscard]] bool has_cases() const { return !cases_.empty(); }
  [[nodiscard]] std::vector<Case> take_cases() { return std::exchange(cases_, {}); }

  [[nodiscard]] const detect::ResponsePolicy& policy() const { return responder_.policy(); }
  [[nodiscard]] size_t accounts() const { return detectors_.accounts(); }
  [[nodiscard]] size_t bytes() const { return detectors_.bytes(); }
  [[nodiscard]] uint64_t overflowed() const { return overflowed_; }  // findings beyond the bounds

 private:
  void open_cases(detect::Time now);
  struct Owned {
    packet::FlowKey key;
    detect::FlowOwner owned;
  };
  [[nodiscard]] std::optional<Owned> owned_by_guest(const packet::FlowKey& sent, detect::Time now) const;
  [[nodiscard]] std::optional<detect::FlowOwner> seen_owner(const packet::FlowKey& key, detect::Time now) const;
  [[nodiscard]] std::optional<detect::FlowOwner> live_owner(const packet::FlowKey& key) const;
  [[nodiscard]] guest::Owner owner_of(const packet::FlowKey& key, detect::Time now) const;

  Find find_;
  Ask ask_;
  detect::Detectors detectors_;
  detect::Responder responder_;
  detect::FlowHistory history_;
  std::vector<detect::Finding> findings_;  // of the call under way
  std::vector<Case> cases_;
  uint64_t overflowed_ = 0;
  detect::Tokens ids_tokens_;
};

}  // namespace hyperward::daemon
