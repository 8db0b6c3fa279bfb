/* The only program of a kernel that is asked one thing: does its verifier take our BPF programs? (test_bpf_programs.py)
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

static int print(enum libbpf_print_level level, const char* format, va_list arguments) {
  return level == LIBBPF_WARN ? vprintf(format, arguments) : 0;
}

static int run(struct bpf_object* object, const char* name) {
  unsigned char frame[60] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 6}; /* ARP */
  LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = sizeof(frame));
  struct bpf_program* program = bpf_object__find_program_by_name(object, name);
  return program ? bpf_prog_test_run_opts(bpf_program__fd(program), &options) : -1;
}

int main(void) {
  mkdir("/dev", 0755);
  mkdir("/sys", 0755);
  mkdir("/proc", 0755);
  mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
  mount("sysfs", "/sys", "sysfs", 0, NULL);
  mount("proc", "/proc", "proc", 0, NULL);
  int console = open("/dev/console", O_RDWR);
  dup2(console, STDOUT_FILENO);
  setvbuf(stdout, NULL, _IONBF, 0);

  libbpf_set_print(print);
  struct bpf_object* object = bpf_object__open_file("/guard.bpf.o", NULL);
  int loaded = object ? bpf_object__load(object) : -1;
  int ran = loaded == 0 ? run(object, "from_guest") | run(object, "to_guest") : -1;
  printf("\nLOADED %d RAN %d\n", loaded, ran);
  reboot(RB_AUTOBOOT);
  return 0;
}
