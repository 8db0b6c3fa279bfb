// A spammer, a worm, a guesser of passwords: connects to many hosts, without waiting, and closes at once what opens.
//
//   scan [-u USER] [-p PORT] [-q PORTS] [-b] [-r PER_SECOND] [-n COUNT] [-c AT_ONCE] [-t TIMEOUT_MS] FIRST_HOST HOSTS
//
// Walks round HOSTS consecutive addresses from FIRST_HOST, each time at the next of PORTS consecutive ports, COUNT
// connections in all (default: without end), as fast as PER_SECOND allows (0: no limit). With -b it closes only what
// has said something. Prints "attempts A connected C failed F pending P" every 200 ms.
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
static int wants_banner;

static void start(long hosts, int ports) {
  struct sockaddr_storage to = address_after(&first, attempts % hosts, (int)(attempts / hosts % ports));
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

// Whether it has come as far as it shall: 1 yes, 0 not yet, -1 it never will.
static int progress(int fd) {
  struct sockaddr_storage peer;
  socklen_t peer_size = sizeof peer, error_size = sizeof(int);
  int error = 0;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size) != 0 || error) return -1;
  if (getpeername(fd, (void*)&peer, &peer_size) != 0) return 0;
  if (!wants_banner) return 1;
  char byte;
  ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
  return n > 0 ? 1 : n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

// True if this attempt is over.
static int settle(const struct attempt* attempt, long long timeout_ms) {
  int far = progress(attempt->fd);
  if (far == 0 && now_ms() - attempt->started_ms <= timeout_ms) return 0;
  far > 0 ? connected++ : failed++;
  close(attempt->fd);
  return 1;
}

int main(int argc, char** argv) {
  const char* user = NULL;
  int port = 25, ports = 1, rate = 100, at_once = 512, timeout_ms = 3000;
  long count = -1;
  for (int option; (option = getopt(argc, argv, "u:p:q:br:n:c:t:")) != -1;) {
    if (option == 'u') user = optarg;
    if (option == 'p') port = atoi(optarg);
    if (option == 'q') ports = atoi(optarg);
    if (option == 'b') wants_banner = 1;
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
  if (hosts < 1 || ports < 1) return 2;
  if (user) become_user(user);
  setvbuf(stdout, NULL, _IOLBF, 0);

  long long began_ms = now_ms(), told_ms = 0;
  while (count < 0 || attempts < count || pending_count > 0) {
    long due = rate ? (now_ms() - began_ms) * rate / 1000 + 1 : attempts + at_once;
    while (pending_count < at_once && attempts < due && (count < 0 || attempts < count)) start(hosts, ports);
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
