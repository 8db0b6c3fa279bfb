#include "daemon/watch.h"

#include <algorithm>
#include <array>

#include "daemon/flow_owner.h"
#include "filter/decider.h"

namespace hyperward::daemon {
namespace {

using nlohmann::json;

constexpr std::chrono::nanoseconds kIdsAlertsInterval{static_cast<int64_t>(1e9 / Watch::kIdsAlertsPerSecond)};

// The other side has said yes: its RST is no answer. A connection that was reset since was open if the guest has ever
// acknowledged anything.
bool answered(const datapath::FlowRecord& record) {
  const auto& packets = record.flow.packets;
  switch (record.state()) {
    case datapath::State::kEstablished:
    case datapath::State::kClosing: return packets[1] > 0;
    case datapath::State::kClosed: return record.flow.acknowledged[0] != 0;
    case datapath::State::kJudged:
    case datapath::State::kOpening: return false;
    default: return packets[1] > 0;
  }
}

std::string who(const detect::Culprit& culprit) {
  if (!culprit.uid) return "an unknown owner";
  if (!culprit.process) return fmt::format("uid {}", *culprit.uid);
  return fmt::format("uid {}, {} (pid {})", *culprit.uid, guest::printable(culprit.process->comm),
                     culprit.process->pid);
}

// "to tcp 203.0.113.9 port 25", or "on tcp port 80 with 203.0.113.9" of flows that others began.
std::string target_of(const detect::Finding& finding) {
  const std::string protocol = to_string(finding.example.protocol);
  const std::string remote = finding.remote ? to_string(*finding.remote) : "";
  const std::string port = finding.port ? fmt::format(" port {}", *finding.port) : "";
  if (finding.direction == policy::Direction::kOut)
    return fmt::format("to {}{}{}{}", protocol, remote.empty() ? "" : " ", remote, port);
  return fmt::format("on {}{}{}{}", protocol, port, remote.empty() ? "" : " with ", remote);
}

// That a rule judges it by.
policy::Direction direction_of(const datapath::FlowRecord& record) {
  return record.direction() == datapath::Direction::kIn ? policy::Direction::kIn : policy::Direction::kOut;
}

}  // namespace

std::string summary_of(const Case& found) {
  const detect::Finding& finding = found.finding;
  std::string text =
      fmt::format("{} by {} {}", detect::to_string(finding.kind), who(finding.culprit), target_of(finding));
  for (size_t i = 0; i < finding.figures.size(); ++i)
    text += fmt::format("{} {} {:g}", i == 0 ? ":" : ",", finding.figures[i].first, finding.figures[i].second);
  if (!finding.text.empty()) text += fmt::format(": {}", guest::printable(finding.text));
  return text;
}

json details_of(const Case& found) {
  const detect::Finding& finding = found.finding;
  const detect::Culprit& culprit = finding.culprit;
  json figures = json::object();
  for (const auto& [name, value] : finding.figures) figures[name] = value;
  json process = nullptr;
  if (culprit.process)
    process = {{"pid", culprit.process->pid},
               {"comm", guest::printable(culprit.process->comm)},
               {"start_time_ns", culprit.process->start_time_ns}};
  json details = {
      {"culprit",
       {{"uid", culprit.uid ? json(*culprit.uid) : json(nullptr)},
        {"process", std::move(process)},
        {"confirmed", detect::confirmed(culprit)},
        {"how", guest::to_string(culprit.how)},
        {"reason", guest::to_string(culprit.reason)}}},
      {"target",
       {{"protocol", to_string(finding.example.protocol)},
        {"remote", finding.remote ? json(to_string(*finding.remote)) : json(nullptr)},
        {"port", finding.port ? json(*finding.port) : json(nullptr)}}},
      {"figures", std::move(figures)},
      {"flow",
       {{"protocol", to_string(finding.example.protocol)},
        {"direction", policy::to_string(finding.direction)},
        {"local", to_string(finding.example.source)},
        {"remote", to_string(finding.example.destination)}}},
      {"evidence",
       {{"owner", guest::to_string(found.owner)},
        {"socket", fmt::format("{:#x}", found.owner.evidence.socket.value)},
        {"inode", found.owner.evidence.inode},
        {"fd", found.owner.evidence.fd},
        {"netns", found.owner.evidence.network_namespace}}},
      {"plan", {{"action", detect::to_string(found.plan.action)}, {"why", found.plan.why}}},
  };
  if (!finding.text.empty()) details["text"] = finding.text;
  return details;
}

Watch::Watch(const Config& config, Find find, Ask ask)
    : find_(std::move(find)),
      ask_(std::move(ask)),
      detectors_(config.detection.settings, config.detection.listed,
                 [this](const packet::FlowKey& key) {
                   const auto record = find_(key);
                   return record && answered(*record);
                 }),
      responder_(config.detection.response),
      history_(kMaxHistory, kHistoryAge) {}

void Watch::judged(const packet::FlowKey& key, const filter::Judgement& judgement, detect::Time now) {
  history_.remember(key, {judgement.owner, judgement.flow.direction}, now);
  // What a response has cut already asks for no other one.
  const policy::Verdict verdict = judgement.decision.verdict;
  const bool cut = verdict == policy::Verdict::kDeny && filter::is_run_time(judgement.decision.rule);
  detectors_.observe({.time = now, .key = key, .direction = judgement.flow.direction, .verdict = verdict, .cut = cut},
                     judgement.owner, findings_);
  open_cases(now);
}

void Watch::seen(const datapath::FlowRecord& flow, detect::Time now) {
  if (flow.key.protocol != Protocol::kUdp || flow.verdict() != datapath::Verdict::kAllow ||
      flow.direction() == datapath::Direction::kIn)
    return;
  detectors_.observe(
      detect::FlowLoad{.time = now, .key = flow.key, .packets = {flow.flow.packets[0], flow.flow.packets[1]}},
      unpack(flow.flow.owner), findings_);
  open_cases(now);
}

void Watch::tick(detect::Time now) {
  detectors_.tick(now, findings_);
  open_cases(now);
}

// Of a flow that hyperward has seen: its near end is this guest's.
std::optional<detect::FlowOwner> Watch::seen_owner(const packet::FlowKey& key, detect::Time now) const {
  if (const auto record = find_(key); record && record->key.source == key.source)
    return detect::FlowOwner{unpack(record->flow.owner), direction_of(*record)};
  return history_.find(key.protocol, key.source, key.destination, now);
}

// Of one that it has not seen, or forgotten. A socket that waits for anyone answers for any address, a stranger's too:
// it does not tell which end is the guest's.
std::optional<detect::FlowOwner> Watch::live_owner(const packet::FlowKey& key) const {
  detect::FlowOwner owned = ask_(key.protocol, key.source, key.destination);
  const guest::Owner& owner = owned.owner;
  const guest::TcpState state = owner.evidence.state;
  const bool waits_for_anyone = owner.how == guest::How::kListener || state == guest::TcpState::kListen ||
                                (key.protocol == Protocol::kUdp && state != guest::TcpState::kEstablished);
  if (!owner.uid || waits_for_anyone) return std::nullopt;
  return owned;
}

// With the guest's end as the source; nothing when neither is its. What was seen is asked for both ways first.
std::optional<Watch::Owned> Watch::owned_by_guest(const packet::FlowKey& sent, detect::Time now) const {
  const std::array keys{sent, packet::reversed(sent)};
  for (const packet::FlowKey& key : keys)
    if (auto owned = seen_owner(key, now)) return Owned{key, *std::move(owned)};
  for (const packet::FlowKey& key : keys)
    if (auto owned = live_owner(key)) return Owned{key, *std::move(owned)};
  return std::nullopt;
}

bool Watch::take(const detect::IdsAlert& alert, detect::Time now, const Claim& claim) {
  if (ids_tokens_.level(now, kIdsAlertsBurst, kIdsAlertsInterval) < 1) {
    ++overflowed_;
    return false;
  }
  const auto owned =
      owned_by_guest({.protocol = alert.protocol, .source = alert.source, .destination = alert.destination}, now);
  if (!owned || !claim()) return false;
  ids_tokens_.take(now, kIdsAlertsBurst, kIdsAlertsInterval);
  const auto& [key, found] = *owned;
  const auto& [owner, direction] = found;
  findings_.push_back(
      {.kind = detect::Kind::kIds,
       .time = now,
       .culprit = {.uid = owner.uid, .process = owner.process, .how = owner.how, .reason = owner.reason},
       .example = key,
       .direction = direction,
       .remote = key.destination.address,
       .port = detect::service_port(key, direction),
       .figures = {{"severity", alert.severity}, {"signature", alert.signature}},
       .text = alert.text});
  open_cases(now);
  return true;
}

// As it was found when the flow was judged: it may have ended since.
guest::Owner Watch::owner_of(const packet::FlowKey& key, detect::Time now) const {
  if (auto owned = history_.find(key.protocol, key.source, key.destination, now)) return std::move(owned->owner);
  const auto record = find_(key);
  return record ? unpack(record->flow.owner) : guest::Owner{};
}

void Watch::open_cases(detect::Time now) {
  for (detect::Finding& finding : findings_) {
    if (cases_.size() == kMaxWaiting) {
      ++overflowed_;
      continue;
    }
    detect::Plan plan = responder_.plan(finding);
    if (plan.action == detect::Action::kNothing) continue;
    const guest::Owner owner = owner_of(finding.example, now);
    cases_.push_back({std::move(finding), std::move(plan), owner});
  }
  findings_.clear();
}

}  // namespace hyperward::daemon
