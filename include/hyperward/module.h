/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A filter module: an algorithm that judges a guest's packets, in a shared object of its own.
 *
 * The same file runs in two places. In the daemon a call costs next to nothing, and a crash would take the daemon with
 * it: that is for modules that are finished. In a process of its own a module may crash, hang or answer nonsense: it is
 * restarted, and meanwhile its packets meet the guest's default. A module cannot tell where it runs.
 *
 * A module exports one symbol, its table:
 *
 *   HYPERWARD_EXPORT const struct hyperward_module hyperward_module = { .size = sizeof(hyperward_module), ... };
 *
 * module.hpp makes that from a small C++ class. docs/writing-a-module.md is the way in.
 *
 * When it is asked. Once per flow and not once per packet: with the first packet of a flow that nothing is known of,
 * and again when its answer's lifetime is over, when rules or modules have changed, or when the owner of a flow without
 * connections is looked up anew. What it answers holds for both directions. An answer with the lifetime 0 holds for
 * this packet alone: a module that always answers so sees every packet.
 *
 * How answers combine. The rules come first, then the modules in their order. Who says deny decides, and the ones
 * behind are not asked; what nobody denies is allowed. So a module can only take away from what the rules allow, and
 * adding one never opens anything. The shortest of the lifetimes holds.
 *
 * How the interface grows. Every struct begins with its size, as its maker knew it; those that do not,
 * hyperward_field and hyperward_counter, stay as they are. Fields and functions are added at the end, which no padding
 * may precede: it would lie within the size of those who do not know the field. Whoever reads a struct takes what lies
 * beyond its size for 0, and whoever is asked for a smaller one fills that. HYPERWARD_ABI changes only when this cannot
 * hold, and then older modules are refused. A module that wants a function which older hosts lack tests
 * HYPERWARD_HAS(host, function).
 *
 * A version that was released is frozen: before this file changes, it is copied to tests/abi/module-1.N.h, and never
 * touched again. The tests there load a module of each frozen version here, and a module of today in a host of each.
 *
 * Threads. All calls for one instance come one after the other. Instances, one for each guest, may be called side by
 * side: a module keeps its state in its instance.
 *
 * Trust. What comes out of a guest's memory is its word, may be forged, and may change between two reads: copy once,
 * check the copy, use only the copy. Addresses are the guest's, never the host's.
 */
#ifndef HYPERWARD_MODULE_H
#define HYPERWARD_MODULE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define HYPERWARD_EXPORT extern "C" __attribute__((visibility("default")))
#else
#define HYPERWARD_EXPORT __attribute__((visibility("default")))
#endif

#define HYPERWARD_ABI 1u

/* Limits of the interface. */
#define HYPERWARD_REASON_BYTES 64u    /* of an answer's words, its NUL included */
#define HYPERWARD_COUNTERS_MAX 32u    /* of one module */
#define HYPERWARD_FRAME_MAX 2048u     /* bytes of a frame that a module can ask for */
#define HYPERWARD_SETTINGS_MAX 65536u /* bytes of settings */
#define HYPERWARD_FOREVER UINT32_MAX  /* a lifetime: as long as the flow, or until rules or modules change */

/* Is `member` in the struct that `pointer` shows, as its maker knew it? */
#define HYPERWARD_HAS(pointer, member) \
  ((pointer)->size >= offsetof(__typeof__(*(pointer)), member) + sizeof((pointer)->member))

enum hyperward_verdict {
  HYPERWARD_ALLOW = 1,
  HYPERWARD_DENY = 2,
};

/* Who began the flow. */
enum hyperward_direction {
  HYPERWARD_OUT = 1, /* the guest */
  HYPERWARD_IN = 2,  /* the world */
};

/* Why a module is asked. */
enum hyperward_why {
  HYPERWARD_NEW_FLOW = 1,
  HYPERWARD_RULES_CHANGED, /* rules or modules: the flow is known, with its owner as it was found at first */
  HYPERWARD_OWNER_AGED,    /* the flow is known, its owner was looked up anew */
  HYPERWARD_EXPIRED,       /* the last answer's lifetime is over */
};

/* What went wrong; functions return these negative. */
enum hyperward_error {
  HYPERWARD_UNREADABLE = 1, /* the guest cannot be read, or nothing is mapped there */
  HYPERWARD_NOT_FOUND,      /* no such thing in the guest as it is now */
  HYPERWARD_INCONSISTENT,   /* the guest's memory kept changing, or contradicts itself */
  HYPERWARD_LIMIT,          /* what one call may read of the guest is used up, or does not fit */
  HYPERWARD_UNSUPPORTED,    /* this guest's kernel has no such thing */
  HYPERWARD_INVALID,        /* the arguments are wrong */
};

/* What is known of the flow from its packets so far. Index 0: from the guest, 1: to the guest. */
struct hyperward_history {
  uint32_t size;
  uint8_t verdict; /* enum hyperward_verdict: of the last judgement */
  uint8_t zero[3];
  uint64_t created_ns, last_seen_ns, judged_ns; /* on the clock of hyperward_packet.time_ns */
  uint64_t packets[2], bytes[2];                /* frames as on the wire */
  uint64_t dropped;                             /* packets, both ways */
};

/* The packet in hand, and its flow as the guest sees it: `local` is always the guest's end. Valid during the call. */
struct hyperward_packet {
  uint32_t size;
  uint8_t direction; /* enum hyperward_direction: of the flow; the packet in hand is always the guest's */
  uint8_t why;       /* enum hyperward_why */
  uint8_t protocol;  /* of the IP header: 6 TCP, 17 UDP, ... */
  uint8_t tcp_flags; /* of this packet; 0 when it has none */
  uint8_t local_address[16], remote_address[16]; /* IPv4 is v4-mapped: ::ffff:10.0.0.2 */
  uint16_t local_port, remote_port;              /* in the host's byte order; ICMP queries: their identifier */
  uint16_t vlan;                                 /* 0: none */
  uint8_t icmp_type, icmp_code;
  uint64_t time_ns;        /* CLOCK_MONOTONIC of the host, when hyperward took it up */
  uint32_t frame_bytes;    /* its length on the wire; 0: no packet is in hand, the flow alone is judged */
  uint32_t captured_bytes; /* what `frame` holds of it */
  const uint8_t* frame;    /* from the Ethernet header on; NULL unless the module needs it */
  const struct hyperward_history* history; /* NULL for a new flow */
};

/* What the module says. It comes with `size` set, the lifetime HYPERWARD_FOREVER, and all else 0. */
struct hyperward_answer {
  uint32_t size;
  uint8_t verdict; /* enum hyperward_verdict: anything else is a fault of the module, which `reason` may explain */
  uint8_t log;     /* 1: this flow belongs into the log */
  uint8_t zero[2];
  uint32_t code;        /* of the reason, by the module's own count; below 2^20, kept and shown with the flow */
  uint32_t lifetime_ms; /* for how long the verdict holds for the packets that follow */
  char reason[HYPERWARD_REASON_BYTES]; /* for logs and events: words, ended by NUL; may be empty */
};

/* Best first; src/guest/types.h says more. */
enum hyperward_how {
  HYPERWARD_BY_CREDENTIALS = 0,
  HYPERWARD_BY_WAIT_QUEUE,
  HYPERWARD_BY_INDEX,
  HYPERWARD_BY_WALK,
  HYPERWARD_BY_LISTENER,
  HYPERWARD_BY_SOCKET_ONLY, /* the socket tells the user; the process is not known */
  HYPERWARD_NOT_FOUND_OUT,  /* an unknown owner */
};

#define HYPERWARD_KNOWN_UID 1u
#define HYPERWARD_KNOWN_GID 2u
#define HYPERWARD_KNOWN_PROCESS 4u

/* Whose flow it is. What is not known is 0. */
struct hyperward_owner {
  uint32_t size;
  uint8_t how;    /* enum hyperward_how */
  uint8_t reason; /* why no more is known: guest::Reason of src/guest/types.h */
  uint8_t known;  /* HYPERWARD_KNOWN_... */
  uint8_t zero;
  uint32_t uid, gid, pid;
  uint32_t fd;                 /* of the process, for the socket */
  uint64_t start_time_ns;      /* of the process, on the guest's monotonic clock */
  uint64_t task, file, socket; /* struct task_struct, struct file, struct sock */
  uint64_t inode;
  uint32_t network_namespace;
  char comm[16]; /* NUL at its end */
  uint8_t zero_end[4];
};

/* A process, by its leader. */
struct hyperward_task {
  uint32_t size;
  uint32_t pid, parent_pid;
  uint32_t uid, gid; /* real */
  uint8_t kernel_thread;
  uint8_t zero[3];
  uint64_t address, parent; /* struct task_struct */
  uint64_t start_time_ns;
  char comm[16];
};

/* An open file of a process. */
struct hyperward_file {
  uint32_t size;
  uint32_t fd;
  uint64_t address; /* struct file */
  uint64_t inode;
  uint64_t socket; /* struct sock; 0: it is no socket */
};

struct hyperward_socket {
  uint32_t size;
  uint8_t protocol;
  uint8_t state; /* the kernel's: 1 established, 7 not connected, 10 listening, ... */
  uint16_t local_port, remote_port;
  uint8_t zero[2];
  uint8_t local_address[16], remote_address[16];
  uint32_t uid;
  uint32_t network_namespace;
  uint64_t inode;
};

/* Where a member lies in its type. */
struct hyperward_field {
  uint32_t offset_bytes;
  uint32_t size_bytes;
};

/*
 * The guest and the flow in hand, during one call of judge(). All a module reads in one call is bounded: beyond it,
 * everything fails with HYPERWARD_LIMIT until the call ends.
 */
struct hyperward_view;

typedef int (*hyperward_visit_task)(void* context, const struct hyperward_task* task); /* not 0: stop */
typedef int (*hyperward_visit_file)(void* context, const struct hyperward_file* file);

/*
 * What hyperward does for a module. Valid from create() until destroy() returns; but for `log`, only during judge().
 * What returns int returns 0, or a length, or a negative enum hyperward_error. Structs to be filled come with their
 * size set.
 */
struct hyperward_host {
  uint32_t size;
  uint32_t abi;

  /* Which boot of the guest this is: another number, and addresses and fields of before mean nothing. 0: the guest
   * cannot be read at the moment, and of the following only owner() tells something. */
  uint64_t (*boot)(struct hyperward_view* view);

  /* The flow's owner, which is known already. Never fails: unknown is an answer. */
  void (*owner)(struct hyperward_view* view, struct hyperward_owner* owner);

  /* Every process, oldest first. A walk that the guest disturbs may show one twice, or end with INCONSISTENT. */
  int (*for_each_task)(struct hyperward_view* view, hyperward_visit_task visit, void* context);
  int (*task_by_pid)(struct hyperward_view* view, uint32_t pid, struct hyperward_task* task);
  int (*task_at)(struct hyperward_view* view, uint64_t address, struct hyperward_task* task); /* owner.task, parent */
  int (*for_each_file)(struct hyperward_view* view, uint64_t task, hyperward_visit_file visit, void* context);
  int (*socket_at)(struct hyperward_view* view, uint64_t socket, struct hyperward_socket* out);

  /* Paths as the process's own kernel writes them, ended by NUL; the length without it. */
  int (*executable)(struct hyperward_view* view, uint64_t task, char* path, size_t room); /* "/usr/bin/curl" */
  int (*cgroup)(struct hyperward_view* view, uint64_t task, char* path, size_t room);     /* "/system.slice/..." */

  /* Objects of the kernel, by the names of its source: field(view, "task_struct", "loginuid.val", &field). Embedded
   * members are followed, pointers are not. */
  int (*field)(struct hyperward_view* view, const char* type, const char* path, struct hyperward_field* field);
  int (*symbol)(struct hyperward_view* view, const char* name, uint64_t* address);
  int (*read)(struct hyperward_view* view, uint64_t address, void* out, size_t bytes);

  /* What the module would have said, had it been asked to act on this: shown as the rules' audit. 8 per call. */
  void (*remark)(struct hyperward_view* view, uint8_t verdict, uint32_t code);
  /* One line for hyperward's log. Beyond some lines a second they are counted, not written. */
  void (*log)(const char* line);
};

/* What a module needs to be asked at all. */
#define HYPERWARD_NEEDS_FRAME 1u /* bytes of the packet: `frame_bytes` of them */
#define HYPERWARD_NEEDS_GUEST 2u /* a guest that can be read: without, its packets meet the guest's default */

struct hyperward_counter {
  const char* name; /* a-z, 0-9 and _; the module's, valid as long as the instance */
  uint64_t value;   /* only ever rises */
};

/* The module. Strings and the table itself must stay as they are while it is loaded. */
struct hyperward_module {
  uint32_t size;
  uint32_t abi;            /* HYPERWARD_ABI */
  const char* name;        /* a-z, 0-9, _ and -: "connection-rate" */
  const char* version;     /* "1.0" */
  const char* description; /* one line */
  uint32_t needs;          /* HYPERWARD_NEEDS_... */
  uint32_t frame_bytes;    /* with HYPERWARD_NEEDS_FRAME: from the frame's start, HYPERWARD_FRAME_MAX at most */

  /* Makes an instance. `settings` is a JSON object, "{}" when there are none, ended by NUL. On failure: not 0, and
   * what is wrong as a sentence in `error`, ended by NUL. */
  int (*create)(const struct hyperward_host* host, const char* settings, void** instance, char* error, size_t room);
  void (*destroy)(void* instance);

  void (*judge)(void* instance, struct hyperward_view* view, const struct hyperward_packet* packet,
                struct hyperward_answer* answer);

  /* Fills `out` and says how many; may be NULL. Between calls of judge(). */
  size_t (*counters)(void* instance, struct hyperward_counter* out, size_t room);
};

/* The name of the exported table. */
#define HYPERWARD_MODULE_SYMBOL "hyperward_module"

#ifdef __cplusplus
}
#endif

#endif /* HYPERWARD_MODULE_H */
