// Serves commands to the host over a virtio-serial port, as process 1 of a test guest.
//
// The port carries lines of text in both directions. A client may vanish in the middle of a line and another
// may take its place, so every request has an id of its own and a reader skips lines that are not its own:
//
//   host:   <id> <timeout in s> <command, base64>
//   guest:  <id> out <base64>          any number of times
//   guest:  <id> end <exit status>     128 + n for a signal, 124 for the timeout
//
// The command runs in a shell, in a session of its own. It has ended when the shell has; what it left in the
// background lives on, its output goes nowhere.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { kLineBytesMax = 256 * 1024, kChunkBytes = 48 * 1024, kVirtioDevicesMax = 16 };

static const char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static int port_fd;

static void write_all(const char* data, size_t size) {
  while (size > 0) {
    ssize_t n = write(port_fd, data, size);
    if (n < 0 && errno != EINTR && errno != EAGAIN) return;
    if (n > 0) data += n, size -= (size_t)n;
  }
}

static size_t encode(const unsigned char* in, size_t size, char* out) {
  char* start = out;
  for (size_t i = 0; i < size; i += 3) {
    size_t left = size - i;
    unsigned word = in[i] << 16 | (left > 1 ? in[i + 1] << 8 : 0) | (left > 2 ? in[i + 2] : 0);
    *out++ = kAlphabet[word >> 18];
    *out++ = kAlphabet[word >> 12 & 63];
    *out++ = left > 1 ? kAlphabet[word >> 6 & 63] : '=';
    *out++ = left > 2 ? kAlphabet[word & 63] : '=';
  }
  return (size_t)(out - start);
}

static void decode(const char* in, char* out) {
  unsigned word = 0;
  int bits = 0;
  for (const char* at; *in && (at = strchr(kAlphabet, *in)); in++) {
    word = word << 6 | (unsigned)(at - kAlphabet);
    bits += 6;
    if (bits >= 8) *out++ = (char)(word >> (bits -= 8));
  }
  *out = 0;
}

// Passes on what the pipe holds now. False at its end.
static int pass_on(const char* id, int pipe_fd) {
  static unsigned char raw[kChunkBytes];
  static char line[kChunkBytes / 3 * 4 + 128];
  ssize_t n = read(pipe_fd, raw, sizeof raw);
  if (n <= 0) return n < 0 && (errno == EAGAIN || errno == EINTR);
  size_t size = (size_t)sprintf(line, "%s out ", id);
  size += encode(raw, (size_t)n, line + size);
  line[size++] = '\n';
  write_all(line, size);
  return 1;
}

static void serve(const char* id, int timeout_s, const char* command) {
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) return;
  fcntl(pipe_fds[1], F_SETPIPE_SZ, 1 << 20);
  pid_t shell = fork();
  if (shell == 0) {
    setsid();
    dup2(open("/dev/null", O_RDONLY), 0);
    dup2(pipe_fds[1], 1);
    signal(SIGPIPE, SIG_DFL);
    execl("/bin/sh", "sh", "-c", command, (char*)0);
    _exit(127);
  }
  close(pipe_fds[1]);
  fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);

  time_t deadline = time(0) + timeout_s;
  int status = 0, ended = 0, timed_out = 0, pipe_open = 1;
  while (!ended) {
    struct pollfd wait = {.fd = pipe_open ? pipe_fds[0] : -1, .events = POLLIN};
    poll(&wait, 1, 10);
    if (pipe_open && wait.revents) pipe_open = pass_on(id, pipe_fds[0]);
    int one;
    for (pid_t pid; (pid = waitpid(-1, &one, WNOHANG)) > 0;)  // as process 1 it also reaps orphans
      if (pid == shell) ended = 1, status = one;
    if (!timed_out && time(0) >= deadline) timed_out = 1, kill(-shell, SIGKILL);
  }
  struct pollfd rest = {.fd = pipe_fds[0], .events = POLLIN};
  while (pipe_open && poll(&rest, 1, 0) == 1 && pass_on(id, pipe_fds[0])) continue;
  close(pipe_fds[0]);

  char line[128];
  int code = timed_out ? 124 : WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  write_all(line, (size_t)sprintf(line, "%s end %d\n", id, code));
}

static void handle(char* line) {
  static char command[kLineBytesMax];
  char* id = strtok(line, " ");
  char* timeout = strtok(NULL, " ");
  char* encoded = strtok(NULL, " ");
  if (!id || !timeout || !encoded || strlen(id) > 64) return;
  decode(encoded, command);
  serve(id, atoi(timeout), command);
}

static int open_port(void) {
  for (;; usleep(50 * 1000)) {  // the driver makes the node a moment after it has been loaded
    // Named after the device's place among all that are virtio, which is not the same in every machine.
    for (int device = 0; device < kVirtioDevicesMax; ++device) {
      char path[32];
      snprintf(path, sizeof path, "/dev/vport%dp1", device);
      int fd = open(path, O_RDWR | O_CLOEXEC);
      if (fd >= 0) return fd;
    }
  }
}

int main(void) {
  static char line[kLineBytesMax];
  size_t used = 0;
  signal(SIGPIPE, SIG_IGN);
  port_fd = open_port();
  puts("agent: serving commands");
  fflush(stdout);
  for (;;) {
    struct pollfd wait = {.fd = port_fd, .events = POLLIN};
    poll(&wait, 1, 1000);
    while (waitpid(-1, NULL, WNOHANG) > 0) continue;
    if (!(wait.revents & POLLIN)) {
      if (wait.revents) usleep(20 * 1000);  // POLLHUP: no client at the moment
      continue;
    }
    ssize_t n = read(port_fd, line + used, sizeof line - 1 - used);
    if (n <= 0) {
      usleep(20 * 1000);
      continue;
    }
    used += (size_t)n;
    line[used] = 0;
    for (char* end; (end = memchr(line, '\n', used));) {
      *end = 0;
      size_t taken = (size_t)(end + 1 - line);
      handle(line);
      memmove(line, end + 1, used - taken);
      used -= taken;
    }
    if (used == sizeof line - 1) used = 0;  // no request is that long
  }
}
