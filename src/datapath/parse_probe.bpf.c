/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* For agreement_test.cc: the parser alone, and what it found. */
#include <linux/bpf.h>

#include "parse.bpf.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct packet);
} found SEC(".maps");

static __always_inline int probe(struct __sk_buff* skb, int source_is_guest) {
  __u32 zero = 0;
  struct packet packet = {};
  int kind = parse(skb, &packet, source_is_guest);
  bpf_map_update_elem(&found, &zero, &packet, BPF_ANY);
  return kind;
}

SEC("tc")
int probe_from_guest(struct __sk_buff* skb) {
  return probe(skb, 1);
}

SEC("tc")
int probe_to_guest(struct __sk_buff* skb) {
  return probe(skb, 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
