/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Theory of operation
 *
 *     guest ─▶ tap ─ from_guest ──known──▶ bridge, host       bridge, host ─ to_guest ─▶ tap ─▶ guest
 *                     ▲      │ miss
 *                     │      ▼
 *             from_hold ◀── hold ── hold_gate ──▶ user space: whose is it? which rule?
 *
 * Four programs on two interfaces: the guest's tap, and `hold`, a tap of our own whose other end user space reads and
 * writes. A packet of a judged flow costs one look-up in `flows`. One of an unjudged flow is redirected into hold, read
 * there with its virtio_net_hdr, judged, and written back; from_hold marks it with this attachment's magic number and
 * redirects it to the tap's ingress, where from_guest sees the mark, lets it pass, and counts it like any other packet
 * of its flow. Segmentation, unfinished checksums and VLAN tags travel in skb fields and in that header, so that they
 * come out as they went in. A guest cannot set marks.
 *
 * User space judges, the programs keep state: neither writes what is the other's (flow_abi.h), so a judgement replaces
 * no counter and a packet no judgement. Programs on several CPUs may update one flow at once. Counters are added to
 * atomically, the rest are single stores of which the last one wins: at worst a timeout is a step too long or short.
 * An entry that user space deletes may be reused while a program still holds it, which then counts one packet wrongly
 * or moves one state; verdicts are safe from that, since no program writes them.
 *
 * A miss is: no entry; an entry of another rule generation; one that timed out; a judgement that has outlived what it
 * was given for; an owner that was looked up too long ago (not for TCP); a TCP SYN with another initial sequence
 * number, which is another connection, perhaps of another process. A retransmitted SYN is not a miss, nor does RST
 * remove anything: a flow that ends gets a short timeout.
 *
 * What comes from outside is never held: the guest answers, or it does not, and its answer is held. `inbound` remembers
 * packets that no flow knew, so that the answer counts as one, and so that a guest's SYN-ACK or RST to a SYN passes
 * with no entry and no one asked: a flood of SYNs costs a bounded LRU map, and user space hears of connections that
 * were completed. A SYN of outside on a known tuple with another sequence number goes the same way.
 *
 * Fail closed: user space stores the time into config.heartbeat_ns (mapped memory). Too old, or more frames held than
 * config.hold_limit, and a miss gets config.default_verdict. Known flows go on: maps and programs are pinned and the
 * tc filters hold them, so they outlive the process. `hold` does not: it is the process's, and a redirect to an
 * interface that is gone drops the packet until the heartbeat is missed.
 *
 * Programs return TC_ACT_UNSPEC for "pass", so that other filters behind ours see the packet too. A filter in front of
 * ours sees a held frame twice, and packet captures on the tap do.
 *
 * Needs Linux 6.1: LRU and hash maps in sleepable programs (commit 02cc5aa29e8c), bpf_ktime_get_coarse_ns (5.11).
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "flow_abi.h"
#include "parse.bpf.h"

#define INBOUND_MAX 8192
#define FRAGMENTS_MAX 1024
#define FROM_GUEST 0
#define TO_GUEST 1

/* A RST must lie this close to what its receiver expects; window scales are not followed (RFC 9293 section 3.5.2). */
#define RST_WINDOW (1 << 20)

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct hw_config);
} config SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 65536); /* Options::max_flows replaces it */
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct hw_flow_key);
  __type(value, struct hw_flow);
} flows SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, INBOUND_MAX);
  __type(key, struct hw_flow_key);
  __type(value, struct hw_inbound);
} inbound SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, FRAGMENTS_MAX);
  __type(key, struct hw_fragment_key);
  __type(value, struct hw_fragment);
} fragments SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, HW_COUNTERS);
  __type(key, __u32);
  __type(value, __u64);
} counters SEC(".maps");

static __always_inline struct hw_config* configuration(void) {
  __u32 zero = 0;
  return bpf_map_lookup_elem(&config, &zero);
}

static __always_inline void count(__u32 which) {
  __u64* value = bpf_map_lookup_elem(&counters, &which);
  if (value) ++*value;
}

static __always_inline int pass(__u32 counter) {
  count(counter);
  return TC_ACT_UNSPEC;
}

static __always_inline int drop(__u32 counter) {
  count(counter);
  return TC_ACT_SHOT;
}

/* User space's clock is finer than ours: a time of its may lie in our future. */
static __always_inline int older_than(__u64 time_ns, __u64 limit_ns, __u64 now_ns) {
  return (__s64)(now_ns - time_ns) > (__s64)limit_ns;
}

static __always_inline int expired(const struct hw_flow* flow, const struct hw_config* config, __u64 now_ns) {
  if (flow->verdict != HW_ALLOW) return older_than(flow->judged_ns, config->timeout_ns[HW_STATE_DENIED], now_ns);
  __u32 state = flow->state;
  if (state >= HW_STATES) return 1;
  return older_than(flow->last_seen_ns, config->timeout_ns[state], now_ns);
}

/* By other rules than today's, or for a time that is over. */
static __always_inline int outdated(const struct hw_flow* flow, const struct hw_config* config, __u64 now_ns) {
  return flow->generation != config->generation || (flow->valid_until_ns != 0 && flow->valid_until_ns <= now_ns);
}

static __always_inline int judgement_holds(const struct hw_flow* flow, const struct hw_config* config, __u8 protocol,
                                           __u64 now_ns) {
  if (outdated(flow, config, now_ns) || expired(flow, config, now_ns)) return 0;
  return protocol == IPPROTO_TCP || config->judge_again_ns == 0 ||
         !older_than(flow->judged_ns, config->judge_again_ns, now_ns);
}

/* As on the wire. Superframes of a guest come without gso_segs: nobody has counted them yet. */
static __always_inline __u64 packets_of(const struct __sk_buff* skb) {
  __u32 segment = skb->gso_size;
  return segment == 0 ? 1 : (skb->len + segment - 1) / segment;
}

static __always_inline int opens(const struct packet* packet) {
  return (packet->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
}

static __always_inline int is_echo_reply(const struct packet* packet) {
  __u8 type = packet->icmp_type;
  return packet->key.protocol == IPPROTO_ICMP ? type == 0 : packet->key.protocol == PROTOCOL_ICMP6 && type == 129;
}

/* Whether a RST from `side` is where the other side expects the next byte. */
static __always_inline int believable_reset(const struct hw_flow* flow, const struct packet* packet, int side) {
  if (flow->state == HW_STATE_TCP_OPENING) {
    if (side == TO_GUEST) return (packet->tcp_flags & TCP_ACK) && packet->acknowledgement == flow->initial_sequence + 1;
    return packet->sequence - flow->initial_sequence <= RST_WINDOW;
  }
  __u32 expected = flow->acknowledged[!side];
  return expected != 0 && packet->sequence - expected < RST_WINDOW;
}

static __always_inline __u8 next_tcp_state(const struct hw_flow* flow, const struct packet* packet, int side) {
  __u8 flags = packet->tcp_flags, state = flow->state;

  if (flags & TCP_RST) return believable_reset(flow, packet, side) ? HW_STATE_TCP_CLOSED : state;
  if (state == HW_STATE_TCP_CLOSED) return state;
  if (flags & TCP_FIN) return HW_STATE_TCP_CLOSING;
  switch (state) {
    case HW_STATE_JUDGED:
      if (side == FROM_GUEST && opens(packet)) return HW_STATE_TCP_OPENING;
      return HW_STATE_TCP_ESTABLISHED;
    case HW_STATE_TCP_OPENING:
      if (side == TO_GUEST && (flags & TCP_ACK) && packet->acknowledgement == flow->initial_sequence + 1)
        return HW_STATE_TCP_ESTABLISHED;
      return state;
    default: return state;
  }
}

static __always_inline __u8 next_state(const struct hw_flow* flow, const struct packet* packet, int side) {
  switch (packet->key.protocol) {
    case IPPROTO_TCP: return next_tcp_state(flow, packet, side);
    case IPPROTO_UDP: return flow->packets[!side] ? HW_STATE_UDP_TWO_WAY : HW_STATE_UDP_ONE_WAY;
    case IPPROTO_ICMP:
    case PROTOCOL_ICMP6: return HW_STATE_ICMP;
    default: return HW_STATE_OTHER;
  }
}

/* One more packet of an allowed flow. */
static __always_inline void advance(struct hw_flow* flow, const struct packet* packet, const struct __sk_buff* skb,
                                    int side, __u64 now_ns) {
  __u8 state = next_state(flow, packet, side);
  if (state != flow->state) flow->state = state;
  if (packet->key.protocol == IPPROTO_TCP && (packet->tcp_flags & TCP_ACK))
    flow->acknowledged[side] = packet->acknowledgement;
  flow->last_seen_ns = now_ns;
  __sync_fetch_and_add(&flow->packets[side], packets_of(skb));
  __sync_fetch_and_add(&flow->bytes[side], skb->len);
}

static __always_inline void fragment_key_of(const struct packet* packet, struct hw_fragment_key* key) {
  __builtin_memset(key, 0, sizeof(*key));
  __builtin_memcpy(key->local, packet->key.local, 16);
  __builtin_memcpy(key->remote, packet->key.remote, 16);
  key->id = packet->fragment_id;
  key->vlan = packet->key.vlan;
  key->protocol = packet->key.protocol;
}

static __always_inline void remember_fragment(const struct packet* packet, __u32 verdict, __u64 now_ns) {
  struct hw_fragment_key key;
  struct hw_fragment value = {.seen_ns = now_ns, .verdict = verdict};
  fragment_key_of(packet, &key);
  bpf_map_update_elem(&fragments, &key, &value, BPF_ANY);
}

/* What to do with a packet that no verdict covers. */
static __always_inline int ask(struct __sk_buff* skb, struct hw_config* config, __u64 now_ns) {
  int alone = older_than(config->heartbeat_ns, config->heartbeat_limit_ns, now_ns);
  int full = (__s64)(config->held - config->taken) >= (__s64)config->hold_limit;

  if (alone || full) {
    if (!alone) count(HW_COUNT_HOLD_FULL);
    return config->default_verdict == HW_ALLOW ? pass(HW_COUNT_DEFAULT_ALLOWED) : drop(HW_COUNT_DEFAULT_DENIED);
  }
  __sync_fetch_and_add(&config->held, 1);
  count(HW_COUNT_HELD);
  skb->mark = config->magic; /* for hold_gate */
  return bpf_redirect(config->hold_ifindex, 0);
}

/*
 * A guest's SYN-ACK or RST to a SYN of outside. It belongs to no judged flow: to one that begins, or to none. An older
 * entry of the tuple is another connection's, for the guest has just let go of that.
 */
static __always_inline int answers_syn(const struct packet* packet, const struct hw_config* config, __u64 now_ns) {
  __u8 flags = packet->tcp_flags & (TCP_SYN | TCP_RST | TCP_FIN | TCP_ACK);
  if ((flags != (TCP_SYN | TCP_ACK) && flags != (TCP_RST | TCP_ACK)) || packet->has_payload) return 0;
  const struct hw_inbound* syn = bpf_map_lookup_elem(&inbound, &packet->key);
  return syn && packet->acknowledgement == syn->sequence + 1 && !older_than(syn->seen_ns, config->inbound_ns, now_ns);
}

static __always_inline int follow_first_fragment(struct __sk_buff* skb, const struct packet* packet,
                                                 struct hw_config* config, __u64 now_ns) {
  struct hw_fragment_key key;
  fragment_key_of(packet, &key);
  const struct hw_fragment* first = bpf_map_lookup_elem(&fragments, &key);
  if (!first || older_than(first->seen_ns, config->fragment_ns, now_ns)) return ask(skb, config, now_ns);
  count(HW_COUNT_FRAGMENTS);
  return first->verdict == HW_ALLOW ? pass(HW_COUNT_PASSED) : drop(HW_COUNT_DENIED);
}

static __always_inline int another_connection(const struct hw_flow* flow, const struct packet* packet, __u32 begun_by) {
  return packet->key.protocol == IPPROTO_TCP && opens(packet) &&
         !(flow->sequence_of == begun_by && flow->initial_sequence == packet->sequence);
}

static __always_inline int judge_flow(struct __sk_buff* skb, const struct packet* packet, enum kind kind,
                                      struct hw_config* config, int reinjected, __u64 now_ns) {
  struct hw_flow* flow = bpf_map_lookup_elem(&flows, &packet->key);

  if (packet->key.protocol == IPPROTO_TCP && kind == KIND_FLOW && answers_syn(packet, config, now_ns)) {
    if (flow && (flow->sequence_of != HW_IN || flow->initial_sequence != packet->acknowledgement - 1))
      bpf_map_delete_elem(&flows, &packet->key);
    return pass(HW_COUNT_ANSWERED);
  }
  if (!flow || !judgement_holds(flow, config, packet->key.protocol, now_ns) ||
      (kind == KIND_FLOW && another_connection(flow, packet, HW_OUT))) {
    if (!reinjected) return ask(skb, config, now_ns);
    if (packet->first_fragment) remember_fragment(packet, HW_ALLOW, now_ns);
    return pass(HW_COUNT_PASSED); /* user space let this one packet pass */
  }
  if (packet->first_fragment) remember_fragment(packet, flow->verdict, now_ns);
  if (flow->verdict != HW_ALLOW) {
    __sync_fetch_and_add(&flow->dropped, packets_of(skb));
    return drop(HW_COUNT_DENIED);
  }
  if (kind == KIND_FLOW) advance(flow, packet, skb, FROM_GUEST, now_ns);
  return pass(HW_COUNT_PASSED);
}

/* The tap's ingress: what the guest sends. */
SEC("tc")
int from_guest(struct __sk_buff* skb) {
  struct hw_config* config = configuration();
  struct packet packet = {};

  if (!config) return TC_ACT_SHOT;
  int reinjected = skb->mark != 0 && skb->mark == config->magic;
  if (reinjected) {
    skb->mark = 0;
    count(HW_COUNT_REINJECTED);
  }
  __u64 now_ns = bpf_ktime_get_coarse_ns();
  enum kind kind = parse(skb, &packet, 1);
  switch (kind) {
    case KIND_FLOW:
    case KIND_ICMP_ERROR: return judge_flow(skb, &packet, kind, config, reinjected, now_ns);
    case KIND_LATER_FRAGMENT:
      return reinjected ? pass(HW_COUNT_PASSED) : follow_first_fragment(skb, &packet, config, now_ns);
    case KIND_NEIGHBOUR: return pass(HW_COUNT_NEIGHBOUR);
    case KIND_NON_IP:
      return config->non_ip_verdict == HW_ALLOW ? pass(HW_COUNT_NON_IP_ALLOWED) : drop(HW_COUNT_NON_IP_DENIED);
    default: return drop(HW_COUNT_MALFORMED);
  }
}

static __always_inline int remember_inbound(const struct packet* packet, enum kind kind, __u64 now_ns) {
  struct hw_inbound value = {.seen_ns = now_ns};

  if (kind != KIND_FLOW) return TC_ACT_UNSPEC;
  if (packet->key.protocol == IPPROTO_TCP) {
    if (!opens(packet)) return TC_ACT_UNSPEC; /* met in mid-flow: it says nothing about who began */
    value.sequence = packet->sequence;
  } else if (is_echo_reply(packet)) {
    return TC_ACT_UNSPEC;
  }
  struct hw_inbound* known = bpf_map_lookup_elem(&inbound, &packet->key);
  if (known && known->sequence == value.sequence)
    known->seen_ns = now_ns;
  else
    bpf_map_update_elem(&inbound, &packet->key, &value, BPF_ANY);
  return pass(HW_COUNT_INBOUND_NEW);
}

/* The tap's egress: what the guest receives. */
SEC("tc")
int to_guest(struct __sk_buff* skb) {
  struct hw_config* config = configuration();
  struct packet packet = {};

  if (!config) return TC_ACT_SHOT;
  enum kind kind = parse(skb, &packet, 0);
  if (kind != KIND_FLOW && kind != KIND_ICMP_ERROR) return TC_ACT_UNSPEC;

  __u64 now_ns = bpf_ktime_get_coarse_ns();
  struct hw_flow* flow = bpf_map_lookup_elem(&flows, &packet.key);
  if (!flow || expired(flow, config, now_ns) || (kind == KIND_FLOW && another_connection(flow, &packet, HW_IN)))
    return remember_inbound(&packet, kind, now_ns);
  if (flow->verdict != HW_ALLOW) {
    if (outdated(flow, config, now_ns))
      return TC_ACT_UNSPEC; /* other rules denied it, or these for a time: the guest's next packet is held and judged */
    __sync_fetch_and_add(&flow->dropped, packets_of(skb));
    return drop(HW_COUNT_DENIED);
  }
  if (kind == KIND_FLOW) advance(flow, &packet, skb, TO_GUEST, now_ns);
  return pass(HW_COUNT_PASSED);
}

/* hold's egress: only what from_guest sent here, none of the host's own chatter. */
SEC("tc")
int hold_gate(struct __sk_buff* skb) {
  const struct hw_config* config = configuration();
  return config && skb->mark == config->magic ? TC_ACT_OK : TC_ACT_SHOT;
}

/* hold's ingress: what user space puts back. */
SEC("tc")
int from_hold(struct __sk_buff* skb) {
  const struct hw_config* config = configuration();
  if (!config) return TC_ACT_SHOT;
  skb->mark = config->magic;
  return bpf_redirect(config->tap_ifindex, BPF_F_INGRESS);
}

/*
 * Called by user space (BPF_PROG_TEST_RUN): changes a flow's judgement in place, so that nothing counted is lost. What
 * makes it hold comes after the verdict: no packet of an outdated flow passes by the old verdict and the new time.
 */
SEC("syscall")
int judge(struct hw_judgement* judgement) {
  struct hw_flow_key key = judgement->key;
  struct hw_flow* flow = bpf_map_lookup_elem(&flows, &key);
  if (!flow) return 1;
  flow->owner = judgement->owner;
  flow->direction = judgement->direction;
  flow->verdict = judgement->verdict;
  flow->judged_ns = judgement->now_ns;
  flow->last_seen_ns = judgement->now_ns;
  barrier();
  flow->valid_until_ns = judgement->valid_until_ns;
  flow->generation = judgement->generation;
  return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
