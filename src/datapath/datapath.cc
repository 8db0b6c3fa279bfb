// The loader's part of the theory of operation; the programs' is in guard.bpf.c.
//
// Attaching: lock the pin directory; keep its maps when they are of this tap (same interface index in the same network
// namespace: a tap that was made anew is another guest's) and of our ABI version, else drop them; make a hold tap, with
// its two filters, and only then bring it up; load the programs on the maps; write the configuration; put the programs
// on the tap. In a takeover the old programs run until their filters are replaced, each in one step, and they read the
// same configuration: they send frames to the new hold from the moment it is written.
//
// The tap's egress comes before its ingress, so that no answer is seen before what it answers can be.
#include "datapath/datapath.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "datapath/flow_reader.h"
#include "datapath/flow_table.h"
#include "datapath/interface.h"
#include "datapath/kept_frames.h"
#include "datapath/offload.h"
#include "datapath/pins.h"
#include "datapath/programs.h"

namespace hyperward::datapath {
namespace {

constexpr unsigned kHeldPerCall = 256;
constexpr size_t kBufferBytes = kVirtioHeaderBytes + packet::kFrameMaxBytes;
constexpr std::chrono::seconds kInboundRemembered{60}, kFragmentsRemembered{30};

uint64_t ns(std::chrono::nanoseconds duration) {
  return static_cast<uint64_t>(duration.count());
}

Result<uint32_t> draw_magic() {
  uint32_t magic = 0;
  while (magic == 0)
    if (::getrandom(&magic, sizeof(magic), 0) != sizeof(magic)) return fail_errno(errno, "draw a random number");
  return magic;
}

void set_timeouts(hw_config& config, const Timeouts& timeouts) {
  const auto set = [&](hw_state state, std::chrono::milliseconds timeout) { config.timeout_ns[state] = ns(timeout); };
  set(HW_STATE_JUDGED, timeouts.opening);
  set(HW_STATE_TCP_OPENING, timeouts.opening);
  set(HW_STATE_TCP_ESTABLISHED, timeouts.established);
  set(HW_STATE_TCP_CLOSING, timeouts.closing);
  set(HW_STATE_TCP_CLOSED, timeouts.closed);
  set(HW_STATE_UDP_ONE_WAY, timeouts.udp_one_way);
  set(HW_STATE_UDP_TWO_WAY, timeouts.udp_two_way);
  set(HW_STATE_ICMP, timeouts.icmp);
  set(HW_STATE_OTHER, timeouts.other);
  set(HW_STATE_DENIED, timeouts.denied);
  config.judge_again_ns = ns(timeouts.judge_again);
}

uint64_t valid_until(const Judgement& judgement, uint64_t now) {
  if (!judgement.lifetime) return 0;
  if (*judgement.lifetime <= std::chrono::milliseconds(0)) return 1;  // over, also by the clock that the programs read
  return now +
         ns(std::clamp<std::chrono::milliseconds>(*judgement.lifetime, std::chrono::milliseconds(0), kLifetimeMax));
}

// Whether the frame begins another connection than the stored flow's.
bool another_connection(const packet::Packet& packet, const hw_flow& flow) {
  if (packet.kind != packet::Kind::kFlow || packet.key.protocol != Protocol::kTcp || !packet.tcp.opens()) return false;
  return flow.sequence_of != HW_OUT || flow.initial_sequence != packet.tcp.sequence;
}

bool is_echo_reply(const packet::Packet& packet) {
  return (packet.key.protocol == Protocol::kIcmp && packet.icmp.type == 0) ||
         (packet.key.protocol == Protocol::kIcmpV6 && packet.icmp.type == 129);
}

hw_fragment_key fragment_key_of(const packet::Packet& packet) {
  const hw_flow_key flow = to_abi(packet.key);
  hw_fragment_key key{};
  std::memcpy(key.local, flow.local, sizeof(key.local));
  std::memcpy(key.remote, flow.remote, sizeof(key.remote));
  key.id = packet.fragment.id;
  key.vlan = flow.vlan;
  key.protocol = flow.protocol;
  return key;
}

bool is_first_fragment(const packet::Packet& packet) {
  return packet.fragment.more && packet.fragment.offset_bytes == 0;
}

}  // namespace

struct Datapath::Impl {
  Impl(const Options& options, unsigned tap, PinDirectory directory, HoldTap hold_tap, Loaded objects,
       SharedConfig shared_config, bool found)
      : tap_ifindex(tap),
        pins(std::move(directory)),
        hold(std::move(hold_tap)),
        loaded(std::move(objects)),
        config(std::move(shared_config)),
        flows(loaded.maps.flows, config, options.max_half_open),
        kept(config, options.max_kept, options.max_kept_bytes),
        took_over(found),
        buffer(std::make_unique_for_overwrite<std::byte[]>(kBufferBytes)) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { share(config->heartbeat_ns, __u64{0}); }

  static Result<std::unique_ptr<Impl>> assemble(const Options& options, unsigned tap_ifindex, uint64_t cookie,
                                                PinDirectory& pins);
  Result<void> put_up(const Options& options, uint64_t cookie);
  Result<void> configure(const Options& options, uint64_t cookie);
  Result<void> put_on_hold_tap() const;
  Result<void> put_on_guests_tap();

  Result<std::optional<std::span<const std::byte>>> read_frame();
  Result<void> write_frame(std::span<const std::byte> frame_with_header, const packet::Packet& packet);
  Result<void> put_back(const Held& held);
  Result<void> follow_first_fragment(const Held& held);
  Result<bool> settle(Held& held);
  std::optional<hw_inbound> inbound(const hw_flow_key& key) const;
  Direction direction_of(const packet::Packet& packet, const hw_flow_key& key) const;
  Result<void> remember_fragment(const packet::Packet& packet, Verdict verdict) const;

  unsigned tap_ifindex;
  PinDirectory pins;
  HoldTap hold;
  Loaded loaded;
  SharedConfig config;
  FlowTable flows;
  KeptFrames kept;
  bool took_over;
  std::unique_ptr<std::byte[]> buffer;  // not filled: of the largest frames' room, only what is used is memory
  uint64_t refused = 0, fragments_lost = 0, denied = 0;
};

Result<void> Datapath::Impl::configure(const Options& options, uint64_t cookie) {
  HW_TRY(const uint32_t magic, draw_magic());
  hw_config& shared_config = *config;
  shared_config.abi_version = HW_ABI_VERSION;
  shared_config.tap_ifindex = tap_ifindex;
  shared_config.netns_cookie = cookie;
  shared_config.heartbeat_limit_ns = ns(kBeatMissing);
  shared_config.inbound_ns = ns(kInboundRemembered);
  shared_config.fragment_ns = ns(kFragmentsRemembered);
  shared_config.hold_limit = options.max_held;
  shared_config.default_verdict = static_cast<uint8_t>(options.default_verdict);
  shared_config.non_ip_verdict = static_cast<uint8_t>(options.non_ip);
  set_timeouts(shared_config, options.timeouts);
  share(shared_config.generation, options.generation);
  share(shared_config.taken, shared(shared_config.held));
  share(shared_config.magic, magic);
  share(shared_config.hold_ifindex, hold.ifindex);
  share(shared_config.heartbeat_ns, __u64{now_ns()});
  return {};
}

Result<void> Datapath::Impl::put_on_hold_tap() const {
  HW_TRY([[maybe_unused]] const bool made, ensure_clsact(hold.ifindex));
  HW_OK(attach_filter(hold.ifindex, Hook::kEgress, loaded.programs.hold_gate.get()));
  HW_OK(attach_filter(hold.ifindex, Hook::kIngress, loaded.programs.from_hold.get()));
  return bring_up(hold.name);
}

Result<void> Datapath::Impl::put_on_guests_tap() {
  HW_TRY(const bool made_clsact, ensure_clsact(tap_ifindex));
  if (made_clsact) config->made_clsact = 1;
  HW_OK(attach_filter(tap_ifindex, Hook::kEgress, loaded.programs.to_guest.get()));
  return attach_filter(tap_ifindex, Hook::kIngress, loaded.programs.from_guest.get());
}

namespace {

// What an attachment before us has left on this very tap.
struct Earlier {
  std::optional<Maps> maps;  // nothing: of another version
  bool made_clsact = false;
};

// What cannot be taken over is removed: pins of another version, or of another tap that had the name.
Earlier find_earlier(const PinDirectory& pins, unsigned tap_ifindex, uint64_t cookie) {
  Earlier earlier;
  const auto config = pinned_config(pins);
  if (config && (*config)->tap_ifindex == tap_ifindex && (*config)->netns_cookie == cookie)
    earlier = {.maps = pinned_maps(pins), .made_clsact = (*config)->made_clsact != 0};
  if (!earlier.maps) pins.clear();
  return earlier;
}

// Off the tap and out of the pin directory, as far as it is there.
Result<void> take_away(const PinDirectory& pins, unsigned tap_ifindex, bool made_clsact) {
  HW_OK(detach_filter(tap_ifindex, Hook::kIngress));
  HW_OK(detach_filter(tap_ifindex, Hook::kEgress));
  if (made_clsact) HW_OK(remove_unused_clsact(tap_ifindex));
  pins.remove();
  return {};
}

}  // namespace

// All that does not touch the guest's tap yet. Takes `pins` when nothing went wrong.
Result<std::unique_ptr<Datapath::Impl>> Datapath::Impl::assemble(const Options& options, unsigned tap_ifindex,
                                                                 uint64_t cookie, PinDirectory& pins) {
  Earlier earlier = find_earlier(pins, tap_ifindex, cookie);
  const bool found = earlier.maps.has_value();
  HW_TRY(HoldTap hold, make_hold_tap(options.max_held));
  HW_TRY(Loaded loaded, load(std::move(earlier.maps), options.max_flows));
  HW_TRY(SharedConfig config, SharedConfig::map(loaded.maps.config));
  config->made_clsact = earlier.made_clsact ? 1 : 0;
  auto impl = std::make_unique<Impl>(options, tap_ifindex, std::move(pins), std::move(hold), std::move(loaded),
                                     std::move(config), found);
  return impl;
}

Result<void> Datapath::Impl::put_up(const Options& options, uint64_t cookie) {
  HW_OK(put_on_hold_tap());
  HW_OK(configure(options, cookie));
  if (!took_over) HW_OK(pin(pins, loaded.maps));
  HW_OK(put_on_guests_tap());
  return pin(pins, loaded.programs);
}

Result<Datapath> Datapath::attach(const Options& options) {
  HW_TRY(const unsigned tap_ifindex, ifindex_of_tap(options.tap));
  HW_TRY(const uint64_t cookie, netns_cookie());
  HW_TRY(PinDirectory pins, PinDirectory::open(options.tap, options.pin_root, true));
  auto impl = Impl::assemble(options, tap_ifindex, cookie, pins);
  if (!impl) {
    pins.remove_if_empty();
    return within(std::move(impl).error(), "guard {}", options.tap);
  }
  if (auto done = (*impl)->put_up(options, cookie); !done) {
    Error error = std::move(done).error();
    // Programs that were there before us stay. What we have begun goes, or the tap were cut off with nobody to ask.
    if (!(*impl)->took_over) {
      const auto undone = take_away((*impl)->pins, tap_ifindex, (*impl)->config->made_clsact != 0);
      if (!undone) error.message += fmt::format(" (and then: {})", undone.error().message);
    }
    return within(std::move(error), "guard {}", options.tap);
  }
  return Datapath(std::move(*impl));
}

Result<void> Datapath::detach(std::string_view tap, std::string_view pin_root) {
  HW_TRY(const PinDirectory pins, PinDirectory::open(tap, pin_root, false));
  const auto tap_ifindex = ifindex_of_tap(std::string(tap));
  const auto config = pinned_config(pins);
  if (tap_ifindex) return take_away(pins, *tap_ifindex, config && (*config)->made_clsact != 0);
  pins.remove();  // the tap is gone, and its filters with it
  return {};
}

Datapath::Datapath(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Datapath::Datapath(Datapath&&) noexcept = default;
Datapath& Datapath::operator=(Datapath&&) noexcept = default;
Datapath::~Datapath() = default;

bool Datapath::took_over() const {
  return impl_->took_over;
}
const std::string& Datapath::pins() const {
  return impl_->pins.path();
}
int Datapath::hold_fd() const {
  return impl_->hold.fd.get();
}

// The held frames ---------------------------------------------------------------------------------------------------

Result<std::optional<std::span<const std::byte>>> Datapath::Impl::read_frame() {
  const ssize_t size = ::read(hold.fd.get(), buffer.get(), kBufferBytes);
  if (size < 0) {
    if (errno != EAGAIN && errno != EINTR) return fail_errno(errno, "read a held frame");
    // Nothing waits: forgive what was counted as held and got lost on the way.
    share(config->taken, shared(config->held) - kept.count());
    return std::nullopt;
  }
  share(config->taken, shared(config->taken) + 1);
  return std::span<const std::byte>(buffer.get(), static_cast<size_t>(size));
}

Result<void> Datapath::Impl::write_frame(std::span<const std::byte> frame_with_header, const packet::Packet& packet) {
  const auto header = frame_with_header.first<kVirtioHeaderBytes>();
  if (auto fit = check_offload(header, frame_with_header.subspan(kVirtioHeaderBytes), packet); !fit) {
    ++refused;
    return within(std::move(fit).error(), "put back a frame of {}", to_string(packet.key));
  }
  if (::write(hold.fd.get(), frame_with_header.data(), frame_with_header.size()) >= 0) return {};
  if (errno != EINVAL) return fail_errno(errno, "put back a held frame");
  ++refused;
  return fail(Code::kInvalid, "put back a frame of {}: the kernel refuses its offload header", to_string(packet.key));
}

// A frame that the kernel refuses is counted, and is no reason to stop.
Result<void> Datapath::Impl::put_back(const Held& held) {
  auto done = write_frame(held.frame_with_header, held.packet);
  if (!done && done.error().code == Code::kInvalid) return {};
  return done;
}

Result<void> Datapath::Impl::follow_first_fragment(const Held& held) {
  const hw_fragment_key key = fragment_key_of(held.packet);
  hw_fragment first{};
  if (::bpf_map_lookup_elem(loaded.maps.fragments.get(), &key, &first) == 0 && first.verdict == HW_ALLOW)
    return put_back(held);
  ++fragments_lost;
  return {};
}

std::optional<hw_inbound> Datapath::Impl::inbound(const hw_flow_key& key) const {
  hw_inbound value{};
  if (::bpf_map_lookup_elem(loaded.maps.inbound.get(), &key, &value) != 0) return std::nullopt;
  if (static_cast<int64_t>(now_ns() - value.seen_ns) > static_cast<int64_t>(config->inbound_ns)) return std::nullopt;
  return value;
}

Direction Datapath::Impl::direction_of(const packet::Packet& packet, const hw_flow_key& key) const {
  const bool is_tcp = packet.key.protocol == Protocol::kTcp;
  if (is_tcp && packet.tcp.opens()) return Direction::kOut;
  if (inbound(key)) return Direction::kIn;
  // Without connections, whoever is seen first has begun. But an answer, or an error, is never the beginning.
  if (is_tcp || is_echo_reply(packet) || packet.kind == packet::Kind::kIcmpError) return Direction::kUnknown;
  return Direction::kOut;
}

// Says why the frame was held; false when its flow was judged while it waited, and it was dealt with accordingly.
Result<bool> Datapath::Impl::settle(Held& held) {
  held.known.reset();
  if (const Held* ahead = kept.ahead_of(held)) {
    held.key = ahead->key;  // a later fragment's own has no ports
    held.reason = Reason::kBehindKept;
    return true;
  }
  if (held.packet.kind == packet::Kind::kLaterFragment) {
    HW_OK(follow_first_fragment(held));
    return false;
  }
  held.key = packet::flow_of(held.packet);
  const hw_flow_key key = to_abi(held.key);
  const uint64_t now = now_ns();
  const auto flow = flows.find(key);
  if (!flow || flows.expired(*flow, now) || another_connection(held.packet, *flow)) {
    held.reason = Reason::kNewFlow;
    held.direction = direction_of(held.packet, key);
    return true;
  }
  held.known = flow;
  held.direction = static_cast<Direction>(flow->direction);
  if (flow->generation != shared(config->generation)) {
    held.reason = Reason::kRulesChanged;
    return true;
  }
  if (flows.owner_aged(*flow, held.key.protocol, now)) {
    held.reason = Reason::kOwnerAged;
    return true;
  }
  if (flow->valid_until_ns != 0 && flow->valid_until_ns <= now) {
    held.reason = Reason::kExpired;
    return true;
  }
  if (flow->verdict != HW_ALLOW) {
    ++denied;
    return false;
  }
  HW_OK(put_back(held));
  return false;
}

Result<std::optional<Held>> Datapath::next() {
  for (unsigned frames = 0; frames < kHeldPerCall; ++frames) {
    HW_TRY(const auto bytes, impl_->read_frame());
    if (!bytes) return std::nullopt;
    if (bytes->size() < kVirtioHeaderBytes) continue;
    auto packet = packet::parse(bytes->subspan(kVirtioHeaderBytes));
    if (!packet) {
      ++impl_->refused;
      continue;
    }
    Held held;
    held.packet = *packet;
    held.frame_with_header = *bytes;
    HW_TRY(const bool to_be_judged, impl_->settle(held));
    if (to_be_judged) return held;
  }
  return std::nullopt;
}

Result<Kept> Datapath::keep(const Held& held) {
  return impl_->kept.add(held);
}

Result<bool> Datapath::settle(Held& kept) {
  return impl_->settle(kept);
}

std::span<const std::byte> Held::frame() const {
  return frame_with_header.subspan(kVirtioHeaderBytes);
}

Result<void> Datapath::store(const Held& held, const Judgement& judgement) {
  if (held.known) {
    auto done = rejudge(held.key, judgement);
    if (done || done.error().code != Code::kNotFound) return done;
  }
  const hw_flow_key key = to_abi(held.key);
  const uint64_t now = now_ns();
  hw_flow flow{};
  flow.verdict = static_cast<uint8_t>(judgement.verdict);
  flow.direction = static_cast<uint8_t>(judgement.direction);
  flow.state = HW_STATE_JUDGED;
  flow.generation = judgement.generation;
  flow.judged_ns = flow.last_seen_ns = flow.created_ns = now;
  flow.valid_until_ns = valid_until(judgement, now);
  flow.dropped = judgement.verdict == Verdict::kDeny ? 1 : 0;  // this one
  flow.owner = judgement.owner;
  const bool opens =
      held.packet.kind == packet::Kind::kFlow && held.key.protocol == Protocol::kTcp && held.packet.tcp.opens();
  if (opens) {
    flow.initial_sequence = held.packet.tcp.sequence;
    flow.sequence_of = HW_OUT;
  } else if (held.key.protocol == Protocol::kTcp) {
    if (const auto syn = impl_->inbound(key)) {
      flow.initial_sequence = syn->sequence;
      flow.sequence_of = HW_IN;
    }
  }
  return impl_->flows.insert(key, flow, opens && judgement.verdict == Verdict::kAllow);
}

Result<void> Datapath::Impl::remember_fragment(const packet::Packet& packet, Verdict verdict) const {
  const hw_fragment_key key = fragment_key_of(packet);
  hw_fragment value{};
  value.seen_ns = now_ns();
  value.verdict = static_cast<uint32_t>(verdict);
  if (::bpf_map_update_elem(loaded.maps.fragments.get(), &key, &value, BPF_ANY) == 0) return {};
  return fail_errno(errno, "remember a fragment");
}

// Later fragments may wait already, so user space tells the verdict before the programs see the first one again.
Result<void> Datapath::reinject(const Held& held) {
  if (is_first_fragment(held.packet)) HW_OK(impl_->remember_fragment(held.packet, Verdict::kAllow));
  return impl_->write_frame(held.frame_with_header, held.packet);
}

Result<void> Datapath::drop(const Held& held) {
  ++impl_->denied;
  if (is_first_fragment(held.packet)) return impl_->remember_fragment(held.packet, Verdict::kDeny);
  return {};
}

// The flows ---------------------------------------------------------------------------------------------------------

std::optional<FlowRecord> Datapath::find(const packet::FlowKey& key) const {
  for (const packet::FlowKey& oriented : {key, packet::reversed(key)})
    if (const auto flow = impl_->flows.find(to_abi(oriented))) return FlowRecord{oriented, *flow};
  return std::nullopt;
}

Result<void> Datapath::rejudge(const packet::FlowKey& key, const Judgement& judgement) {
  hw_judgement argument{};
  argument.key = to_abi(key);
  argument.owner = judgement.owner;
  argument.now_ns = now_ns();
  argument.valid_until_ns = valid_until(judgement, argument.now_ns);
  argument.generation = judgement.generation;
  argument.verdict = static_cast<uint8_t>(judgement.verdict);
  argument.direction = static_cast<uint8_t>(judgement.direction);
  struct bpf_test_run_opts run{};
  run.sz = sizeof(run);
  run.ctx_in = &argument;
  run.ctx_size_in = sizeof(argument);
  const int error = ::bpf_prog_test_run_opts(impl_->loaded.programs.judge.get(), &run);
  if (error != 0) return fail_errno(-error, fmt::format("judge {} again", to_string(key)));
  if (run.retval != 0) return fail(Code::kNotFound, "judge {} again: the flow has gone", to_string(key));
  return {};
}

Result<void> Datapath::forget(const packet::FlowKey& key) {
  return impl_->flows.erase(to_abi(key));
}

Result<void> Datapath::for_each_flow(const std::function<bool(const FlowRecord&)>& visit) const {
  return impl_->flows.for_each(visit);
}

Result<size_t> Datapath::sweep(Time now, size_t budget, const Seen& seen) {
  return impl_->flows.sweep(ns(now.time_since_epoch()), budget, seen);
}

size_t Datapath::flow_count() const {
  return impl_->flows.count();
}

bool Datapath::was_inbound(const packet::FlowKey& key) const {
  return impl_->inbound(to_abi(key)).has_value();
}

State FlowRecord::state() const {
  return flow.verdict == HW_ALLOW ? static_cast<State>(flow.state) : State::kDenied;
}

// The configuration -------------------------------------------------------------------------------------------------

void Datapath::set_generation(uint32_t generation) {
  share(impl_->config->generation, __u32{generation});
}

void Datapath::set_default_verdict(Verdict verdict) {
  share(impl_->config->default_verdict, static_cast<__u8>(verdict));
}

void Datapath::beat() {
  share(impl_->config->heartbeat_ns, __u64{now_ns()});
}
void Datapath::retire() {
  share(impl_->config->heartbeat_ns, __u64{0});
}

Result<Counters> Datapath::counters() const {
  HW_TRY(Counters counters, read_counters(impl_->loaded.maps.counters));
  counters.values[HW_COUNT_DENIED] += impl_->denied;
  counters.refused = impl_->refused;
  counters.fragments_lost = impl_->fragments_lost;
  HW_TRY(counters.hold_lost, frames_lost(impl_->hold.name));
  return counters;
}

// Names -------------------------------------------------------------------------------------------------------------

std::string_view to_string(State state) {
  switch (state) {
    case State::kJudged: return "judged";
    case State::kOpening: return "opening";
    case State::kEstablished: return "established";
    case State::kClosing: return "closing";
    case State::kClosed: return "closed";
    case State::kUdpOneWay: return "one-way";
    case State::kUdpTwoWay: return "two-way";
    case State::kIcmp: return "icmp";
    case State::kOther: return "other";
    case State::kDenied: return "denied";
  }
  return "?";
}

std::string_view to_string(Direction direction) {
  switch (direction) {
    case Direction::kUnknown: return "unknown";
    case Direction::kOut: return "out";
    case Direction::kIn: return "in";
  }
  return "?";
}

std::string_view to_string(hw_counter counter) {
  switch (counter) {
    case HW_COUNT_PASSED: return "passed";
    case HW_COUNT_DENIED: return "denied";
    case HW_COUNT_HELD: return "held";
    case HW_COUNT_REINJECTED: return "reinjected";
    case HW_COUNT_DEFAULT_ALLOWED: return "default_allowed";
    case HW_COUNT_DEFAULT_DENIED: return "default_denied";
    case HW_COUNT_HOLD_FULL: return "hold_full";
    case HW_COUNT_MALFORMED: return "malformed";
    case HW_COUNT_NON_IP_ALLOWED: return "non_ip_allowed";
    case HW_COUNT_NON_IP_DENIED: return "non_ip_denied";
    case HW_COUNT_NEIGHBOUR: return "neighbour";
    case HW_COUNT_FRAGMENTS: return "fragments";
    case HW_COUNT_INBOUND_NEW: return "inbound_new";
    case HW_COUNT_ANSWERED: return "answered";
    case HW_COUNTERS: break;
  }
  return "?";
}

}  // namespace hyperward::datapath
