// Theory of operation
//
// Every flow is charged to its process's account first. What the process is found to do, or was found to do of late, is
// its own and goes no further. All else is charged to the user's account too, but of one process no more than a share:
// a fifth of the count (Contacts' of_one_process, the `share` of buckets and floods). So a user is found when a crowd
// of his processes does together what one alone would be found for, and five innocent ones at least must come together
// before they can be taken for one attacker.
//
// Scans: the account lists the destinations that may be unanswered (contacts.h). When those on one port, on one
// address, or all together, are enough, the datapath is asked which have answered; what is left decides.
// Floods: the account sums up what goes to single targets (targets.h); how much of it was answered is asked of a
// sample. Bursts: token buckets (meter.h), where answers count for nothing.
//
// Floods by all owners together: who sends each datagram from a new socket, and closes it at once, is found for those
// that were looked up in time, and is unknown for the others. What flows begin with is summed up per target whoever
// begins them (a socket that lives on is known by all that it carries). Is that a flood, then an owner is found for
// kTakesPart unanswered flows of his own to this target; each by his own, with the attribution that they had. Rules of
// run time that cut one of the owners do not end it.
//
// What is asked is bounded: an account that asked in vain waits (kAskEvery).
#include "detect/detectors.h"

#include <algorithm>
#include <random>
#include <ranges>
#include <utility>

#include "detect/accounts.h"
#include "detect/flow_loads.h"

namespace hyperward::detect {
namespace {

using std::chrono::milliseconds;

constexpr size_t kMinContacts = 64, kContactsPerCount = 4;  // a list holds so many, of the count that makes a scan
constexpr uint32_t kAnyPortFactor = 2;                      // scans without a common port or address want more
constexpr uint32_t kShare = 5;                              // of one process for its user: the fifth part
constexpr uint32_t kTakesPart = 20;                         // flows within its window, of a flood by many
constexpr std::chrono::seconds kFloodLasts{10};             // by many, after it was last seen to be one
constexpr uint32_t kListedProcesses = 4;                    // of one user, told apart for one address

packet::FlowHash draw_hash() {
  std::random_device random;
  const auto draw = [&] { return uint64_t{random()} << 32 | random(); };
  return {.seed0 = draw(), .seed1 = draw()};
}

void bound(Window& window, uint32_t max_count) {
  window.count = std::clamp(window.count, 1U, max_count);
  window.length = std::clamp(window.length, milliseconds(1), Settings::kMaxWindow);
}

void bound(Bucket& bucket) {
  bucket.burst = std::max(bucket.burst, 1U);
  bucket.interval = std::clamp(bucket.interval, milliseconds(1), Settings::kMaxWindow);
}

Settings bounded(Settings settings) {
  bound(settings.horizontal_scan, Settings::kMaxScanCount);
  bound(settings.vertical_scan, Settings::kMaxScanCount);
  bound(settings.syn_flood, UINT32_MAX);
  bound(settings.udp_flood, UINT32_MAX);
  bound(settings.mail_burst);
  bound(settings.login_burst);
  for (milliseconds* const duration : {&settings.grace, &settings.warm_up, &settings.quiet})
    *duration = std::clamp(*duration, milliseconds(0), Settings::kMaxWindow);
  return settings;
}

double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

uint32_t share_of(uint32_t count) {
  return std::max(count / kShare, 1U);
}

void note_flow(Account& account, const guest::Owner& owner, Time now) {
  account.culprit.uid = owner.uid;
  account.culprit.how = owner.how;
  account.culprit.reason = owner.reason;
  account.last = now;
  account.unsettled = true;
}

bool can_flood(Protocol protocol) {
  return protocol == Protocol::kTcp || protocol == Protocol::kUdp;
}

bool has_port(const Bucket& bucket, const packet::FlowKey& key) {
  return bucket.enabled && key.protocol == Protocol::kTcp &&
         std::ranges::find(bucket.ports, key.destination.port) != bucket.ports.end();
}

}  // namespace

struct Detectors::Impl {
  Impl(Settings chosen, Networks networks, Detectors::Answered ask)
      : settings(bounded(std::move(chosen))),
        listed(std::move(networks)),
        answered(std::move(ask)),
        hash(draw_hash()),
        random(static_cast<uint32_t>(hash.seed0)),
        processes(std::max<size_t>(settings.max_accounts / 2, 1), {hash}),
        users(std::max<size_t>(settings.max_accounts / 2, 1), {hash}),
        loads(hash) {
    const Window& horizontal = settings.horizontal_scan;
    const Window& vertical = settings.vertical_scan;
    const uint32_t count = std::max(horizontal.count, vertical.count);
    limits = {.capacity = std::max<size_t>(kMinContacts, size_t{kContactsPerCount} * count),
              .window = std::max(horizontal.length, vertical.length),
              .grace = settings.grace};
    user_limits = limits;
    user_limits.of_one_process = share_of(count);
  }

  // One flow, and the accounts that it is charged to.
  struct Event {
    Time now{};
    packet::FlowKey key;
    Account* process = nullptr;
    Account* user = nullptr;   // or unknown
    uint64_t process_tag = 0;  // 0: not known
    std::vector<Finding>* findings = nullptr;
  };
  // One account under judgement. `above` is the user's when it is a process's: what was said of him goes for it.
  struct Subject {
    Account& account;
    Account* above = nullptr;

    [[nodiscard]] bool covers(Kind kind, uint64_t target, Time now) const {
      return account.reports.covers(kind, target, now) ||
             (above != nullptr && above->reports.covers(kind, target, now));
    }
  };
  struct Scan {
    Kind kind{};
    const Window& window;
    uint32_t count = 0;
    Pattern pattern;
    uint64_t target = 0;
  };

  Time advance(Time time);
  Event charge(const guest::Owner& owner, Time now, const packet::FlowKey& key, std::vector<Finding>& findings);
  [[nodiscard]] uint64_t target_of(Protocol protocol, const IpAddress& address, uint16_t port) const;
  [[nodiscard]] bool warming_up(Time now) const { return now - first < settings.warm_up; }
  void report(const Subject& subject, Finding finding, uint64_t target, Time now, std::vector<Finding>& findings) const;

  [[nodiscard]] std::array<Scan, 3> scans_of(const packet::FlowKey& key) const;
  [[nodiscard]] std::optional<Contacts::Tally> scanned(Account& account, const Scan& scan, Time now) const;
  void judge_scans(const Subject& subject, const packet::FlowKey& key, Time now, std::vector<Finding>& findings) const;
  void scan(const Event& event) const;

  [[nodiscard]] const Window& flood_window(Protocol protocol) const {
    return protocol == Protocol::kTcp ? settings.syn_flood : settings.udp_flood;
  }
  [[nodiscard]] std::optional<double> answers(Target& target, const Traffic& traffic, Time now) const;
  [[nodiscard]] std::optional<double> flooded(Target& target, const Traffic& traffic, Time now) const;
  [[nodiscard]] std::optional<double> takes_part(Target& target, const Traffic& of_owner, Time now) const;
  void judge_flood(const Subject& subject, Target& target, Time now, std::vector<Finding>& findings);
  void flood(const Event& event, Traffic traffic);
  void judge_together(Target& target, Time now) const;
  void begin_together(const packet::FlowKey& key, Time now);

  template <typename MeterOf>
  void burst(const Event& event, Kind kind, const Bucket& bucket, uint64_t target, MeterOf meter_of) const;
  void bursts(const Event& event) const;
  void look_up(const Event& event) const;

  void settle(Account& account, Account* above, Time now, std::vector<Finding>& findings);

  Settings settings;
  Networks listed;
  Detectors::Answered answered;
  packet::FlowHash hash;
  Random random;
  Contacts::Limits limits, user_limits;
  // Apart, so that no crowd of processes pushes out a user.
  Accounts processes, users;
  Targets together;  // of all owners: how many flows begin
  FlowLoads loads;
  Time first{}, latest{};  // event
  bool begun = false;
};

Time Detectors::Impl::advance(Time time) {
  if (!begun) first = latest = time;
  begun = true;
  latest = std::max(latest, time);
  return latest;
}

uint64_t Detectors::Impl::target_of(Protocol protocol, const IpAddress& address, uint16_t port) const {
  return hash({.protocol = protocol, .source = {}, .destination = {address, port}}) | 1U;  // never Reports::kWhole
}

Detectors::Impl::Event Detectors::Impl::charge(const guest::Owner& owner, Time now, const packet::FlowKey& key,
                                               std::vector<Finding>& findings) {
  using Who = AccountKey::Who;
  Event event{.now = now, .key = key, .findings = &findings};
  event.user = &users.touch(owner.uid ? AccountKey{Who::kUser, *owner.uid, 0} : AccountKey{});
  note_flow(*event.user, owner, now);
  if (!owner.process) return event;

  const AccountKey process_key{Who::kProcess, owner.process->pid, owner.process->start_time_ns};
  event.process_tag = AccountHash{hash}(process_key) | 1U;
  event.process = &processes.touch(process_key);
  note_flow(*event.process, owner, now);
  event.process->culprit.process = owner.process;
  return event;
}

void Detectors::Impl::report(const Subject& subject, Finding finding, uint64_t target, Time now,
                             std::vector<Finding>& findings) const {
  if (warming_up(now) || subject.covers(finding.kind, target, now)) return;
  finding.time = now;
  finding.culprit = subject.account.culprit;
  if (!subject.account.reports.enter(finding.kind, target, now, now + settings.quiet)) {
    finding.remote.reset();
    finding.port.reset();
  }
  findings.push_back(std::move(finding));
}

// --- Scans ---

// Those that a flow may be part of, the most telling first.
std::array<Detectors::Impl::Scan, 3> Detectors::Impl::scans_of(const packet::FlowKey& key) const {
  const Endpoint destination = destination_of(key);
  const Window& horizontal = settings.horizontal_scan;
  const Window& vertical = settings.vertical_scan;
  return {Scan{.kind = Kind::kHorizontalScan,
               .window = horizontal,
               .count = horizontal.count,
               .pattern = {.protocol = key.protocol, .port = destination.port},
               .target = target_of(key.protocol, {}, destination.port)},
          Scan{.kind = Kind::kVerticalScan,
               .window = vertical,
               .count = vertical.count,
               .pattern = {.address = destination.address},
               .target = target_of({}, destination.address, 0)},
          Scan{.kind = Kind::kHorizontalScan,
               .window = horizontal,
               .count = kAnyPortFactor * horizontal.count,
               .pattern = {},
               .target = Reports::kWhole}};
}

std::optional<Contacts::Tally> Detectors::Impl::scanned(Account& account, const Scan& scan, Time now) const {
  Contacts::Tally tally;
  const auto enough = [&] {
    tally = account.contacts.tally(scan.pattern, now, scan.window.length, settings.grace);
    return tally.count >= scan.count && tally.old * 3 >= tally.count;
  };
  if (!enough()) return std::nullopt;
  account.contacts.next_ask = now + kAskEvery;
  account.contacts.drop_answered(scan.pattern, answered);
  if (!enough()) return std::nullopt;
  return tally;
}

void Detectors::Impl::judge_scans(const Subject& subject, const packet::FlowKey& key, Time now,
                                  std::vector<Finding>& findings) const {
  Account& account = subject.account;
  if (now < account.contacts.next_ask || warming_up(now)) return;
  if (account.contacts.size() < std::min(settings.horizontal_scan.count, settings.vertical_scan.count)) return;
  for (const Scan& scan : scans_of(key)) {
    if (!scan.window.enabled || subject.covers(scan.kind, scan.target, now)) continue;
    const auto tally = scanned(account, scan, now);
    if (!tally) continue;
    const bool vertical = scan.kind == Kind::kVerticalScan;
    // Protocols without ports have none in common.
    const auto port = packet::has_ports(key.protocol) ? scan.pattern.port : std::nullopt;
    Finding finding{.kind = scan.kind, .example = key, .remote = scan.pattern.address, .port = port};
    finding.figures = {{vertical ? "ports" : "destinations", static_cast<double>(tally->count)},
                       {"seconds", seconds(now - tally->first)}};
    report(subject, std::move(finding), scan.target, now, findings);
    // What is explained makes room for what is not.
    if (scan.target != Reports::kWhole) account.contacts.drop(scan.pattern);
    account.contacts.next_ask = now;
    return;
  }
}

void Detectors::Impl::scan(const Event& event) const {
  if (!settings.horizontal_scan.enabled && !settings.vertical_scan.enabled) return;
  const auto scans = scans_of(event.key);
  const auto said = [&](const Account& account) {
    return std::ranges::any_of(scans, [&](const Scan& scan) {
      return scan.target != Reports::kWhole && account.reports.said(scan.kind, scan.target, event.now);
    });
  };
  if (event.process != nullptr && !said(*event.process)) {
    event.process->contacts.add(event.key, event.process_tag, event.now, limits, answered);
    judge_scans({*event.process, event.user}, event.key, event.now, *event.findings);
  }
  const bool settled =
      event.process != nullptr &&
      (said(*event.process) || event.process->reports.said(Kind::kHorizontalScan, Reports::kWhole, event.now));
  if (settled || said(*event.user)) return;
  event.user->contacts.add(event.key, event.process_tag, event.now, user_limits, answered);
  judge_scans({*event.user}, event.key, event.now, *event.findings);
}

// --- Floods ---

// Nothing: whether what flows began with is answered would decide, and most may still be.
std::optional<double> Detectors::Impl::answers(Target& target, const Traffic& traffic, Time now) const {
  target.next_ask = now + kAskEvery;
  const Target::Asked asked = target.ask(now, settings.grace, answered);
  if (asked.old * 3 < asked.sampled && traffic.opened * 10 >= traffic.to_target()) return std::nullopt;
  const double part = asked.old == 0 ? 0 : static_cast<double>(asked.answered) / static_cast<double>(asked.old);
  const double answers = traffic.received + traffic.opened * part;
  if (answers > 0) target.next_ask = now + std::max(settings.grace, kAskEvery);
  return answers;
}

// The answers, when they are so few that this is a flood.
std::optional<double> Detectors::Impl::flooded(Target& target, const Traffic& traffic, Time now) const {
  const Protocol protocol = target.latest().protocol;
  const uint32_t count = flood_window(protocol).count;
  if (traffic.to_target() < count || now < target.next_ask) return std::nullopt;
  const auto answers = this->answers(target, traffic, now);
  if (!answers) return std::nullopt;
  const bool is_flood =
      protocol == Protocol::kTcp ? traffic.opened - *answers >= count : *answers * 10 < traffic.to_target();
  return is_flood ? answers : std::nullopt;
}

// The same for what one owner does of a flood by all.
std::optional<double> Detectors::Impl::takes_part(Target& target, const Traffic& of_owner, Time now) const {
  if (of_owner.opened < kTakesPart || now < target.next_ask) return std::nullopt;
  const auto answers = this->answers(target, of_owner, now);
  return answers && *answers * 10 < of_owner.opened ? answers : std::nullopt;
}

void Detectors::Impl::judge_flood(const Subject& subject, Target& target, Time now, std::vector<Finding>& findings) {
  const packet::FlowKey& key = target.latest();
  const bool tcp = key.protocol == Protocol::kTcp;
  const Kind kind = tcp ? Kind::kSynFlood : Kind::kUdpFlood;
  const uint64_t id = target_of(key.protocol, key.destination.address, tcp ? key.destination.port : uint16_t{0});
  if (warming_up(now) || subject.covers(kind, id, now)) return;

  Traffic traffic = target.traffic(now);
  auto answers = flooded(target, traffic, now);
  const Target* const of_all = together.find(key);
  const bool by_many = !answers && of_all != nullptr && now < of_all->flooded_until;
  if (by_many) {
    traffic.sent = 0;
    answers = takes_part(target, traffic, now);
  }
  if (!answers) return;

  Finding finding{.kind = kind, .example = key, .remote = key.destination.address, .port = target.common().port()};
  finding.figures.emplace_back(tcp ? "connections" : "packets", traffic.to_target() - (tcp ? *answers : 0));
  if (by_many) finding.figures.emplace_back("together", of_all->traffic(now).opened);
  if (!tcp) finding.figures.emplace_back("answers", *answers);
  finding.figures.emplace_back("seconds", seconds(flood_window(key.protocol).length));
  report(subject, std::move(finding), id, now, findings);
  // It is the process's own, and no longer its user's.
  if (subject.above != nullptr) subject.above->targets.forget(key);
}

void Detectors::Impl::flood(const Event& event, Traffic traffic) {
  const packet::FlowKey& key = event.key;
  const bool tcp = key.protocol == Protocol::kTcp;
  const Window& window = flood_window(key.protocol);
  if (!window.enabled || !can_flood(key.protocol)) return;
  traffic = traffic.within(window.length);
  if (event.process != nullptr) {
    Target& target = event.process->targets.at(key, event.now, window.length);
    const double before = target.traffic(event.now).to_target();
    target.add(event.now, key, traffic, random);
    judge_flood({*event.process, event.user}, target, event.now, *event.findings);
    const uint64_t id = target_of(key.protocol, key.destination.address, tcp ? key.destination.port : uint16_t{0});
    if (event.process->reports.covers(tcp ? Kind::kSynFlood : Kind::kUdpFlood, id, event.now)) return;

    const double share = std::max(share_of(window.count) - before, 0.0);
    if (traffic.to_target() > share) traffic = traffic.scaled(share / traffic.to_target());
    if (traffic.to_target() == 0 && traffic.received == 0) return;
  }
  Target& target = event.user->targets.at(key, event.now, window.length);
  target.add(event.now, key, traffic, random);
  judge_flood({*event.user}, target, event.now, *event.findings);
}

void Detectors::Impl::judge_together(Target& target, Time now) const {
  if (flooded(target, target.traffic(now), now)) target.flooded_until = now + kFloodLasts;
}

void Detectors::Impl::begin_together(const packet::FlowKey& key, Time now) {
  const Window& window = flood_window(key.protocol);
  if (!window.enabled || !can_flood(key.protocol)) return;
  Target& target = together.at(key, now, window.length);
  target.add(now, key, {.opened = 1}, random);
  judge_together(target, now);
}

// --- Bursts ---

template <typename MeterOf>
void Detectors::Impl::burst(const Event& event, Kind kind, const Bucket& bucket, uint64_t target,
                            MeterOf meter_of) const {
  const auto draw = [&](const Subject& subject) {
    Meter& meter = meter_of(subject.account);
    if (meter.own.level(event.now, bucket.burst, bucket.interval) >= bucket.burst) {
      meter.connections = 0;
      meter.common = {};
      meter.since = event.now;
    }
    ++meter.connections;
    meter.common.add(event.key.destination);
    if (meter.own.take(event.now, bucket.burst, bucket.interval)) return;
    Finding finding{.kind = kind, .example = event.key, .remote = meter.common.address(), .port = meter.common.port()};
    finding.figures = {{"connections", meter.connections}, {"seconds", seconds(event.now - meter.since)}};
    report(subject, std::move(finding), target, event.now, *event.findings);
  };
  if (event.process != nullptr) {
    draw({*event.process, event.user});
    if (event.process->reports.covers(kind, target, event.now)) return;
    Tokens& share = meter_of(*event.process).share;
    if (!share.take(event.now, share_of(bucket.burst), bucket.interval * kShare)) return;
  }
  draw({*event.user});
}

void Detectors::Impl::bursts(const Event& event) const {
  const Endpoint& remote = event.key.destination;
  if (has_port(settings.mail_burst, event.key))
    burst(event, Kind::kMailBurst, settings.mail_burst, Reports::kWhole,
          [](Account& account) -> Meter& { return account.mail; });
  const Bucket& login = settings.login_burst;
  if (has_port(login, event.key))
    burst(
        event, Kind::kLoginBurst, login, target_of(event.key.protocol, remote.address, remote.port),
        [&](Account& account) -> Meter& { return account.logins.at(remote, event.now, login.burst, login.interval); });
}

// --- Listed addresses ---

void Detectors::Impl::look_up(const Event& event) const {
  const IpAddress& address = event.key.destination.address;
  if (!settings.listed || warming_up(event.now) || !listed.contains(address)) return;
  const uint64_t target = target_of({}, address, 0);
  Reports& of_user = event.user->reports;
  Finding finding{.kind = Kind::kListed, .example = event.key, .remote = address};
  if (event.process == nullptr) {
    report({*event.user}, std::move(finding), target, event.now, *event.findings);
    return;
  }
  // A user's first processes are told apart; a crowd of them is the user's.
  if (event.process->reports.covers(Kind::kListed, target, event.now) ||
      of_user.covers(Kind::kListed, Reports::kWhole, event.now) ||
      of_user.times(Kind::kListed, target, event.now) >= kListedProcesses)
    return;
  if (!of_user.enter(Kind::kListed, target, event.now, event.now + settings.quiet)) finding.remote.reset();
  report({*event.process}, std::move(finding), target, event.now, *event.findings);
}

// --- What ends without a further flow ---

void Detectors::Impl::settle(Account& account, Account* above, Time now, std::vector<Finding>& findings) {
  if (!account.unsettled) return;
  const Subject subject{account, above};
  if (account.contacts.size() >= std::min(settings.horizontal_scan.count, settings.vertical_scan.count)) {
    // Asked once, and not for each of them.
    account.contacts.drop_answered({}, answered);
    for (const packet::FlowKey& key : account.contacts.keys()) {
      account.contacts.next_ask = now;
      judge_scans(subject, key, now, findings);
    }
  }
  for (Target& target : account.targets.all()) judge_flood(subject, target, now, findings);
  // After that, time alone brings nothing new.
  account.unsettled = now - account.last <= 2 * settings.grace;
}

Detectors::Detectors(Settings settings, Networks listed, Answered answered)
    : impl_(std::make_unique<Impl>(std::move(settings), std::move(listed), std::move(answered))) {}
Detectors::~Detectors() = default;
Detectors::Detectors(Detectors&&) noexcept = default;
Detectors& Detectors::operator=(Detectors&&) noexcept = default;

void Detectors::observe(const NewFlow& flow, const guest::Owner& owner, std::vector<Finding>& findings) {
  const Time now = impl_->advance(flow.time);
  const bool from_guest = flow.direction == policy::Direction::kOut;
  if (flow.key.protocol == Protocol::kUdp && !flow.cut) impl_->loads.begin(flow.key, from_guest, now);
  if (!from_guest) return;
  impl_->begin_together(flow.key, now);
  if (flow.cut) return;
  const Impl::Event event = impl_->charge(owner, now, flow.key, findings);
  impl_->look_up(event);
  impl_->scan(event);
  impl_->flood(event, {.opened = 1});
  impl_->bursts(event);
}

void Detectors::observe(const FlowLoad& load, const guest::Owner& owner, std::vector<Finding>& findings) {
  if (load.key.protocol != Protocol::kUdp) return;
  const Time now = impl_->advance(load.time);
  const auto grown = impl_->loads.grow(load.key, load.packets, now);
  if (!grown || (grown->sent == 0 && grown->received == 0)) return;
  impl_->flood(impl_->charge(owner, now, load.key, findings), *grown);
}

void Detectors::tick(Time time, std::vector<Finding>& findings) {
  const Time now = impl_->advance(time);
  for (Target& target : impl_->together.all()) impl_->judge_together(target, now);
  for (Account& account : impl_->processes.all()) {
    const auto uid = account.culprit.uid;
    const AccountKey above = uid ? AccountKey{AccountKey::Who::kUser, *uid, 0} : AccountKey{};
    impl_->settle(account, impl_->users.find(above), now, findings);
  }
  for (Account& account : impl_->users.all()) impl_->settle(account, nullptr, now, findings);
}

size_t Detectors::accounts() const {
  return impl_->processes.size() + impl_->users.size();
}

size_t Detectors::bytes() const {
  return impl_->processes.bytes() + impl_->users.bytes() + impl_->together.bytes() + impl_->loads.bytes();
}

}  // namespace hyperward::detect
