// A spammer or a worm: connects to one port of many hosts, without waiting, and closes at once what opens.
//
//   scan [-u USER] [-p PORT] [-r PER_SECOND] [-n COUNT] [-c AT_ONCE] [-t TIMEOUT_MS] FIRST_HOST HOSTS
//
// Walks round HOSTS consecutive addresses from FIRST_HOST, COUNT connections in all (default: without end), as
// fast as PER_SECOND allows (0: no limit). Prints "attempts A connected C failed F pending P" every 200 ms.
#include "common.h"

enum { kAtOnceMax = 8192 };

struct attempt {
  int fd;
  long long started_ms;
};

static struct sockaddr_storage first;
static socklen_t size;
static struct attempt pending[kAtOnceMax];
static int pending_count;
static long attempts, connected, failed;

static struct sockaddr_storage host(long number) {
  struct sockaddr_storage to = first;
  struct sockaddr_in* in = (void*)&to;
  struct sockaddr_in6* in6 = (void*)&to;
  if (to.ss_family == AF_INET)
    in->sin_addr.s_addr = htonl(ntohl(in->sin_addr.s_addr) + (uint32_t)number);
  else
    in6->sin6_addr.s6_addr32[3] = htonl(ntohl(in6->sin6_addr.s6_addr32[3]) + (uint32_t)number);
  return to;
}

static void start(long hosts) {
  struct sockaddr_storage to = host(attempts % hosts);
  int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  struct linger at_once = {1, 0};  // a reset instead of TIME_WAIT
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  attempts++;
  if (fd >= 0 && (connect(fd, (void*)&to, size) == 0 || errno == EINPROGRESS)) {
    pending[pending_count++] = (struct attempt){fd, now_ms()};
    return;
  }
  failed++;
  if (fd >= 0) close(fd);
}

// True if this attempt is over.
static int settle(const struct attempt* attempt, long long timeout_ms) {
  struct sockaddr_storage peer;
  socklen_t peer_size = sizeof peer, error_size = sizeof(int);
  int error = 0;
  if (getpeername(attempt->fd, (void*)&peer, &peer_size) == 0)
    connected++;
  else if ((getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &error, &error_size) == 0 && error) ||
           now_ms() - attempt->started_ms > timeout_ms)
    failed++;
  else
    return 0;
  close(attempt->fd);
  return 1;
}

int main(int argc, char** argv) {
  const char* user = NULL;
  int port = 25, rate = 100, at_once = 512, timeout_ms = 3000;
  long count = -1;
  for (int option; (option = getopt(argc, argv, "u:p:r:n:c:t:")) != -1;) {
    if (option == 'u') user = optarg;
    if (option == 'p') port = atoi(optarg);
    if (option == 'r') rate = atoi(optarg);
    if (option == 'n') count = atol(optarg);
    if (option == 'c') at_once = atoi(optarg);
    if (option == 't') timeout_ms = atoi(optarg);
    if (option == '?') return 2;
  }
  if (argc - optind < 2 || at_once < 1 || at_once > kAtOnceMax)
    return fprintf(stderr, "usage: scan [options] FIRST_HOST HOSTS\n"), 2;
  size = parse_address(argv[optind], port, &first);
  long hosts = atol(argv[optind + 1]);
  if (hosts < 1) return 2;
  if (user) become_user(user);
  setvbuf(stdout, NULL, _IOLBF, 0);

  long long began_ms = now_ms(), told_ms = 0;
  while (count < 0 || attempts < count || pending_count > 0) {
    long due = rate ? (now_ms() - began_ms) * rate / 1000 + 1 : attempts + at_once;
    while (pending_count < at_once && attempts < due && (count < 0 || attempts < count)) start(hosts);
    for (int i = pending_count - 1; i >= 0; i--)
      if (settle(&pending[i], timeout_ms)) pending[i] = pending[--pending_count];
    if (now_ms() - told_ms >= 200) {
      told_ms = now_ms();
      printf("attempts %ld connected %ld failed %ld pending %d\n", attempts, connected, failed, pending_count);
    }
    usleep(2000);
  }
  printf("attempts %ld connected %ld failed %ld pending 0\n", attempts, connected, failed);
  return 0;
}
