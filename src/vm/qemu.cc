#include "vm/qemu.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <map>
#include <memory>

#include <fmt/ranges.h>

#include "base/fd.h"
#include "vm/libvirt.h"
#include "vm/qmp.h"

namespace hyperward::vm {
namespace {

constexpr size_t kMaxCommandLineBytes = 1UL << 20;
constexpr size_t kMaxDescriptors = 65536;  // a QEMU has some dozens, and two for each queue of a network card

// /dev/net/tun by its number (Linux Documentation/admin-guide/devices.txt): its path differs from container to
// container.
constexpr unsigned kTunMajor = 10;
constexpr unsigned kTunMinor = 200;

Result<std::string> read_proc(pid_t pid, std::string_view file) {
  const std::string path = fmt::format("/proc/{}/{}", pid, file);
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid() && errno == ENOENT) return fail(Code::kNotFound, "there is no process {}", pid);
  if (!fd.valid()) return fail_errno(errno, path);
  std::string content;
  std::array<char, 4096> chunk;
  while (content.size() < kMaxCommandLineBytes) {
    const ssize_t got = ::read(fd.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == ESRCH) return fail(Code::kNotFound, "there is no process {}", pid);
    if (got < 0) return fail_errno(errno, path);
    if (got == 0) break;
    content.append(chunk.data(), static_cast<size_t>(got));
  }
  return content;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}

// "socket,id=mon,path=/x,server=on" -> {"": "socket", "id": "mon", ...}. QEMU doubles a comma inside a value.
std::map<std::string, std::string> parse_option(std::string_view text) {
  std::vector<std::string> parts(1);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      parts.back() += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      parts.back() += text[i++];
    } else {
      parts.emplace_back();
    }
  }
  std::map<std::string, std::string> option;
  for (const std::string& part : parts) {
    const size_t equals = part.find('=');
    if (equals == std::string::npos) {
      option.emplace("", part);
    } else {
      option.insert_or_assign(part.substr(0, equals), part.substr(equals + 1));
    }
  }
  return option;
}

bool is_qemu(const std::vector<std::string>& arguments) {
  if (arguments.empty()) return false;
  const std::string& program = arguments[0];
  const std::string base = program.substr(program.rfind('/') + 1);
  return base.starts_with("qemu-system-") || base == "kvm" || base == "qemu-kvm";
}

std::string value_or(const std::map<std::string, std::string>& option, const char* key) {
  const auto found = option.find(key);
  return found == option.end() ? "" : found->second;
}

// The entries of a folder that are numbers: processes in /proc, descriptors in /proc/PID/fd.
Result<std::vector<int>> numbers_in(const std::string& folder, size_t max_entries) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(folder.c_str()), &::closedir);
  if (!directory) return fail_errno(errno, folder);
  std::vector<int> numbers;
  while (const dirent* entry = ::readdir(directory.get())) {
    int number = 0;
    const std::string_view name = entry->d_name;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error != std::errc() || end != name.data() + name.size()) continue;
    if (numbers.size() == max_entries) return fail(Code::kLimit, "{} has more than {} entries", folder, max_entries);
    numbers.push_back(number);
  }
  return numbers;
}

std::vector<pid_t> all_pids() {
  auto pids = numbers_in("/proc", /*max_entries=*/4'194'304);  // PID_MAX_LIMIT of Linux
  if (!pids) return {};
  std::sort(pids->begin(), pids->end());
  return *std::move(pids);
}

bool is_tun(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 && S_ISCHR(status.st_mode) &&
         status.st_rdev == makedev(kTunMajor, kTunMinor);
}

Result<uint64_t> start_time_of(pid_t pid) {
  HW_TRY(const std::string stat, read_proc(pid, "stat"));
  const auto start_time = parse_start_time(stat);
  if (!start_time) return fail(Code::kSystem, "/proc/{}/stat is not as Linux writes it", pid);
  return *start_time;
}

}  // namespace

Qemu parse_command_line(pid_t pid, const std::vector<std::string>& arguments) {
  Qemu qemu{.pid = pid, .name = "", .qmp_sockets = {}, .uuid = "", .taps = {}};
  std::map<std::string, std::string> chardev_paths;
  std::vector<std::string> control_chardevs;
  for (size_t i = 1; i + 1 < arguments.size(); ++i) {
    // QEMU takes its options with one dash or two.
    std::string_view flag = arguments[i];
    if (!flag.starts_with('-')) continue;
    flag.remove_prefix(flag.starts_with("--") ? 2 : 1);
    const std::string& value = arguments[i + 1];
    const auto option = parse_option(value);
    if (flag == "name") {
      const std::string guest = value_or(option, "guest");
      qemu.name = guest.empty() ? value_or(option, "") : guest;
    } else if (flag == "uuid") {
      qemu.uuid = value;
    } else if ((flag == "qmp" || flag == "qmp-pretty") && value.starts_with("unix:")) {
      qemu.qmp_sockets.push_back(value_or(parse_option(std::string_view(value).substr(5)), ""));
    } else if (flag == "chardev" && value_or(option, "") == "socket") {
      chardev_paths[value_or(option, "id")] = value_or(option, "path");
    } else if (flag == "mon" && value_or(option, "mode") == "control") {
      control_chardevs.push_back(value_or(option, "chardev"));
    }
  }
  for (const std::string& id : control_chardevs) {
    const std::string path = value_or(chardev_paths, id.c_str());
    if (!path.empty()) qemu.qmp_sockets.push_back(path);
  }
  return qemu;
}

std::optional<uint64_t> parse_start_time(std::string_view stat) {
  // "PID (comm) state ppid ...": the start is field 22, and comm may itself hold spaces and parentheses (proc(5)).
  constexpr int kFieldsFromCommToStart = 20;
  const size_t comm_end = stat.rfind(')');
  if (comm_end == std::string_view::npos) return std::nullopt;
  stat.remove_prefix(comm_end + 1);
  for (int field = 0; field < kFieldsFromCommToStart; ++field) {
    const size_t space = stat.find(' ');
    if (space == std::string_view::npos) return std::nullopt;
    stat.remove_prefix(space + 1);
  }
  uint64_t start_time = 0;
  const auto [end, error] = std::from_chars(stat.data(), stat.data() + stat.size(), start_time);
  if (error != std::errc()) return std::nullopt;
  return start_time;
}

std::optional<std::string> parse_tap(std::string_view fdinfo) {
  // tun_chr_show_fdinfo of Linux's drivers/net/tun.c writes this line, empty while no interface is attached.
  constexpr std::string_view kKey = "iff:\t";
  while (!fdinfo.empty()) {
    const std::string_view line = fdinfo.substr(0, fdinfo.find('\n'));
    fdinfo.remove_prefix(std::min(fdinfo.size(), line.size() + 1));
    if (line.starts_with(kKey) && line.size() > kKey.size()) return std::string(line.substr(kKey.size()));
  }
  return std::nullopt;
}

Result<std::vector<std::string>> taps_of(pid_t pid) {
  const std::string folder = fmt::format("/proc/{}/fd", pid);
  HW_TRY(const std::vector<int> descriptors, numbers_in(folder, kMaxDescriptors));
  std::vector<std::string> taps;
  for (const int fd : descriptors) {
    if (!is_tun(fmt::format("{}/{}", folder, fd))) continue;
    const auto fdinfo = read_proc(pid, fmt::format("fdinfo/{}", fd));
    if (!fdinfo) continue;  // it was closed meanwhile
    if (auto tap = parse_tap(*fdinfo)) taps.push_back(*std::move(tap));
  }
  std::sort(taps.begin(), taps.end());
  taps.erase(std::unique(taps.begin(), taps.end()), taps.end());
  return taps;
}

Result<Qemu> qemu_by_pid(pid_t pid) {
  HW_TRY(const std::string text, read_proc(pid, "cmdline"));
  const std::vector<std::string> arguments = split(text, '\0');
  if (!is_qemu(arguments))
    return fail(Code::kInvalid, "process {} is not a QEMU ({})", pid, arguments.empty() ? "no command" : arguments[0]);
  Qemu qemu = parse_command_line(pid, arguments);
  HW_TRY(qemu.start_time, start_time_of(pid));
  // Its command line is everybody's to read, its descriptors are not: what needs no taps goes on without them.
  if (auto taps = taps_of(pid)) qemu.taps = *std::move(taps);
  return qemu;
}

std::vector<Qemu> all_qemus() {
  std::vector<Qemu> qemus;
  for (const pid_t pid : all_pids()) {
    auto qemu = qemu_by_pid(pid);  // fails for every process that is no QEMU
    if (qemu) qemus.push_back(*std::move(qemu));
  }
  return qemus;
}

Result<Qemu> qemu_by_name(std::string_view name) {
  std::vector<Qemu> found;
  std::vector<std::string> others;
  for (Qemu& qemu : all_qemus()) {
    if (qemu.name == name) {
      found.push_back(std::move(qemu));
    } else if (!qemu.name.empty()) {
      others.push_back(std::move(qemu.name));
    }
  }
  if (found.size() == 1) return found[0];
  if (found.size() > 1)
    return fail(Code::kInvalid, "{} guests are named '{}' (QEMU processes {} and {}): name one by --pid", found.size(),
                name, found[0].pid, found[1].pid);
  if (others.empty()) return fail(Code::kNotFound, "no guest named '{}': no QEMU with a -name runs here", name);
  return fail(Code::kNotFound, "no guest named '{}'; there are: {}", name, fmt::join(others, ", "));
}

Result<Qemu> qemu_by_qmp(const std::string& path) {
  HW_TRY(Qmp qmp, Qmp::connect(path));
  HW_TRY(const int pid, qmp.peer_pid());
  auto qemu = qemu_by_pid(pid);
  if (!qemu) return within(qemu.error(), "{}", path);
  qemu->qmp_sockets = {path};
  return qemu;
}

std::optional<std::string> memory_tree(const Qemu& qemu, const std::string& libvirt_uri) {
  for (const std::string& path : qemu.qmp_sockets) {
    auto qmp = Qmp::connect(path);
    if (!qmp) continue;
    auto tree = qmp->human("info mtree -f");
    if (tree) return *std::move(tree);
  }
  // A domain of libvirt's has a UUID, and so may others; asking costs little then, and only then.
  if (qemu.uuid.empty()) return std::nullopt;
  auto tree = domain_memory_tree(qemu, libvirt_uri);
  if (!tree) return std::nullopt;
  return *std::move(tree);
}

}  // namespace hyperward::vm
