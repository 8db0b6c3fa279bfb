// Prints what the guest's own /proc says about processes and sockets, fast, as the ground truth of the tests.
//
//   status PID NAME VALUE...          chosen lines of /proc/PID/status
//   arg PID TEXT                      one line per argument, \n and \ escaped
//   exe PID PATH                      readlink of exe; none for kernel threads
//   cgroup PID PATH                   of the unified hierarchy
//   netns PID INODE                   readlink of ns/net
//   fd PID FD INODE                   file descriptors that are sockets
//   net INODE tcp|tcp6|udp|udp6 LINE  lines of /proc/PID/net/*, once per network namespace
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { kNamespacesMax = 64 };
static unsigned long seen[kNamespacesMax];
static int seen_count;

static void status(const char* pid) {
  static const char* const wanted[] = {"Name:", "State:", "PPid:", "Uid:", "Gid:", "Threads:"};
  char path[300], line[512];
  snprintf(path, sizeof path, "/proc/%s/status", pid);
  FILE* file = fopen(path, "r");
  if (!file) return;
  while (fgets(line, sizeof line, file))
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
      if (strncmp(line, wanted[i], strlen(wanted[i])) == 0) printf("status %s %s", pid, line);
  fclose(file);
}

static void arguments(const char* pid) {
  char path[300];
  snprintf(path, sizeof path, "/proc/%s/cmdline", pid);
  FILE* file = fopen(path, "r");
  if (!file) return;
  int c, inside = 0;
  while ((c = getc(file)) != EOF) {
    if (!inside) printf("arg %s ", pid), inside = 1;
    if (c == 0)
      putchar('\n'), inside = 0;
    else if (c == '\n' || c == '\\')
      printf(c == '\n' ? "\\n" : "\\\\");
    else
      putchar(c);
  }
  if (inside) putchar('\n');
  fclose(file);
}

static void executable(const char* pid) {
  char path[300], target[4096];
  snprintf(path, sizeof path, "/proc/%s/exe", pid);
  ssize_t n = readlink(path, target, sizeof target - 1);
  if (n > 0) printf("exe %s %.*s\n", pid, (int)n, target);
}

static void cgroup(const char* pid) {
  char path[300], line[4200];
  snprintf(path, sizeof path, "/proc/%s/cgroup", pid);
  FILE* file = fopen(path, "r");
  if (!file) return;
  while (fgets(line, sizeof line, file))
    if (strncmp(line, "0::", 3) == 0) printf("cgroup %s %s", pid, line + 3);
  fclose(file);
}

static void sockets(const char* pid) {
  char path[300], target[64];
  snprintf(path, sizeof path, "/proc/%s/fd", pid);
  DIR* dir = opendir(path);
  if (!dir) return;
  for (struct dirent* entry; (entry = readdir(dir));) {
    snprintf(path, sizeof path, "/proc/%s/fd/%s", pid, entry->d_name);
    ssize_t n = readlink(path, target, sizeof target - 1);
    unsigned long inode;
    if (n <= 0) continue;
    target[n] = 0;
    if (sscanf(target, "socket:[%lu]", &inode) == 1) printf("fd %s %s %lu\n", pid, entry->d_name, inode);
  }
  closedir(dir);
}

static void tables(const char* pid) {
  static const char* const names[] = {"tcp", "tcp6", "udp", "udp6"};
  char path[300], target[64];
  snprintf(path, sizeof path, "/proc/%s/ns/net", pid);
  ssize_t n = readlink(path, target, sizeof target - 1);
  unsigned long inode;
  if (n <= 0) return;
  target[n] = 0;
  if (sscanf(target, "net:[%lu]", &inode) != 1) return;
  printf("netns %s %lu\n", pid, inode);
  for (int i = 0; i < seen_count; i++)
    if (seen[i] == inode) return;
  if (seen_count == kNamespacesMax) return;
  seen[seen_count++] = inode;
  for (int i = 0; i < 4; i++) {
    char line[512];
    snprintf(path, sizeof path, "/proc/%s/net/%s", pid, names[i]);
    FILE* file = fopen(path, "r");
    if (!file) continue;
    if (fgets(line, sizeof line, file))  // the heading
      while (fgets(line, sizeof line, file)) printf("net %lu %s %s", inode, names[i], line);
    fclose(file);
  }
}

int main(void) {
  static char buffer[1 << 20];
  setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
  char self[16];
  snprintf(self, sizeof self, "%d", getpid());
  DIR* proc = opendir("/proc");
  if (!proc) return 1;
  for (struct dirent* entry; (entry = readdir(proc));) {
    if (!isdigit((unsigned char)entry->d_name[0]) || strcmp(entry->d_name, self) == 0) continue;
    status(entry->d_name);
    arguments(entry->d_name);
    executable(entry->d_name);
    cgroup(entry->d_name);
    sockets(entry->d_name);
    tables(entry->d_name);
  }
  return 0;
}
