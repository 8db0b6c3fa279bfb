// A client that means no harm: asks one question after the other, and waits for each answer.
//
//   ask [-u USER] [-p PORT] [-i INTERVAL_MS] [-n COUNT] [-t TIMEOUT_MS] dns|get HOST [HOSTS]
//
// dns is a datagram to port 53 from a port of its own, answered by one datagram (serve echo). get fetches a page by
// HTTP from port 80, and is answered only by all of it (serve web). Walks round HOSTS addresses. Prints "answered A
// failed F" after each; ends with status 0 if all were answered.
#include "common.h"

#include <signal.h>

static int dns(int fd) {
  char answer[512];
  return write(fd, "who is it?", 10) == 10 && read(fd, answer, sizeof answer) == 10;
}

static int get(int fd) {
  static const char request[] = "GET / HTTP/1.0\r\n\r\n";
  static char buffer[1 << 16];
  size_t used = 0, promised = 0, got = 0;
  char* body = NULL;
  if (write(fd, request, sizeof request - 1) != sizeof request - 1) return 0;
  for (ssize_t n; !body && (n = read(fd, buffer + used, 1024)) > 0;) {
    buffer[used += (size_t)n] = 0;
    if (used > sizeof buffer - 2048) return 0;
    if ((body = strstr(buffer, "\r\n\r\n"))) got = used - (size_t)(body + 4 - buffer);
  }
  const char* length = body ? strstr(buffer, "Content-Length: ") : NULL;
  if (!length || strncmp(buffer, "HTTP/1.0 200", 12) != 0) return 0;
  promised = strtoul(length + 16, NULL, 10);
  for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) got += (size_t)n;
  return got == promised;
}

int main(int argc, char** argv) {
  const char* user = NULL;
  int port = 0, interval_ms = 100, timeout_ms = 5000;
  long count = -1, answered = 0, failed = 0;
  for (int option; (option = getopt(argc, argv, "u:p:i:n:t:")) != -1;) {
    if (option == 'u') user = optarg;
    if (option == 'p') port = atoi(optarg);
    if (option == 'i') interval_ms = atoi(optarg);
    if (option == 'n') count = atol(optarg);
    if (option == 't') timeout_ms = atoi(optarg);
    if (option == '?') return 2;
  }
  int is_dns = argc - optind >= 2 && strcmp(argv[optind], "dns") == 0;
  if (argc - optind < 2 || (!is_dns && strcmp(argv[optind], "get") != 0))
    return fprintf(stderr, "usage: ask [options] dns|get HOST [HOSTS]\n"), 2;
  struct sockaddr_storage first;
  socklen_t size = parse_address(argv[optind + 1], port ? port : is_dns ? 53 : 80, &first);
  long hosts = argc - optind > 2 ? atol(argv[optind + 2]) : 1;
  if (hosts < 1) return 2;
  if (user) become_user(user);
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);
  while (count < 0 || answered + failed < count) {
    long long next_ms = now_ms() + interval_ms;
    struct sockaddr_storage to = address_after(&first, (answered + failed) % hosts, 0);
    int fd = connect_within(is_dns ? SOCK_DGRAM : SOCK_STREAM, &to, size, timeout_ms);
    fd >= 0 && (is_dns ? dns(fd) : get(fd)) ? answered++ : failed++;
    if (fd >= 0) close(fd);
    printf("answered %ld failed %ld\n", answered, failed);
    long long left_ms = next_ms - now_ms();
    if (left_ms > 0) usleep((useconds_t)left_ms * 1000);
  }
  return failed != 0;
}
