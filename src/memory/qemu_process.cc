#include "memory/qemu_process.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <filesystem>

namespace hyperward::memory {
namespace {

constexpr size_t kMaxProcFileBytes = 16 << 20;

Result<std::string> read_proc_file(pid_t pid, std::string_view name) {
  const std::string path = fmt::format("/proc/{}/{}", pid, name);
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid() && errno == ENOENT) return fail(Code::kNotFound, "there is no process {}", pid);
  if (!file.valid() && errno == EACCES)
    return fail(Code::kPermission, "not permitted to look into process {}: be root, or have CAP_SYS_PTRACE", pid);
  if (!file.valid()) return fail_errno(errno, fmt::format("open {}", path));
  std::string text;
  std::array<char, 65536> buffer;  // NOLINT(*-member-init): filled by read
  while (text.size() < kMaxProcFileBytes) {
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got < 0) return fail_errno(errno, fmt::format("read {}", path));
    if (got == 0) return text;
    text.append(buffer.data(), static_cast<size_t>(got));
  }
  return fail(Code::kLimit, "{} is longer than {} bytes", path, kMaxProcFileBytes);
}

std::string_view base_name(std::string_view path) {
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0
}

std::string_view take_word(std::string_view& text) {
  text.remove_prefix(std::min(text.size(), text.find_first_not_of(' ')));
  const std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(word.size());
  return word;
}

std::optional<uint64_t> number(std::string_view text, int base) {
  uint64_t value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || rest != text.data() + text.size()) return std::nullopt;
  return value;
}

// "7f0000000000-7f0020000000 rw-s 00000000 00:01 1049  /memfd:memory-backend-memfd (deleted)"
std::optional<HostMapping> parse_mapping(std::string_view line) {
  const std::string_view span = take_word(line);
  const std::string_view flags = take_word(line);
  const auto offset = number(take_word(line), 16);
  take_word(line);  // the device
  const auto inode = number(take_word(line), 10);
  const size_t dash = span.find('-');
  if (dash == std::string_view::npos || flags.size() != 4 || !offset || !inode) return std::nullopt;
  const auto start = number(span.substr(0, dash), 16);
  const auto end = number(span.substr(dash + 1), 16);
  if (!start || !end || *end <= *start) return std::nullopt;
  line.remove_prefix(std::min(line.size(), line.find_first_not_of(' ')));
  return HostMapping{.start = *start,
                     .end = *end,
                     .writable = flags[1] == 'w',
                     .executable = flags[2] == 'x',
                     .shared = flags[3] == 's',
                     .offset = *offset,
                     .inode = *inode,
                     .path = std::string(line)};
}

}  // namespace

std::vector<HostMapping> parse_maps(std::string_view text) {
  std::vector<HostMapping> mappings;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (auto mapping = parse_mapping(line)) mappings.push_back(*std::move(mapping));
  }
  return mappings;
}

Result<HostMapping> find_ram(const std::vector<HostMapping>& mappings, uint64_t size_bytes) {
  // QEMU's code buffer may have the same size; it is executable, RAM is not.
  for (const bool shared : {true, false}) {
    const HostMapping* found = nullptr;
    for (const HostMapping& mapping : mappings) {
      if (mapping.size_bytes() != size_bytes || mapping.shared != shared || !mapping.writable || mapping.executable)
        continue;
      if (found != nullptr)
        return fail(Code::kUnsupported,
                    "several mappings of {} MiB may be the guest's RAM; give the address that the monitor's "
                    "`gpa2hva 0` prints",
                    size_bytes >> 20);
      found = &mapping;
    }
    if (found != nullptr) return *found;
  }
  return fail(Code::kUnsupported,
              "no mapping of {} MiB that could be the guest's RAM; give the address that the monitor's `gpa2hva 0` "
              "prints",
              size_bytes >> 20);
}

Result<std::vector<std::string>> qemu_arguments(pid_t pid) {
  HW_TRY(const std::string text, read_proc_file(pid, "cmdline"));
  std::vector<std::string> arguments;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view argument = rest.substr(0, rest.find('\0'));
    arguments.emplace_back(argument);
    rest.remove_prefix(std::min(rest.size(), argument.size() + 1));
  }
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink(fmt::format("/proc/{}/exe", pid), error);
  const std::string name(base_name(!error ? program.native() : arguments.empty() ? "" : arguments[0]));
  // Under its own name, as distributions' wrappers call it, or as Proxmox does.
  if (!name.starts_with("qemu") && !name.starts_with("kvm"))
    return fail(Code::kInvalid, "process {} is no QEMU but \"{}\"", pid, name);
  return arguments;
}

Result<std::vector<HostMapping>> read_maps(pid_t pid) {
  HW_TRY(const std::string text, read_proc_file(pid, "maps"));
  return parse_maps(text);
}

Result<Fd> open_mapped_file(pid_t pid, const HostMapping& mapping) {
  // By the mapping itself, which needs CAP_CHECKPOINT_RESTORE, or by the descriptor that QEMU keeps open.
  const std::string by_mapping = fmt::format("/proc/{}/map_files/{:x}-{:x}", pid, mapping.start, mapping.end);
  if (Fd file(::open(by_mapping.c_str(), O_RDONLY | O_CLOEXEC)); file.valid()) return file;

  std::error_code error;
  for (std::filesystem::directory_iterator entry(fmt::format("/proc/{}/fd", pid), error), end; !error && entry != end;
       entry.increment(error)) {
    struct stat status{};
    if (::stat(entry->path().c_str(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_ino != mapping.inode)
      continue;
    const auto target = std::filesystem::read_symlink(entry->path(), error);
    if (error || target.native() != mapping.path) continue;
    if (Fd file(::open(entry->path().c_str(), O_RDONLY | O_CLOEXEC)); file.valid()) return file;
  }
  return fail(Code::kPermission, "not permitted to open the RAM of process {} ({})", pid, mapping.path);
}

}  // namespace hyperward::memory
