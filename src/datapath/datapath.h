// The packet path of one guest: BPF programs on its tap, the flows they know, and the frames they hold.
//
// A flow that has been judged never leaves the kernel. The first packet of one that has not is held: next() hands it
// out, the caller finds out whose it is, stores the verdict, and puts the frame back where it was.
//
//   HW_TRY(auto path, Datapath::attach({.tap = "tap0"}));
//   for (;;) {
//     poll path.hold_fd() for reading, at most kBeat; path.beat();
//     while (true) {
//       HW_TRY(auto held, path.next());
//       if (!held) break;
//       Judgement judgement = ...;                                  // by held->key, held->direction, held->known
//       HW_OK(path.store(*held, judgement));
//       HW_OK(judgement.verdict == Verdict::kAllow ? path.reinject(*held) : path.drop(*held));
//     }
//   }
//
// A judgement that takes its time need not stop the loop: keep() the frame, and do the rest when the answer is there.
// Frames that come behind it are handed out as such: keep() them too, and settle() each when those before it have gone.
//
// An object belongs to one thread, but for beat(), which may be called from any. When it is destroyed, or its process
// killed, the programs stay on the tap with all flows they know: a new attach() takes them over, and until then new
// flows get the default verdict. Only detach() removes them.
//
// How it works in the kernel, and where the limits are: guard.bpf.c.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "datapath/flow_abi.h"
#include "packet/packet.h"

namespace hyperward::datapath {

// Of CLOCK_MONOTONIC, as all times here. Named std::chrono's way, since that is what it is on Linux.
using Time = std::chrono::steady_clock::time_point;

enum class Verdict : uint8_t { kAllow = HW_ALLOW, kDeny = HW_DENY };
enum class Direction : uint8_t { kUnknown = HW_DIRECTION_UNKNOWN, kOut = HW_OUT, kIn = HW_IN };
enum class State : uint8_t {
  kJudged = HW_STATE_JUDGED,
  kOpening = HW_STATE_TCP_OPENING,
  kEstablished = HW_STATE_TCP_ESTABLISHED,
  kClosing = HW_STATE_TCP_CLOSING,
  kClosed = HW_STATE_TCP_CLOSED,
  kUdpOneWay = HW_STATE_UDP_ONE_WAY,
  kUdpTwoWay = HW_STATE_UDP_TWO_WAY,
  kIcmp = HW_STATE_ICMP,
  kOther = HW_STATE_OTHER,
  kDenied = HW_STATE_DENIED,
};

[[nodiscard]] std::string_view to_string(State state);          // "opening", "established", ...
[[nodiscard]] std::string_view to_string(Direction direction);  // "out", "in", "unknown"

constexpr std::chrono::milliseconds kBeat{100};          // how often beat() is due
constexpr std::chrono::milliseconds kBeatMissing{1000};  // so old, and new flows get the default verdict

struct Timeouts {
  std::chrono::milliseconds opening{30'000}, established{3600'000}, closing{30'000}, closed{10'000};
  std::chrono::milliseconds udp_one_way{30'000}, udp_two_way{120'000}, icmp{30'000}, other{120'000};
  std::chrono::milliseconds denied{30'000};       // then the flow is judged again
  std::chrono::milliseconds judge_again{60'000};  // owners of flows without connections are looked up again; 0: never
};

struct Options {
  std::string tap;                           // or the host's end of a veth pair
  Verdict default_verdict = Verdict::kDeny;  // of flows that nobody is there to judge
  Verdict non_ip = Verdict::kDeny;           // of frames that are neither IP nor ARP
  uint32_t max_flows = 65536;                // a table taken over keeps the size it has
  uint32_t max_half_open = 4096;             // the oldest make room for new ones
  uint32_t max_held = 512;                   // frames that wait, kept ones too; beyond: the default verdict
  uint32_t max_kept = 256;                   // of those, frames that are kept; beyond: keep() refuses
  size_t max_kept_bytes = 4 << 20;           // in such frames
  uint32_t generation = 0;                   // of the rules that stored flows must have been judged by
  Timeouts timeouts;
  std::string pin_root;  // a directory on a bpffs; empty: "hyperward" on the bpffs that PID 1 sees (pins.h)
};

constexpr std::chrono::hours kLifetimeMax{24 * 365};  // longer lifetimes are cut

struct Judgement {
  Verdict verdict = Verdict::kDeny;
  Direction direction = Direction::kUnknown;
  uint32_t generation = 0;
  hw_owner owner{};
  // How long it holds, to a tick of the kernel's clock (1 to 10 ms): then the flow's next packet from the guest is
  // held, as kExpired. Bounded to 0 ... kLifetimeMax; the flow's timeouts may end it sooner. Nothing: it has no end.
  std::optional<std::chrono::milliseconds> lifetime = std::nullopt;
};

// One flow of the table. The key's source is always the guest.
struct FlowRecord {
  packet::FlowKey key;
  hw_flow flow{};

  [[nodiscard]] Verdict verdict() const { return static_cast<Verdict>(flow.verdict); }
  [[nodiscard]] Direction direction() const { return static_cast<Direction>(flow.direction); }
  [[nodiscard]] State state() const;  // kDenied when the verdict is
};

// Why a frame was held.
enum class Reason : uint8_t {
  kNewFlow,       // nothing is known of it
  kRulesChanged,  // `known` was judged by other rules. Its owner is still right: judge that, not who has the tuple now
  kOwnerAged,     // `known` was right a while ago: look up who uses the socket now
  kExpired,       // the lifetime of `known`'s judgement is over. Its owner is still right, its counters go on
  kBehindKept,    // an earlier frame of its flow is kept: nothing more is said of this one before settle()
};

// A frame that waits for its verdict. It is not read from the guest's memory: nothing changes it any more.
struct Held {
  packet::FlowKey key;    // of the flow: its source is the guest, an ICMP error has its quoted flow's
  packet::Packet packet;  // of this frame
  Direction direction = Direction::kUnknown;  // then it was met in mid-flow
  Reason reason = Reason::kNewFlow;
  std::optional<hw_flow> known;                  // unless kNewFlow
  std::span<const std::byte> frame_with_header;  // virtio_net_hdr and frame; valid until the next call of next()

  [[nodiscard]] std::span<const std::byte> frame() const;
};

class KeptFrames;
struct Release {
  KeptFrames* among = nullptr;
  void operator()(Held* kept) const;
};
// A held frame with its own bytes, which next() leaves alone. It takes a place in the hold for as long as this lives,
// so let it go when the frame has been put back or dropped. To be gone before its Datapath goes.
using Kept = std::unique_ptr<Held, Release>;

// Since the programs were first attached; survives a restart of hyperward, but for the last three.
struct Counters {
  std::array<uint64_t, HW_COUNTERS> values{};  // by enum hw_counter
  uint64_t hold_lost = 0;                      // frames that the kernel could not queue for us
  uint64_t refused = 0;                        // held frames whose header was not fit to be put back
  uint64_t fragments_lost = 0;                 // later fragments whose first one was not allowed or never came

  [[nodiscard]] uint64_t operator[](hw_counter counter) const { return values[counter]; }
};

[[nodiscard]] std::string_view to_string(hw_counter counter);  // "passed", "default_denied", ...: names for metrics

class Datapath {
 public:
  // Puts the programs on the tap, or takes over the ones that are there with the flows they know.
  // kNotFound: no such interface; kInvalid: it is no tap; kPermission: neither root nor CAP_BPF and CAP_NET_ADMIN;
  // kLimit: another process guards it; kUnsupported: the kernel, or an `ingress` qdisc that is in the way.
  [[nodiscard]] static Result<Datapath> attach(const Options& options);
  // Takes everything away that attach() brought. Not while an object for this tap is alive. kNotFound: not attached.
  [[nodiscard]] static Result<void> detach(std::string_view tap, std::string_view pin_root = {});

  Datapath(Datapath&&) noexcept;
  Datapath& operator=(Datapath&&) noexcept;
  ~Datapath();

  [[nodiscard]] bool took_over() const;           // flows of an earlier process were found
  [[nodiscard]] const std::string& pins() const;  // the directory that FlowReader::open() takes

  // The held frames.
  [[nodiscard]] int hold_fd() const;  // readable when there are any; does not block
  // The next frame to judge; nothing when there is none. Frames whose flow was judged while they waited are put back
  // or dropped on the way, at most kHeldPerCall of them; none passes an earlier frame of its flow that is kept.
  [[nodiscard]] Result<std::optional<Held>> next();
  // Keeps the frame beyond the next next(), to be stored, put back or dropped whenever, in any order. kLimit: max_kept
  // or max_kept_bytes is reached; the frame is the caller's to drop, or to put back when it is not behind another.
  [[nodiscard]] Result<Kept> keep(const Held& held);
  // Does for a kept frame what next() does for one that has waited: false when its flow has been judged meanwhile, and
  // it was put back or dropped accordingly. True: it is to be judged, for the reason that it has now.
  [[nodiscard]] Result<bool> settle(Held& kept);
  // Records the judgement: a new flow, or for a known one the judgement alone, with its counters left as they are.
  [[nodiscard]] Result<void> store(const Held& held, const Judgement& judgement);
  // Puts the frame back where it was: it passes the tap as if it came from the guest this moment. Without a stored
  // flow it passes alone. kInvalid: the guest's offload header is not fit for that; the frame is dropped and counted.
  [[nodiscard]] Result<void> reinject(const Held& held);
  [[nodiscard]] Result<void> drop(const Held& held);

  // The flows.
  [[nodiscard]] std::optional<FlowRecord> find(const packet::FlowKey& key) const;  // either direction of the key
  // Gives a flow another judgement and leaves its state and counters. kNotFound: it has gone.
  [[nodiscard]] Result<void> rejudge(const packet::FlowKey& key, const Judgement& judgement);
  [[nodiscard]] Result<void> forget(const packet::FlowKey& key);  // judged anew with its next packet
  // Calls `visit` for each flow, in no order, until it returns false. Flows that come or go meanwhile may be missed.
  [[nodiscard]] Result<void> for_each_flow(const std::function<bool(const FlowRecord&)>& visit) const;
  // Looks at about `budget` flows, from where the last call stopped, and removes the expired: how many. Each that it
  // looks at is shown to `seen`, when it is given, with whether it has ended now.
  using Seen = std::function<void(const FlowRecord&, bool ended)>;
  [[nodiscard]] Result<size_t> sweep(Time now, size_t budget, const Seen& seen = {});
  // How many flows there are, as of the last whole sweep.
  [[nodiscard]] size_t flow_count() const;
  // Whether a packet of this flow from outside was seen lately, and no flow knew it.
  [[nodiscard]] bool was_inbound(const packet::FlowKey& key) const;

  // Flows judged by another generation of the rules are held once more, with their owner as stored.
  void set_generation(uint32_t generation);
  void set_default_verdict(Verdict verdict);
  // We live. Without it for kBeatMissing, new flows get the default verdict. One store to memory: no system call.
  void beat();
  // We go: new flows get the default verdict at once.
  void retire();

  [[nodiscard]] Result<Counters> counters() const;

 private:
  struct Impl;
  explicit Datapath(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hyperward::datapath
