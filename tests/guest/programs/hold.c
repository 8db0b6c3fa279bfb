// A process that holds many connections, and does nothing with them.
//
//   hold [-n SOCKETS]
//
// Opens SOCKETS TCP connections over the loopback device; their other ends are with a process named "hold-other".
// Prints "ready SOCKETS", then sleeps until it is killed.
#include "common.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

enum { kBacklog = 4096, kSocketsMax = 25000 };  // what ephemeral ports allow to one server

// On a port that is free: `at` tells which.
static int listen_here(struct sockaddr_storage* at) {
  socklen_t size = parse_address("127.0.0.1", 0, at);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || bind(fd, (void*)at, size) || listen(fd, kBacklog) || getsockname(fd, (void*)at, &size))
    die("cannot listen");
  return fd;
}

static void take_connections(int listener) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_NAME, "hold-other");
  for (;;) (void)accept(listener, NULL, NULL);
}

static void make_connections(int count, const struct sockaddr_storage* to) {
  for (int i = 0; i < count; i++) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (const void*)to, sizeof(struct sockaddr_in))) die("connection %d", i);
  }
}

int main(int argc, char** argv) {
  int count = 10;
  for (int option; (option = getopt(argc, argv, "n:")) != -1;) {
    if (option == 'n') count = atoi(optarg);
    if (option == '?') return 2;
  }
  if (count < 1 || count > kSocketsMax) return fprintf(stderr, "usage: hold [-n SOCKETS]\n"), 2;
  struct rlimit limit = {1 << 16, 1 << 16};
  if (setrlimit(RLIMIT_NOFILE, &limit)) die("setrlimit");
  struct sockaddr_storage at;
  int listener = listen_here(&at);
  if (fork() == 0) take_connections(listener);
  close(listener);
  make_connections(count, &at);
  printf("ready %d\n", count);
  fflush(stdout);
  for (;;) pause();
}
