/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Frames to flow keys, in the kernel: packet::parse (src/packet/packet.cc) once more, in the same steps.
 *
 * User space finds a held frame's entry by its own parser, so both must give the same key for the same frame;
 * agreement_test.cc holds them together.
 *
 * Headers are copied out with bpf_skb_load_bytes, wherever in the skb they lie: the guest chooses how much of a frame
 * is linear (virtio_net_hdr.hdr_len). Offsets instead of packet pointers also keep the verifier's work small.
 */
#ifndef HYPERWARD_DATAPATH_PARSE_BPF_H
#define HYPERWARD_DATAPATH_PARSE_BPF_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "flow_abi.h"

#define VLAN_TAGS_MAX 2
#define EXTENSION_HEADERS_MAX 8

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define NEXT_HOP_BY_HOP 0
#define NEXT_ROUTING 43
#define NEXT_FRAGMENT 44
#define NEXT_AUTHENTICATION 51
#define NEXT_DESTINATION_OPTIONS 60
#define PROTOCOL_ICMP6 58

enum kind {
  KIND_FLOW,           /* `key` is whole */
  KIND_LATER_FRAGMENT, /* `key` has no ports; `fragment_id` is set */
  KIND_ICMP_ERROR,     /* `key` is the quoted packet's flow */
  KIND_NEIGHBOUR,      /* ARP, RARP, IPv6 neighbour discovery */
  KIND_NON_IP,
  KIND_MALFORMED,
};

struct packet {
  struct hw_flow_key key __attribute__((aligned(8)));
  __u32 fragment_id;
  __u32 sequence, acknowledgement;
  __u8 tcp_flags;
  __u8 icmp_type;
  __u8 first_fragment;
  __u8 has_payload; /* TCP */
};

/* Where parsing stands: at the header of protocol `next`, in a packet that ends at `end`. */
struct cursor {
  __u32 at, end;
  __u32 fragment_id;
  __u16 fragment_offset;
  __u8 more_fragments;
  __u8 next;
};

/* The verifier of Linux 6.1 takes a helper's call in a loop for an endless one, depending on how it is laid out. */
#define UNROLLED _Pragma("clang loop unroll(full)")

struct ip_addresses {
  __be32 source[4], destination[4];
};

static __always_inline int have(const struct cursor* c, __u32 bytes) {
  return c->end - c->at >= bytes; /* `at` is never behind `end` */
}

/* Copies the next bytes. Nonzero: they are not there. */
static __always_inline int peek(struct __sk_buff* skb, const struct cursor* c, void* to, __u32 bytes) {
  return !have(c, bytes) || bpf_skb_load_bytes(skb, c->at, to, bytes);
}

static __always_inline int is_extension(__u8 next, int is_v6) {
  if (next == NEXT_AUTHENTICATION) return 1;
  return is_v6 &&
         (next == NEXT_HOP_BY_HOP || next == NEXT_ROUTING || next == NEXT_FRAGMENT || next == NEXT_DESTINATION_OPTIONS);
}

/* To the transport header, or to the data of a later fragment. Nonzero: malformed. */
static __noinline int skip_extension_headers(struct __sk_buff* skb, struct cursor* c, int is_v6) {
  int fragment_seen = 0;

  UNROLLED
  for (int headers = 0; headers <= EXTENSION_HEADERS_MAX; ++headers) {
    struct {
      __u8 next, length;
      __be16 offset;
      __be32 id;
    } header;

    if (!is_extension(c->next, is_v6) || c->fragment_offset != 0) return 0;
    if (headers == EXTENSION_HEADERS_MAX || peek(skb, c, &header, sizeof(header))) return -1;

    __u32 length = (header.length + 1) * 8;
    if (c->next == NEXT_AUTHENTICATION) length = (header.length + 2) * 4;
    if (c->next == NEXT_FRAGMENT) {
      if (fragment_seen) return -1;
      fragment_seen = 1;
      length = 8;
      c->fragment_offset = bpf_ntohs(header.offset) & 0xfff8;
      c->more_fragments = bpf_ntohs(header.offset) & 1;
      c->fragment_id = bpf_ntohl(header.id);
    }
    if (!have(c, length)) return -1;
    c->at += length;
    c->next = header.next;
  }
  return -1;
}

static __always_inline void map_v4(__be32* address, __be32 v4) {
  address[0] = 0;
  address[1] = 0;
  address[2] = bpf_htonl(0xffff);
  address[3] = v4;
}

static __always_inline int is_mapped_v4(const __be32* address) {
  return address[0] == 0 && address[1] == 0 && address[2] == bpf_htonl(0xffff);
}

/* A quoted packet need not be whole. */
static __always_inline int read_ipv4(struct __sk_buff* skb, struct cursor* c, struct ip_addresses* addresses,
                                     int quoted) {
  struct iphdr ip;
  if (peek(skb, c, &ip, sizeof(ip)) || ip.version != 4) return -1;
  __u32 header = ip.ihl * 4, total = bpf_ntohs(ip.tot_len), available = c->end - c->at;
  if (total == 0 && available > 0xffff) total = available; /* BIG TCP */
  if (header < sizeof(ip) || header > available || total < header) return -1;
  if (total > available) {
    if (!quoted) return -1;
    total = available;
  }

  __u16 field = bpf_ntohs(ip.frag_off);
  map_v4(addresses->source, ip.saddr);
  map_v4(addresses->destination, ip.daddr);
  c->next = ip.protocol;
  c->fragment_id = bpf_ntohs(ip.id);
  c->fragment_offset = (field & 0x1fff) * 8;
  c->more_fragments = (field & 0x2000) != 0;
  c->end = c->at + total;
  c->at += header;
  return is_extension(c->next, 0) ? skip_extension_headers(skb, c, 0) : 0;
}

static __always_inline int read_ipv6(struct __sk_buff* skb, struct cursor* c, struct ip_addresses* addresses,
                                     int quoted, __u8* hop_limit) {
  struct ipv6hdr ip;
  if (peek(skb, c, &ip, sizeof(ip)) || ip.version != 6) return -1;
  c->at += sizeof(ip);
  __u32 payload = bpf_ntohs(ip.payload_len), available = c->end - c->at;
  if (payload == 0 && available > 0xffff) payload = available; /* BIG TCP */
  if (payload > available) {
    if (!quoted) return -1;
    payload = available;
  }

  __builtin_memcpy(addresses->source, &ip.saddr, 16);
  __builtin_memcpy(addresses->destination, &ip.daddr, 16);
  if (is_mapped_v4(addresses->source) || is_mapped_v4(addresses->destination)) return -1;
  *hop_limit = ip.hop_limit;
  c->next = ip.nexthdr;
  c->fragment_id = 0;
  c->fragment_offset = 0;
  c->more_fragments = 0;
  c->end = c->at + payload;
  return is_extension(c->next, 1) ? skip_extension_headers(skb, c, 1) : 0;
}

static __always_inline int has_ports(__u8 protocol) {
  return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

static __always_inline int is_icmp(__u8 protocol) {
  return protocol == IPPROTO_ICMP || protocol == PROTOCOL_ICMP6;
}

static __always_inline int is_icmp_query(__u8 protocol, __u8 type) {
  if (protocol == PROTOCOL_ICMP6) return type == 128 || type == 129;
  return type == 0 || type == 8 || (type >= 13 && type <= 18);
}

static __always_inline int is_icmp_error(__u8 protocol, __u8 type) {
  if (protocol == PROTOCOL_ICMP6) return type >= 1 && type <= 4;
  return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

static __always_inline void set_key(struct hw_flow_key* key, const struct ip_addresses* addresses, __be16 source_port,
                                    __be16 destination_port, __u8 protocol, int source_is_guest) {
  if (source_is_guest) {
    __builtin_memcpy(key->local, addresses->source, 16);
    __builtin_memcpy(key->remote, addresses->destination, 16);
    key->local_port = source_port;
    key->remote_port = destination_port;
  } else {
    __builtin_memcpy(key->local, addresses->destination, 16);
    __builtin_memcpy(key->remote, addresses->source, 16);
    key->local_port = destination_port;
    key->remote_port = source_port;
  }
  key->protocol = protocol;
}

struct icmp_header {
  __u8 type, code;
  __be16 checksum;
  __be16 identifier, sequence;
};

/*
 * The packet that an ICMP error quotes; `c` is behind the ICMP header. One that its receiver did not send is no error
 * about a flow of theirs, but an ICMP packet like any other: KIND_FLOW, and the key stays.
 */
static __noinline int read_quoted(struct __sk_buff* skb, struct cursor* c, struct packet* packet,
                                  const struct ip_addresses* outer, int source_is_guest) {
  struct ip_addresses addresses;
  __be16 ports[2] = {};
  __u8 hop_limit;

  if (c->next == IPPROTO_ICMP ? read_ipv4(skb, c, &addresses, 1) : read_ipv6(skb, c, &addresses, 1, &hop_limit))
    return KIND_MALFORMED;
  if (c->fragment_offset == 0) {
    if (has_ports(c->next)) {
      if (peek(skb, c, ports, sizeof(ports))) return KIND_MALFORMED;
    } else if (is_icmp(c->next)) {
      struct icmp_header icmp;
      if (peek(skb, c, &icmp, sizeof(icmp))) return KIND_MALFORMED;
      if (is_icmp_query(c->next, icmp.type)) ports[0] = ports[1] = icmp.identifier;
    }
  }
  for (int i = 0; i < 4; ++i)
    if (addresses.source[i] != outer->destination[i]) return KIND_FLOW;
  set_key(&packet->key, &addresses, ports[0], ports[1], c->next, !source_is_guest);
  return KIND_ICMP_ERROR;
}

static __always_inline enum kind read_icmp(struct __sk_buff* skb, struct cursor* c, struct packet* packet,
                                           const struct ip_addresses* addresses, __u8 hop_limit, int source_is_guest) {
  struct icmp_header icmp;
  if (peek(skb, c, &icmp, sizeof(icmp))) return KIND_MALFORMED;
  packet->icmp_type = icmp.type;
  /* RFC 4861: the hop limit of 255 shows that no router has forwarded it. */
  if (c->next == PROTOCOL_ICMP6 && icmp.type >= 133 && icmp.type <= 137 && hop_limit == 255 && !c->more_fragments)
    return KIND_NEIGHBOUR;
  __be16 identifier = is_icmp_query(c->next, icmp.type) ? icmp.identifier : 0;
  set_key(&packet->key, addresses, identifier, identifier, c->next, source_is_guest);
  if (!is_icmp_error(c->next, icmp.type)) return KIND_FLOW;
  c->at += sizeof(icmp);
  return read_quoted(skb, c, packet, addresses, source_is_guest);
}

static __always_inline enum kind read_transport(struct __sk_buff* skb, struct cursor* c, struct packet* packet,
                                                const struct ip_addresses* addresses, __u8 hop_limit,
                                                int source_is_guest) {
  __be16 ports[2] = {};

  packet->fragment_id = c->fragment_id;
  if (c->fragment_offset != 0) {
    /* It could write over the ports and flags of a header that was judged already (RFC 1858, 3128). */
    if (c->next == IPPROTO_TCP && c->fragment_offset < sizeof(struct tcphdr)) return KIND_MALFORMED;
    set_key(&packet->key, addresses, 0, 0, c->next, source_is_guest);
    return KIND_LATER_FRAGMENT;
  }
  packet->first_fragment = c->more_fragments;

  if (c->next == IPPROTO_TCP) {
    struct tcphdr tcp;
    if (peek(skb, c, &tcp, sizeof(tcp))) return KIND_MALFORMED;
    __u32 header = tcp.doff * 4;
    if (header < sizeof(tcp) || (!have(c, header) && !c->more_fragments)) return KIND_MALFORMED;
    packet->sequence = bpf_ntohl(tcp.seq);
    packet->acknowledgement = bpf_ntohl(tcp.ack_seq);
    packet->tcp_flags = ((__u8*)&tcp)[13];
    packet->has_payload = have(c, header + 1);
    ports[0] = tcp.source;
    ports[1] = tcp.dest;
  } else if (is_icmp(c->next)) {
    return read_icmp(skb, c, packet, addresses, hop_limit, source_is_guest);
  } else if (has_ports(c->next)) {
    if (!have(c, c->next == IPPROTO_UDP ? 8 : 12) || peek(skb, c, ports, sizeof(ports))) return KIND_MALFORMED;
  }
  set_key(&packet->key, addresses, ports[0], ports[1], c->next, source_is_guest);
  return KIND_FLOW;
}

/*
 * Gives an enum kind; `packet` is all zero before. A global function: the verifier walks through it once, by itself,
 * instead of once for each way that leads here, so that it has to be shown that `packet` is there.
 */
__noinline int parse(struct __sk_buff* skb, struct packet* packet, int source_is_guest) {
  struct cursor cursor = {.end = skb->len};
  struct ip_addresses addresses;
  struct ethhdr ethernet;
  __u8 hop_limit = 0;
  int tags = 0;

  if (!packet) return KIND_MALFORMED;
  if (peek(skb, &cursor, &ethernet, sizeof(ethernet))) return KIND_MALFORMED;
  cursor.at += sizeof(ethernet);
  __be16 ethertype = ethernet.h_proto;
  if (skb->vlan_present) { /* the outermost tag was taken out of the frame */
    packet->key.vlan = skb->vlan_tci & 0xfff;
    tags = 1;
  }
  UNROLLED
  for (int i = 0; i < VLAN_TAGS_MAX; ++i) {
    struct {
      __be16 tci, ethertype;
    } tag;
    if (tags == VLAN_TAGS_MAX) break;
    if (ethertype != bpf_htons(ETH_P_8021Q) && ethertype != bpf_htons(ETH_P_8021AD)) break;
    if (peek(skb, &cursor, &tag, sizeof(tag))) return KIND_MALFORMED;
    if (tags == 0) packet->key.vlan = bpf_ntohs(tag.tci) & 0xfff;
    ethertype = tag.ethertype;
    cursor.at += sizeof(tag);
    ++tags;
  }

  if (ethertype == bpf_htons(ETH_P_ARP) || ethertype == bpf_htons(ETH_P_RARP)) return KIND_NEIGHBOUR;
  if (ethertype == bpf_htons(ETH_P_IP)) {
    if (read_ipv4(skb, &cursor, &addresses, 0)) return KIND_MALFORMED;
  } else if (ethertype == bpf_htons(ETH_P_IPV6)) {
    if (read_ipv6(skb, &cursor, &addresses, 0, &hop_limit)) return KIND_MALFORMED;
  } else {
    return KIND_NON_IP;
  }
  return read_transport(skb, &cursor, packet, &addresses, hop_limit, source_is_guest);
}

#endif /* HYPERWARD_DATAPATH_PARSE_BPF_H */
