// A mixed load of sockets and processes that stands still once it is set up, so that what a reader of the
// guest's memory finds can be compared with /proc.
//
//   load [-s SOCKETS] [-p PROCESSES] [-o HOST]...
//
// prints "ready SOCKETS PROCESSES", then sleeps until it is killed. With -o it also talks to other machines: TCP and
// UDP to port 7 of each HOST, where `serve echo` must run.
//
// Processes come in groups of three: a server, a worker it forked that shares every socket opened so far, and a
// client. Groups differ in address family (v4, v6, v4 through a v6 socket), in the user, in whether the user
// changes before or after the sockets are opened, and in how the server waits (epoll, poll, blocking accept).
// Besides the groups stand the odd ones: many listeners, SO_REUSEPORT, connections nobody accepted, half-closed
// ones, handshakes under way in both directions, TIME_WAIT, threads, a network namespace of its own, a process
// without sockets and with strange arguments. What a timer ends lasts at least 45 s.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  kGroupPortFirst = 20000,
  kListenerPortFirst = 15000,
  kListeners = 24,
  kTimeWaits = 8,
  kUnaccepted = 3,
  kFixedSockets = 120,  // about what the odd ones open
  kFixedProcesses = 12,
  kConnectionsMax = 4096,
};

enum family { kV4, kV6, kMapped, kFamilies };

static const struct {
  const char* name;
  uid_t id;
} kUsers[] = {{"root", 0}, {"mail", 8}, {"www-data", 33}, {"alice", 1000}, {"bob", 1001}};
enum { kUserCount = 5 };

static int done_pipe[2];  // each process writes one byte when its part stands

#define MUST(call)                                                                  \
  ({                                                                                \
    long result_ = (long)(call);                                                    \
    if (result_ < 0) {                                                              \
      fprintf(stderr, "load: line %d: %s: %s\n", __LINE__, #call, strerror(errno)); \
      kill(0, SIGTERM);                                                             \
      _exit(1);                                                                     \
    }                                                                               \
    (int)result_;                                                                   \
  })

static void report_done(void) {
  MUST(write(done_pipe[1], "x", 1));
}

static void await_done(int count) {
  char byte;
  for (int i = 0; i < count; i++) MUST(read(done_pipe[0], &byte, 1) == 1 ? 0 : -1);
}

static _Noreturn void stand_still(void) {
  for (;;) pause();
}

static void become(int user) {
  MUST(setgroups(0, NULL));
  MUST(setresgid(kUsers[user].id, kUsers[user].id, kUsers[user].id));
  MUST(setresuid(kUsers[user].id, kUsers[user].id, kUsers[user].id));
}

static socklen_t address(enum family family, const char* host, int port, struct sockaddr_storage* out) {
  memset(out, 0, sizeof *out);
  if (family == kV4) {
    struct sockaddr_in* in = (void*)out;
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)port);
    inet_pton(AF_INET, host ? host : "127.0.0.1", &in->sin_addr);
    return sizeof *in;
  }
  struct sockaddr_in6* in6 = (void*)out;
  in6->sin6_family = AF_INET6;
  in6->sin6_port = htons((uint16_t)port);
  inet_pton(AF_INET6, host ? host : family == kMapped ? "::ffff:127.0.0.1" : "::1", &in6->sin6_addr);
  return sizeof *in6;
}

static int open_socket(enum family family, int type) {
  return MUST(socket(family == kV4 ? AF_INET : AF_INET6, type, 0));
}

static void bind_to(int fd, enum family family, const char* host, int port) {
  struct sockaddr_storage to;
  socklen_t size = address(family, host, port, &to);
  int on = 1;
  MUST(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
  MUST(bind(fd, (void*)&to, size));
}

static int listen_on(enum family family, const char* host, int port) {
  int fd = open_socket(family, SOCK_STREAM);
  bind_to(fd, family, host, port);
  MUST(listen(fd, 4096));
  return fd;
}

static int connect_to(enum family family, int type, int port) {
  struct sockaddr_storage to;
  socklen_t size = address(family, NULL, port, &to);
  int fd = open_socket(family, type);
  MUST(connect(fd, (void*)&to, size));
  return fd;
}

static pid_t child(const char* comm) {
  pid_t pid = MUST(fork());
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, comm);
  }
  return pid;
}

static void wait_on(int how, const int* fds, int count) {
  if (how == 0) {
    int queue = MUST(epoll_create1(0));
    for (int i = 0; i < count; i++) {
      struct epoll_event event = {.events = EPOLLIN};
      MUST(epoll_ctl(queue, EPOLL_CTL_ADD, fds[i], &event));
    }
    struct epoll_event event;
    for (;;) epoll_wait(queue, &event, 1, -1);
  } else if (how == 1) {
    struct pollfd* polled = calloc((size_t)count, sizeof *polled);
    for (int i = 0; i < count; i++) polled[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    for (;;) poll(polled, (nfds_t)count, -1);
  } else {
    for (;;) accept(fds[0], NULL, NULL);
  }
}

static void server(int group, int connections) {
  enum family family = group % kFamilies;
  int user = group % kUserCount, before = group / kUserCount % 2, how = group / 2 % 3;
  // A v4-mapped client meets a v4 listener in one half of its groups, a dual-stack one in the other.
  enum family listening = family == kMapped && group % 2 ? kV4 : family;
  static int fds[kConnectionsMax + 1];
  if (before) become(user);
  fds[0] = listen_on(listening,
                     listening == kMapped ? "::"
                     : group % 4 == 0     ? NULL
                     : listening == kV4   ? "0.0.0.0"
                                          : "::",
                     kGroupPortFirst + group);
  int udp = open_socket(family == kMapped ? kV6 : family, SOCK_DGRAM);
  bind_to(udp, family == kMapped ? kV6 : family, NULL, kGroupPortFirst + group);
  report_done();
  for (int i = 1; i <= connections; i++) {
    fds[i] = MUST(accept(fds[0], NULL, NULL));
    if (i == (connections + 1) / 2 && child("load-worker") == 0) {
      if (!before) become(user);
      report_done();
      stand_still();
    }
  }
  if (!before) become(user);
  report_done();
  wait_on(how, fds, connections + 1);
}

static void client(int group, int connections) {
  enum family family = group % kFamilies;
  int user = (group + 1) % kUserCount, before = group % 2;
  if (before) become(user);
  int last = -1;
  for (int i = 0; i < connections; i++) last = connect_to(family, SOCK_STREAM, kGroupPortFirst + group);
  connect_to(family == kMapped ? kV6 : family, SOCK_DGRAM, kGroupPortFirst + group);
  if (!before) become(user);
  report_done();
  char byte;
  if (group % 3 == 0)
    for (;;) (void)!read(last, &byte, 1);
  if (group % 3 == 1) wait_on(1, &last, 1);
  stand_still();
}

// -- the odd ones ---------------------------------------------------------------------------------------------

static void many_listeners(void) {
  for (int i = 0; i < kListeners; i++) {
    listen_on(kV4, "0.0.0.0", kListenerPortFirst + i);
    if (i % 2) listen_on(kV6, "::1", kListenerPortFirst + i);
    int fd = open_socket(i % 2 ? kV6 : kV4, SOCK_DGRAM);
    bind_to(fd, i % 2 ? kV6 : kV4, i % 2 ? "::" : "0.0.0.0", kListenerPortFirst + i);
  }
  become(2);
}

static void reuseport(void) {
  become(3);
  for (int i = 0; i < 4; i++) {
    int fd = open_socket(kV4, SOCK_STREAM), on = 1;
    MUST(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on));
    bind_to(fd, kV4, NULL, kListenerPortFirst + 100);
    MUST(listen(fd, 16));
  }
}

static void unaccepted(void) {
  become(4);
  listen_on(kV4, NULL, kListenerPortFirst + 101);
  for (int i = 0; i < kUnaccepted; i++) connect_to(kV4, SOCK_STREAM, kListenerPortFirst + 101);
}

static void half_closed(void) {  // FIN_WAIT2 on one side, CLOSE_WAIT on the other
  become(1);
  int listener = listen_on(kV6, NULL, kListenerPortFirst + 102);
  int fd = connect_to(kV6, SOCK_STREAM, kListenerPortFirst + 102);
  MUST(accept(listener, NULL, NULL));
  MUST(shutdown(fd, SHUT_WR));
}

static void time_waits(void) {
  become(3);
  int listeners[] = {listen_on(kV4, NULL, kListenerPortFirst + 103), listen_on(kV6, NULL, kListenerPortFirst + 103)};
  for (int i = 0; i < kTimeWaits; i++) {
    int ours = connect_to(i % 2 ? kV6 : kV4, SOCK_STREAM, kListenerPortFirst + 103);
    int theirs = MUST(accept(listeners[i % 2], NULL, NULL));
    char byte;
    MUST(shutdown(ours, SHUT_WR));
    MUST(read(theirs, &byte, 1));
    close(theirs);
    MUST(read(ours, &byte, 1));
    close(ours);
  }
}

static void* thread(void* unused) {
  (void)unused;
  prctl(PR_SET_NAME, "load-thread");
  stand_still();
}

static void threads(void) {
  become(3);
  pthread_t id;
  for (int i = 0; i < 3; i++) MUST(-pthread_create(&id, NULL, thread, NULL));
  listen_on(kV4, NULL, kListenerPortFirst + 104);
}

static void own_namespace(void) {
  MUST(unshare(CLONE_NEWNET));
  struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
  int control = open_socket(kV4, SOCK_DGRAM);
  MUST(ioctl(control, SIOCSIFFLAGS, &request));
  close(control);
  become(2);
  int listener = listen_on(kV4, NULL, kGroupPortFirst);  // the same tuple lives in the first namespace, too
  connect_to(kV4, SOCK_STREAM, kGroupPortFirst);
  MUST(accept(listener, NULL, NULL));
  connect_to(kV4, SOCK_DGRAM, kGroupPortFirst);
}

// -- handshakes that never end: 192.0.2.0/24 (RFC 5737) is routed to lo, where its packets are dropped ----------

static const char kNowhere[] = "192.0.2.1", kHere[] = "198.51.100.1";

static void route_to_nowhere(void) {
  MUST(-system("ip addr add 198.51.100.1/32 dev lo && ip route add 192.0.2.0/24 dev lo"));
}

static int connect_to_nowhere(int port, int flags) {
  struct sockaddr_storage to;
  socklen_t size = address(kV4, kNowhere, port, &to);
  int fd = open_socket(kV4, SOCK_STREAM | flags);
  if (flags == 0) report_done();
  if (connect(fd, (void*)&to, size) == 0 || (flags && errno != EINPROGRESS)) MUST(-1);
  return fd;
}

static void syn_sent(void) {
  become(3);
  connect_to_nowhere(25, SOCK_NONBLOCK);
  int polled = connect_to_nowhere(26, SOCK_NONBLOCK);
  report_done();
  struct pollfd wait = {.fd = polled, .events = POLLOUT};
  poll(&wait, 1, -1);
}

static void blocking_connect(void) {
  become(1);
  connect_to_nowhere(27, 0);
}

static uint16_t checksum(const void* data, size_t size, uint32_t sum) {
  const uint16_t* words = data;
  for (size_t i = 0; i < size / 2; i++) sum += words[i];
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)~sum;
}

static void syn_received(void) {
  int listener = open_socket(kV4, SOCK_STREAM);
  bind_to(listener, kV4, kHere, kListenerPortFirst + 105);
  MUST(listen(listener, 64));
  int raw = MUST(socket(AF_INET, SOCK_RAW, IPPROTO_RAW));
  for (int i = 0; i < 4; i++) {
    struct {
      struct iphdr ip;
      struct tcphdr tcp;
    } syn = {.ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP, .tot_len = htons(40)},
             .tcp = {.syn = 1, .doff = 5, .seq = htonl(1), .window = htons(1024)}};
    inet_pton(AF_INET, kNowhere, &syn.ip.saddr);
    inet_pton(AF_INET, kHere, &syn.ip.daddr);
    syn.tcp.source = htons((uint16_t)(3000 + i));
    syn.tcp.dest = htons(kListenerPortFirst + 105);
    uint32_t pseudo = htons(IPPROTO_TCP) + htons(sizeof syn.tcp);
    for (int j = 6; j < 10; j++) pseudo += ((const uint16_t*)&syn.ip)[j];  // both addresses
    syn.tcp.check = checksum(&syn.tcp, sizeof syn.tcp, pseudo);
    struct sockaddr_storage to;
    socklen_t size = address(kV4, kHere, 0, &to);
    MUST(sendto(raw, &syn, sizeof syn, 0, (void*)&to, size));
  }
  close(raw);
}

enum { kHostsMax = 8, kOutward = 4 };
static const char* hosts[kHostsMax];
static int host_count;

static void outward(void) {
  for (int i = 0; i < host_count; i++) {
    enum family family = strchr(hosts[i], ':') ? kV6 : kV4;
    struct sockaddr_storage to;
    socklen_t size = address(family, hosts[i], 7, &to);
    for (int j = 0; j < kOutward; j++) {
      int fd = open_socket(family, j ? SOCK_STREAM : SOCK_DGRAM);
      MUST(connect(fd, (void*)&to, size));
    }
  }
  become(3);
}

static void no_sockets(void) {
  become(4);
  static char long_argument[3000];
  memset(long_argument, 'x', sizeof long_argument - 1);
  execl("/proc/self/exe", "an argument zero", "-w", "", "tab\there", "line\nbreak", "\xff", long_argument, (char*)0);
  MUST(-1);
}

static const struct {
  const char* comm;
  void (*set_up)(void);
} kOdd[] = {
    {"load-listeners", many_listeners}, {"load-reuseport", reuseport},  {"load-unaccepted", unaccepted},
    {"load-halfclosed", half_closed},   {"load-timewait", time_waits},  {"load-threads", threads},
    {"load-namespace", own_namespace},  {"load-synsent", syn_sent},     {"load-connect", blocking_connect},
    {"load-synrecv", syn_received},     {"load-nosockets", no_sockets}, {"load-outward", outward},
};
// Those two report by themselves, because they do not return.
static int reports_itself(int odd) {
  return kOdd[odd].set_up == syn_sent || kOdd[odd].set_up == blocking_connect;
}

int main(int argc, char** argv) {
  int sockets = 300, processes = 32;
  if (argc > 1 && strcmp(argv[1], "-w") == 0) {  // no_sockets() has run us
    prctl(PR_SET_NAME, "name with) (x");
    MUST(write(4, "x", 1));
    stand_still();
  }
  for (int option; (option = getopt(argc, argv, "s:p:o:")) != -1;) {
    if (option == 's') sockets = atoi(optarg);
    if (option == 'p') processes = atoi(optarg);
    if (option == 'o' && host_count < kHostsMax) hosts[host_count++] = optarg;
    if (option == '?') return 2;
  }
  setpgid(0, 0);
  struct rlimit limit = {1 << 20, 1 << 20};
  setrlimit(RLIMIT_NOFILE, &limit);
  MUST(pipe(done_pipe));
  if (done_pipe[1] != 4) MUST(-1);  // where "-w" expects it

  int groups = (processes - kFixedProcesses) / 3;
  if (groups < 1) groups = 1;
  int connections = ((sockets - kFixedSockets) / groups - 3) / 2;
  if (connections < 2) connections = 2;
  if (connections > kConnectionsMax) connections = kConnectionsMax;

  for (int i = 0; i < groups; i++)
    if (child("load-server") == 0) server(i, connections);
  await_done(groups);
  for (int i = 0; i < groups; i++)
    if (child("load-client") == 0) client(i, connections);
  await_done(3 * groups);
  route_to_nowhere();
  int odd_count = sizeof kOdd / sizeof *kOdd;
  for (int i = 0; i < odd_count; i++)
    if (child(kOdd[i].comm) == 0) {
      kOdd[i].set_up();
      if (!reports_itself(i)) report_done();
      stand_still();
    }
  await_done(odd_count);
  usleep(300 * 1000);  // the last ones reach their system calls
  printf("ready %d %d\n", groups * (2 * connections + 3) + kFixedSockets, 3 * groups + kFixedProcesses);
  fflush(stdout);
  freopen("/dev/null", "w", stdout);
  stand_still();
}
