// Runs a program from memory that no directory names, as intruders do: fileless PROGRAM ARGUMENTS...
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  struct stat status;
  int from = open(argv[1], O_RDONLY);
  int to = memfd_create("fileless", MFD_CLOEXEC);
  if (from < 0 || to < 0 || fstat(from, &status) != 0) return 1;
  if (sendfile(to, from, NULL, (size_t)status.st_size) != status.st_size) return 1;
  fexecve(to, argv + 1, environ);
  return 1;
}
