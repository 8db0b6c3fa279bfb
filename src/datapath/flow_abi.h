/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the BPF programs and user space share: the layout of every map.
 *
 * Maps are pinned and outlive the process that made them, so this layout is a contract between two builds of
 * hyperward, not only between two halves of one. Change anything here and raise HW_ABI_VERSION: an attach() that
 * finds another version's maps starts with empty ones.
 *
 * C for clang -target bpf, and C++. All integers are in the host's byte order unless their type says be16.
 */
#ifndef HYPERWARD_DATAPATH_FLOW_ABI_H
#define HYPERWARD_DATAPATH_FLOW_ABI_H

#include <linux/types.h>

#define HW_ABI_VERSION 2

enum hw_verdict {
  HW_ALLOW = 1,
  HW_DENY = 2,
};

/* Who began the flow. */
enum hw_direction {
  HW_DIRECTION_UNKNOWN = 0, /* first seen in mid-flow */
  HW_OUT = 1,               /* the guest */
  HW_IN = 2,                /* the world */
};

/* Where a flow stands. Each state has its own timeout in struct hw_config. */
enum hw_state {
  HW_STATE_JUDGED = 0,      /* has a verdict; no packet of it has passed yet */
  HW_STATE_TCP_OPENING,     /* SYN from the guest, no answer yet: half-open */
  HW_STATE_TCP_ESTABLISHED, /* both sides have spoken, or it was met in mid-flow */
  HW_STATE_TCP_CLOSING,     /* a FIN from either side */
  HW_STATE_TCP_CLOSED,      /* a believable RST, or a new connection has begun on the same tuple */
  HW_STATE_UDP_ONE_WAY,     /* only one side has spoken */
  HW_STATE_UDP_TWO_WAY,
  HW_STATE_ICMP,
  HW_STATE_OTHER,  /* a protocol without ports */
  HW_STATE_DENIED, /* counted from `judged_ns`, so that a denied flow is judged again from time to time */
  HW_STATES,
};

/*
 * A flow, the way the guest sees it: both directions have the same key. IPv4 addresses are v4-mapped. The ports are 0
 * for protocols without; an ICMP query has its identifier in both. The VLAN is the outermost tag's, 0 for none.
 */
struct hw_flow_key {
  __u8 local[16];
  __u8 remote[16];
  __be16 local_port;
  __be16 remote_port;
  __u16 vlan;
  __u8 protocol;
  __u8 zero;
};

/*
 * Whose flow it is, and how that was found. The BPF programs never look inside: it lies beside the verdict so that
 * a list of flows, or a restarted hyperward, has the evidence after the process in the guest is gone.
 */
struct hw_owner {
  __u32 uid;
  __u32 gid;
  __u32 pid;
  __u32 rule_line; /* of the rule that decided; 0: the default; the top bit: an id, not a line */
  __u64 start_time_ns;
  __u64 socket; /* the guest's struct sock: a guest-virtual address */
  __u32 inode;  /* of the socket */
  __u32 network_namespace;
  char comm[16];
  __u8 how;    /* the writer's own codes: how the owner was found, */
  __u8 reason; /* why no more is known, */
  __u8 state;  /* in which state the socket was, */
  __u8 flags;  /* and which of these fields are set */
  __u32 fd;
};

struct hw_flow {
  /* The judgement: user space writes it, when it stores the flow or through the program `judge`. */
  __u8 verdict;   /* enum hw_verdict */
  __u8 direction; /* enum hw_direction */
  __u8 state;     /* enum hw_state; belongs to the programs */
  __u8 zero;
  __u32 generation;     /* the rule set's; another one than the configuration's: judge again */
  __u64 judged_ns;      /* CLOCK_MONOTONIC, as all times here */
  __u64 valid_until_ns; /* from then on: judge again; 0: no end */

  /* What was seen: the programs write it. Index 0: from the guest, 1: to the guest. */
  __u64 last_seen_ns;
  __u32 initial_sequence; /* TCP: of the SYN that began the flow; user space writes it with the flow */
  __u32 sequence_of;      /* enum hw_direction: whose SYN; 0: initial_sequence is not known */
  __u32 acknowledged[2];  /* TCP: last acknowledgement sent by the guest, by the other side; 0: none */
  __u64 packets[2];       /* as on the wire: a superframe counts as its segments */
  __u64 bytes[2];         /* of frames */
  __u64 dropped;          /* packets, both ways */
  __u64 created_ns;

  struct hw_owner owner;
};

/* A packet from outside that no flow knew, kept so that the guest's answer is recognised as one. */
struct hw_inbound {
  __u64 seen_ns;
  __u32 sequence; /* TCP: only SYNs are kept, this is theirs */
  __u32 zero;
};

/* Later fragments carry no ports: what the first one was given holds for them all. */
struct hw_fragment_key {
  __u8 local[16];
  __u8 remote[16];
  __u32 id;
  __u16 vlan;
  __u8 protocol;
  __u8 zero;
};

struct hw_fragment {
  __u64 seen_ns;
  __u32 verdict; /* enum hw_verdict */
  __u32 zero;
};

enum hw_counter {
  HW_COUNT_PASSED,          /* packets of allowed flows, both ways */
  HW_COUNT_DENIED,          /* packets of denied flows, both ways */
  HW_COUNT_HELD,            /* frames of unjudged flows, given to user space */
  HW_COUNT_REINJECTED,      /* frames that came back from user space */
  HW_COUNT_DEFAULT_ALLOWED, /* nobody there to judge, or too much held: the default verdict */
  HW_COUNT_DEFAULT_DENIED,
  HW_COUNT_HOLD_FULL,      /* of those two: too much held */
  HW_COUNT_MALFORMED,      /* dropped: headers that no honest sender makes */
  HW_COUNT_NON_IP_ALLOWED, /* neither IP nor ARP */
  HW_COUNT_NON_IP_DENIED,
  HW_COUNT_NEIGHBOUR,   /* ARP and IPv6 neighbour discovery: always pass */
  HW_COUNT_FRAGMENTS,   /* later fragments that followed their first one's verdict */
  HW_COUNT_INBOUND_NEW, /* packets from outside that no flow knew; they pass */
  HW_COUNT_ANSWERED,    /* SYN-ACKs and RSTs of the guest that answer such a packet; they pass */
  HW_COUNTERS,
};

/* One per attachment, mapped by user space. What comes before `zero` is where it is in all versions. */
struct hw_config {
  __u32 abi_version;
  __u32 tap_ifindex;
  __u64 netns_cookie; /* of the tap's network namespace */
  __u32 hold_ifindex;
  __u32 magic; /* the mark of frames that come back; random, never 0 */
  __u32 generation;
  __u8 default_verdict; /* enum hw_verdict: of flows that nobody is there to judge */
  __u8 non_ip_verdict;
  __u8 made_clsact; /* the qdisc is ours: take it away again */
  __u8 zero;
  __u64 heartbeat_ns; /* user space lives; 0: it has gone */
  __u64 heartbeat_limit_ns;
  __u64 timeout_ns[HW_STATES];
  __u64 judge_again_ns; /* an owner is trusted this long for flows without connections; 0: for ever */
  __u64 inbound_ns;     /* how long a packet from outside is remembered */
  __u64 fragment_ns;
  __u64 hold_limit; /* frames that may wait for user space */
  __u64 held;       /* frames given to it: the programs add */
  __u64 taken;      /* frames that it took and does not keep: user space sets */
};

/* Argument of the program `judge` (BPF_PROG_TYPE_SYSCALL): a new judgement for a flow that goes on. */
struct hw_judgement {
  struct hw_flow_key key;
  struct hw_owner owner;
  __u64 now_ns;
  __u64 valid_until_ns;
  __u32 generation;
  __u8 verdict;
  __u8 direction;
  __u8 zero[2];
};

#define HW_STATIC_ASSERT(type, bytes) _Static_assert(sizeof(type) == (bytes), #type " is part of the pinned ABI")
#ifdef __cplusplus
#undef HW_STATIC_ASSERT
#define HW_STATIC_ASSERT(type, bytes) static_assert(sizeof(type) == (bytes), #type " is part of the pinned ABI")
#endif

HW_STATIC_ASSERT(struct hw_flow_key, 40);
HW_STATIC_ASSERT(struct hw_owner, 64);
HW_STATIC_ASSERT(struct hw_flow, 160);
HW_STATIC_ASSERT(struct hw_inbound, 16);
HW_STATIC_ASSERT(struct hw_fragment_key, 40);
HW_STATIC_ASSERT(struct hw_fragment, 16);
HW_STATIC_ASSERT(struct hw_judgement, 128);

#endif /* HYPERWARD_DATAPATH_FLOW_ABI_H */
