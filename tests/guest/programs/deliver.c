// A mail server's outgoing side: hands one message after the other to a host over SMTP (RFC 5321).
//
//   deliver [-u USER] [-p PORT] [-i INTERVAL_MS] [-n COUNT] [-t TIMEOUT_MS] HOST
//
// Prints "delivered D failed F" after each message; ends with status 0 if all were delivered.
#include "common.h"

#include <signal.h>

static int expect(int fd, char code) {  // the reply's first digit
  char reply[512];
  size_t used = 0;
  while (used < sizeof reply - 1) {
    ssize_t n = read(fd, reply + used, sizeof reply - 1 - used);
    if (n <= 0) return 0;
    used += (size_t)n;
    if (reply[used - 1] == '\n') return reply[0] == code;
  }
  return 0;
}

static int say(int fd, const char* text, char code) {
  return write(fd, text, strlen(text)) == (ssize_t)strlen(text) && expect(fd, code);
}

static int deliver(const struct sockaddr_storage* to, socklen_t size, int timeout_ms) {
  int fd = connect_within(SOCK_STREAM, to, size, timeout_ms);
  if (fd < 0) return 0;
  int taken = expect(fd, '2') &&  //
              say(fd, "HELO guest\r\n", '2') && say(fd, "MAIL FROM:<mail@guest>\r\n", '2') &&
              say(fd, "RCPT TO:<someone@host>\r\n", '2') && say(fd, "DATA\r\n", '3') &&
              say(fd, "Subject: test\r\n\r\nhello\r\n.\r\n", '2');
  if (taken) say(fd, "QUIT\r\n", '2');
  close(fd);
  return taken;
}

int main(int argc, char** argv) {
  const char* user = NULL;
  int port = 25, interval_ms = 100, timeout_ms = 5000;
  long count = -1, delivered = 0, failed = 0;
  for (int option; (option = getopt(argc, argv, "u:p:i:n:t:")) != -1;) {
    if (option == 'u') user = optarg;
    if (option == 'p') port = atoi(optarg);
    if (option == 'i') interval_ms = atoi(optarg);
    if (option == 'n') count = atol(optarg);
    if (option == 't') timeout_ms = atoi(optarg);
    if (option == '?') return 2;
  }
  if (optind >= argc) return fprintf(stderr, "usage: deliver [options] HOST\n"), 2;
  struct sockaddr_storage to;
  socklen_t size = parse_address(argv[optind], port, &to);
  if (user) become_user(user);
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);
  while (count < 0 || delivered + failed < count) {
    long long next_ms = now_ms() + interval_ms;
    deliver(&to, size, timeout_ms) ? delivered++ : failed++;
    printf("delivered %ld failed %ld\n", delivered, failed);
    long long left_ms = next_ms - now_ms();
    if (left_ms > 0) usleep((useconds_t)left_ms * 1000);
  }
  return failed != 0;
}
