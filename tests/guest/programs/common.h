// What the small network programs of the test guests share.
#pragma once

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static inline _Noreturn void die(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fprintf(stderr, errno ? ": %s\n" : "\n", strerror(errno));
  exit(1);
}

static inline long long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

// Reads /etc/passwd itself: getpwnam is of no use in a static program.
static inline void become_user(const char* name) {
  FILE* file = fopen("/etc/passwd", "r");
  for (struct passwd* entry; file && (entry = fgetpwent(file));)
    if (strcmp(entry->pw_name, name) == 0) {
      if (setgroups(0, NULL) || setresgid(entry->pw_gid, entry->pw_gid, entry->pw_gid) ||
          setresuid(entry->pw_uid, entry->pw_uid, entry->pw_uid))
        die("cannot become %s", name);
      fclose(file);
      return;
    }
  errno = 0;
  die("no user %s", name);
}

// A numeric IPv4 or IPv6 address.
static inline socklen_t parse_address(const char* host, int port, struct sockaddr_storage* out) {
  memset(out, 0, sizeof *out);
  struct sockaddr_in* in = (void*)out;
  struct sockaddr_in6* in6 = (void*)out;
  if (inet_pton(AF_INET, host, &in->sin_addr) == 1) {
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)port);
    return sizeof *in;
  }
  if (inet_pton(AF_INET6, host, &in6->sin6_addr) == 1) {
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons((uint16_t)port);
    return sizeof *in6;
  }
  errno = 0;
  die("%s is no address", host);
}

// The address that comes `number` after the first, and the port that comes `ports` after its one.
static inline struct sockaddr_storage address_after(const struct sockaddr_storage* first, long number, int ports) {
  struct sockaddr_storage to = *first;
  struct sockaddr_in* in = (void*)&to;
  struct sockaddr_in6* in6 = (void*)&to;
  if (to.ss_family == AF_INET) {
    in->sin_addr.s_addr = htonl(ntohl(in->sin_addr.s_addr) + (uint32_t)number);
    in->sin_port = htons((uint16_t)(ntohs(in->sin_port) + ports));
  } else {
    in6->sin6_addr.s6_addr32[3] = htonl(ntohl(in6->sin6_addr.s6_addr32[3]) + (uint32_t)number);
    in6->sin6_port = htons((uint16_t)(ntohs(in6->sin6_port) + ports));
  }
  return to;
}

// A socket that is connected, and whose every step ends after that time; -1: it is not.
static inline int connect_within(int type, const struct sockaddr_storage* to, socklen_t size, int timeout_ms) {
  int fd = socket(to->ss_family, type | SOCK_CLOEXEC, 0);
  struct timeval limit = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);  // connect() heeds it, too
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (connect(fd, (const void*)to, size) == 0) return fd;
  close(fd);
  return -1;
}
