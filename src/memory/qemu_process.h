// What /proc tells of a QEMU process: its arguments, and where the guest's RAM is mapped.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace hyperward::memory {

// A line of /proc/PID/maps.
struct HostMapping {
  uint64_t start = 0;
  uint64_t end = 0;
  bool writable = false;
  bool executable = false;
  bool shared = false;
  uint64_t offset = 0;
  uint64_t inode = 0;  // 0: anonymous
  std::string path;

  [[nodiscard]] uint64_t size_bytes() const { return end - start; }
};

[[nodiscard]] std::vector<HostMapping> parse_maps(std::string_view text);

// The mapping that holds RAM of that size: the shared one, if there is any, else the private one. kUnsupported when
// there is none, or several and no telling which.
[[nodiscard]] Result<HostMapping> find_ram(const std::vector<HostMapping>& mappings, uint64_t size_bytes);

// The arguments of process `pid`. kNotFound when there is no such process, kInvalid when it is no QEMU.
[[nodiscard]] Result<std::vector<std::string>> qemu_arguments(pid_t pid);

[[nodiscard]] Result<std::vector<HostMapping>> read_maps(pid_t pid);

// The file behind a shared mapping of process `pid`, opened for reading.
[[nodiscard]] Result<Fd> open_mapped_file(pid_t pid, const HostMapping& mapping);

}  // namespace hyperward::memory
