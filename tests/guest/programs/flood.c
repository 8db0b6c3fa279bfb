// Packets without connections: floods, and scans by a raw socket, past the guest's own TCP. IPv4.
//
//   flood [-u USER] [-p PORT] [-r PER_SECOND] [-n COUNT] [-e] [-s FIRST_SOURCE] [-S SOURCES] udp|syn FIRST_HOST HOSTS
//
// udp sends datagrams, from one socket or, with -e, each from a new one. syn writes whole packets as root, whoever it
// becomes: TCP SYNs from changing ports of the guest's own address, as nmap -sS, or walking round SOURCES addresses
// that are forged. Walks round HOSTS addresses, COUNT packets in all (default: without end), as fast as PER_SECOND
// allows (0: no limit). Prints "sent S failed F" every 200 ms.
#include "common.h"

#include <netinet/ip.h>
#include <netinet/tcp.h>

enum { kBatch = 64 };

static struct sockaddr_storage first, first_source;
static long sent, failed;

static uint32_t address_of(const struct sockaddr_storage* from) {
  return ((const struct sockaddr_in*)from)->sin_addr.s_addr;
}

// RFC 1071, without the last step.
static uint32_t sum(const void* data, size_t size) {
  const uint16_t* words = data;
  uint32_t total = 0;
  for (size_t i = 0; i < size / 2; i++) total += words[i];
  return total;
}

static int send_syn(int fd, const struct sockaddr_storage* to, long sources) {
  struct {
    struct iphdr ip;
    struct tcphdr tcp;
  } packet = {
      .ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP, .tot_len = htons(40)},  // the kernel adds up
      .tcp = {.doff = 5, .syn = 1, .window = htons(1024)},
  };
  struct sockaddr_storage from = address_after(&first_source, sent % sources, 0);
  packet.ip.saddr = address_of(&from);
  packet.ip.daddr = address_of(to);
  packet.tcp.source = htons((uint16_t)(1024 + sent * 7919 % 60000));
  packet.tcp.dest = ((const struct sockaddr_in*)to)->sin_port;
  packet.tcp.seq = htonl((uint32_t)sent * 2654435761U);
  uint32_t total =
      sum(&packet.tcp, sizeof packet.tcp) + sum(&packet.ip.saddr, 8) + htons(IPPROTO_TCP) + htons(sizeof packet.tcp);
  while (total >> 16) total = (total & 0xffff) + (total >> 16);
  packet.tcp.check = (uint16_t)~total;
  struct sockaddr_in out = {.sin_family = AF_INET, .sin_addr.s_addr = packet.ip.daddr};
  return sendto(fd, &packet, sizeof packet, 0, (void*)&out, sizeof out) == sizeof packet;
}

static int send_datagram(int fd, const struct sockaddr_storage* to) {
  static const char data[64];
  return sendto(fd, data, sizeof data, 0, (const void*)to, sizeof(struct sockaddr_in)) == sizeof data;
}

static int send_from_a_new_port(const struct sockaddr_storage* to) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  int done = fd >= 0 && send_datagram(fd, to);
  if (fd >= 0) close(fd);
  return done;
}

static void find_own_address(void) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  socklen_t size = sizeof first_source;
  if (connect(fd, (void*)&first, sizeof(struct sockaddr_in)) || getsockname(fd, (void*)&first_source, &size))
    die("no way to that host");
  close(fd);
}

int main(int argc, char** argv) {
  const char *user = NULL, *source = NULL;
  int port = 9, each_new = 0;
  long rate = 1000, count = -1, sources = 1;
  for (int option; (option = getopt(argc, argv, "u:p:r:n:es:S:")) != -1;) {
    if (option == 'u') user = optarg;
    if (option == 'p') port = atoi(optarg);
    if (option == 'r') rate = atol(optarg);
    if (option == 'n') count = atol(optarg);
    if (option == 'e') each_new = 1;
    if (option == 's') source = optarg;
    if (option == 'S') sources = atol(optarg);
    if (option == '?') return 2;
  }
  int is_syn = argc - optind == 3 && strcmp(argv[optind], "syn") == 0;
  if (argc - optind != 3 || (!is_syn && strcmp(argv[optind], "udp") != 0))
    return fprintf(stderr, "usage: flood [options] udp|syn FIRST_HOST HOSTS\n"), 2;
  parse_address(argv[optind + 1], port, &first);
  long hosts = atol(argv[optind + 2]);
  if (hosts < 1 || sources < 1) return 2;
  source ? (void)parse_address(source, 0, &first_source) : find_own_address();
  int fd = is_syn ? socket(AF_INET, SOCK_RAW, IPPROTO_RAW) : -1;
  if (user) become_user(user);
  if (!is_syn) fd = socket(AF_INET, SOCK_DGRAM, 0);  // its own
  if (fd < 0) die("socket");
  setvbuf(stdout, NULL, _IOLBF, 0);

  long long began_ms = now_ms(), told_ms = 0;
  while (count < 0 || sent + failed < count) {
    long due = rate ? (now_ms() - began_ms) * rate / 1000 + 1 : sent + failed + kBatch;
    for (int i = 0; i < kBatch && sent + failed < due && (count < 0 || sent + failed < count); i++) {
      struct sockaddr_storage to = address_after(&first, (sent + failed) % hosts, 0);
      int done = is_syn ? send_syn(fd, &to, sources) : each_new ? send_from_a_new_port(&to) : send_datagram(fd, &to);
      done ? sent++ : failed++;
    }
    if (now_ms() - told_ms >= 200) {
      told_ms = now_ms();
      printf("sent %ld failed %ld\n", sent, failed);
    }
    if (sent + failed >= due) usleep(1000);
  }
  printf("sent %ld failed %ld\n", sent, failed);
  return failed != 0;
}
