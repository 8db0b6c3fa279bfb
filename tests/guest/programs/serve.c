// A tiny server, IPv4 and IPv6, one process, any number of connections.
//
//   serve [-u USER] [-p PORT] [-a ADDRESS] [-b BYTES] echo|discard|smtp|web
//
// echo and discard also answer UDP. smtp accepts every message and keeps none. web has one page, of BYTES. Every second
// in which something was served it prints "served N": connections for echo and discard, messages for smtp, requests for
// web.
#include "common.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>

enum service { kEcho, kDiscard, kSmtp, kWeb };
enum { kPort, kDatagrams, kConnection };
enum { kTextMax = 2048, kBacklog = 1024, kPageMax = 1 << 24, kPatienceMs = 5000 };

struct peer {
  int fd, kind;
  int in_message;  // smtp: between DATA and the lone dot
  size_t used;
  char text[kTextMax];  // an unfinished line or request
};

static enum service service;
static int queue;
static long served;
static char* page;  // web: the whole answer
static size_t page_size;

static void watch(int fd, int kind) {
  struct peer* peer = calloc(1, sizeof *peer);
  peer->fd = fd, peer->kind = kind;
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
  if (epoll_ctl(queue, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
}

static void part_from(struct peer* peer) {
  close(peer->fd);
  free(peer);
}

static void answer(const struct peer* peer, const char* text) {
  (void)!write(peer->fd, text, strlen(text));
}

static void make_page(size_t bytes) {
  page = malloc(bytes + 256);
  int head = sprintf(page, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n", bytes);
  memset(page + head, 'x', bytes);
  page[head + (int)bytes - 1] = '\n';
  page_size = (size_t)head + bytes;
}

// To its end, or until the peer is out of patience: the others wait.
static void send_page(const struct peer* peer) {
  for (size_t sent = 0; sent < page_size;) {
    ssize_t n = write(peer->fd, page + sent, page_size - sent);
    struct pollfd room = {.fd = peer->fd, .events = POLLOUT};
    if (n > 0)
      sent += (size_t)n;
    else if (errno != EAGAIN || poll(&room, 1, kPatienceMs) <= 0)
      return;
  }
}

static void welcome(int port_fd) {
  int fd = accept4(port_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  watch(fd, kConnection);
  if (service == kSmtp) (void)!write(fd, "220 test ESMTP\r\n", 16);
  if (service == kEcho || service == kDiscard) served++;
}

static void answer_datagram(int fd) {
  char data[2048];
  struct sockaddr_storage from;
  socklen_t size = sizeof from;
  ssize_t n = recvfrom(fd, data, sizeof data, MSG_DONTWAIT, (void*)&from, &size);
  if (n >= 0 && service == kEcho) sendto(fd, data, (size_t)n, 0, (void*)&from, size);
}

// One line of an SMTP dialogue (RFC 5321), without its end. False: the peer has quit.
static int smtp_line(struct peer* peer, const char* line) {
  if (peer->in_message) {
    if (strcmp(line, ".") == 0) peer->in_message = 0, served++, answer(peer, "250 taken\r\n");
    return 1;
  }
  if (strncasecmp(line, "DATA", 4) == 0)
    peer->in_message = 1, answer(peer, "354 go on\r\n");
  else if (strncasecmp(line, "QUIT", 4) == 0)
    return answer(peer, "221 bye\r\n"), 0;
  else
    answer(peer, "250 ok\r\n");
  return 1;
}

static int each_line(struct peer* peer) {
  for (char* end; (end = memchr(peer->text, '\n', peer->used));) {
    *end = 0;
    if (end > peer->text && end[-1] == '\r') end[-1] = 0;
    if (!smtp_line(peer, peer->text)) return 0;
    peer->used -= (size_t)(end + 1 - peer->text);
    memmove(peer->text, end + 1, peer->used);
  }
  return 1;
}

// False: the connection is over.
static int hear(struct peer* peer) {
  if (peer->used == sizeof peer->text - 1) return 0;
  ssize_t n = read(peer->fd, peer->text + peer->used, sizeof peer->text - 1 - peer->used);
  if (n <= 0) return n < 0 && (errno == EAGAIN || errno == EINTR);
  if (service == kEcho) return (void)!write(peer->fd, peer->text, (size_t)n), 1;
  if (service == kDiscard) return 1;
  peer->used += (size_t)n;
  peer->text[peer->used] = 0;
  if (service == kSmtp) return each_line(peer);
  if (!strstr(peer->text, "\r\n\r\n") && !strstr(peer->text, "\n\n")) return 1;
  served++;
  send_page(peer);
  return 0;
}

int main(int argc, char** argv) {
  static const char* const names[] = {"echo", "discard", "smtp", "web"};
  static const int ports[] = {7, 9, 25, 80};
  const char *user = NULL, *host = "::";
  int port = 0, known = 0, bytes = 3;
  for (int option; (option = getopt(argc, argv, "u:p:a:b:")) != -1;) {
    if (option == 'u') user = optarg;
    if (option == 'p') port = atoi(optarg);
    if (option == 'a') host = optarg;
    if (option == 'b') bytes = atoi(optarg);
    if (option == '?') return 2;
  }
  for (int i = 0; i < 4 && optind < argc; i++)
    if (strcmp(argv[optind], names[i]) == 0) service = (enum service)i, known = 1;
  if (!known || bytes < 1 || bytes > kPageMax)
    return fprintf(stderr, "usage: serve [options] echo|discard|smtp|web\n"), 2;
  make_page((size_t)bytes);
  if (!port) port = ports[service];

  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);
  queue = epoll_create1(EPOLL_CLOEXEC);
  struct sockaddr_storage at;
  socklen_t size = parse_address(host, port, &at);
  int on = 1, tcp = socket(at.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(tcp, (void*)&at, size) || listen(tcp, kBacklog)) die("cannot listen on port %d", port);
  watch(tcp, kPort);
  if (service == kEcho || service == kDiscard) {
    int udp = socket(at.ss_family, SOCK_DGRAM, 0);
    if (bind(udp, (void*)&at, size)) die("cannot bind UDP port %d", port);
    watch(udp, kDatagrams);
  }
  if (user) become_user(user);
  printf("ready\n");

  long told = 0;
  for (long long next_ms = now_ms() + 1000;;) {
    struct epoll_event events[64];
    int count = epoll_wait(queue, events, 64, served != told ? 200 : -1);
    for (int i = 0; i < count; i++) {
      struct peer* peer = events[i].data.ptr;
      if (peer->kind == kPort)
        welcome(peer->fd);
      else if (peer->kind == kDatagrams)
        answer_datagram(peer->fd);
      else if (!hear(peer))
        part_from(peer);
    }
    if (served != told && now_ms() >= next_ms) {
      printf("served %ld\n", told = served);
      next_ms = now_ms() + 1000;
    }
  }
}
