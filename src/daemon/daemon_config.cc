#include "daemon/daemon_config.h"

#include <fnmatch.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <map>

#include "daemon/toml_section.h"

namespace hyperward::daemon {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxConfigBytes = 1UL << 20;
constexpr size_t kMaxSocketPath = sizeof(sockaddr_un::sun_path) - 1;

Result<std::optional<fs::path>> take_absolute(Section& section, std::string_view key) {
  HW_TRY(const auto text, section.take<std::string>(key, "a path"));
  if (!text) return std::nullopt;
  // The daemon's own folder is no place that anybody means.
  if (!text->starts_with('/')) return section.mistake(key, "must be an absolute path");
  return fs::path(*text);
}

Result<std::optional<fs::path>> take_socket(Section& section, std::string_view key) {
  HW_TRY(auto path, take_absolute(section, key));
  if (path && path->native().size() > kMaxSocketPath)
    return section.mistake(key, "is longer than {} bytes, which no socket's path may be", kMaxSocketPath);
  return path;
}

Result<spdlog::level::level_enum> level_from(const Section& section, const std::string& text) {
  constexpr std::array<spdlog::level::level_enum, 5> kLevels{
      spdlog::level::trace, spdlog::level::debug, spdlog::level::info, spdlog::level::warn, spdlog::level::err};
  for (const auto level : kLevels) {
    const auto name = spdlog::level::to_string_view(level);
    if (text == std::string_view(name.data(), name.size())) return level;
  }
  return section.mistake("log_level", "must be trace, debug, info, warning or error");
}

// Every *.toml of the folder, by name; hidden ones are an editor's.
Result<std::vector<fs::path>> guest_files(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.ends_with(".toml") || name.starts_with('.')) continue;
    if (files.size() == kMaxGuests)
      return fail(Code::kLimit, "{} has more than {} guests", folder.string(), kMaxGuests);
    files.push_back(entry->path());
  }
  if (error) return fail_errno(error.value(), fmt::format("read the folder {}", folder.string()));
  std::sort(files.begin(), files.end());
  return files;
}

Result<std::vector<GuestFile>> load_guests(const fs::path& folder) {
  HW_TRY(const std::vector<fs::path> files, guest_files(folder));
  std::vector<GuestFile> guests;
  std::map<std::string, fs::path> by_label;
  std::map<std::string, fs::path> by_tap;
  for (const fs::path& file : files) {
    HW_TRY(GuestFile guest, load_guest_file(file));
    const std::string label = guest.config.label();
    if (const auto [other, is_new] = by_label.try_emplace(label, file); !is_new)
      return fail(Code::kInvalid, "{}: {} is a guest named '{}' already", file.string(), other->second.string(), label);
    if (const auto [other, is_new] = by_tap.try_emplace(guest.config.tap, file); !is_new)
      return fail(Code::kInvalid, "{}: the tap '{}' is that of {} already", file.string(), guest.config.tap,
                  other->second.string());
    guests.push_back(std::move(guest));
  }
  return guests;
}

Result<void> read_daemon(Section& section, const fs::path& file, DaemonConfig& config) {
  HW_TRY(const auto socket, take_socket(section, "socket"));
  HW_TRY(const auto read_socket, take_socket(section, "read_socket"));
  HW_TRY(config.socket_group, section.take<std::string>("socket_group", "a group's name"));
  HW_TRY(config.read_group, section.take<std::string>("read_group", "a group's name"));
  HW_TRY(const auto database, take_absolute(section, "database"));
  HW_TRY(const auto guests, section.take<std::string>("guests", "a path"));
  HW_TRY(const auto log_level, section.take<std::string>("log_level", "a string"));
  HW_OK(section.refuse_others());
  if (socket) config.socket = *socket;
  if (read_socket) config.read_socket = *read_socket;
  if (config.read_socket == config.socket) return section.mistake("read_socket", "must not be the socket too");
  if (config.read_group && !read_socket) return section.mistake("read_group", "needs a read_socket");
  if (database) config.database = *database;
  config.guests_folder = file.parent_path() / guests.value_or("guests.d");
  if (log_level) {
    HW_TRY(config.log_level, level_from(section, *log_level));
  }

  // A folder that the file names must be there; the usual one need not.
  std::error_code error;
  if (!guests && !fs::exists(config.guests_folder, error)) return {};
  HW_TRY(config.guests, load_guests(config.guests_folder));
  return {};
}

Result<std::optional<Find>> read_find(Section& section, const fs::path& file) {
  if (!section.exists()) return std::nullopt;
  Find find;
  HW_TRY(const auto qemu_taps, section.take_strings("qemu_taps"));
  HW_TRY(const auto libvirt, section.take<std::string>("libvirt", "libvirt's URI"));
  HW_TRY(const auto found, section.take<std::string>("template", "a path"));
  HW_OK(section.refuse_others());
  if (libvirt && libvirt->empty()) return section.mistake("libvirt", "must be libvirt's URI, as \"qemu:///system\"");
  if (!qemu_taps && !libvirt) return section.lacks("qemu_taps or libvirt");
  if (!found) return section.lacks("a template");
  find.qemu_taps = qemu_taps.value_or(std::vector<std::string>());
  find.libvirt = libvirt.value_or("");
  HW_TRY(find.found, load_guest_file(file.parent_path() / *found, ConfigFor::kFoundGuests));
  return find;
}

Result<IdsSource> read_ids(Section& section, const DaemonConfig& config) {
  HW_TRY(const auto file, take_absolute(section, "file"));
  HW_TRY(const auto socket, take_socket(section, "socket"));
  HW_TRY(const auto socket_type, section.take<std::string>("socket_type", "\"stream\" or \"datagram\""));
  HW_TRY(const auto guest, section.take<std::string>("guest", "a guest's name"));
  HW_OK(section.refuse_others());
  if (!file && !socket) return section.lacks("a file or a socket");
  if (file && socket) return section.mistake("socket", "must not stand beside a file: write two [[ids]]");
  if (socket_type && !socket) return section.mistake("socket_type", "needs a socket");
  if (socket_type && *socket_type != "stream" && *socket_type != "datagram")
    return section.mistake("socket_type", "must be \"stream\" or \"datagram\"");
  if (socket && (*socket == config.socket || *socket == config.read_socket))
    return section.mistake("socket", "is the daemon's own");
  const auto is_it = [&](const GuestFile& known) { return known.config.label() == *guest; };
  // A guest that is found may come later.
  if (guest && !config.find && std::none_of(config.guests.begin(), config.guests.end(), is_it))
    return section.mistake("guest", "is none of the guests of {}", config.guests_folder.string());
  return IdsSource{.file = file.value_or(""),
                   .socket = socket.value_or(""),
                   .datagram = socket_type == "datagram",
                   .guest = guest.value_or("")};
}

}  // namespace

bool Find::matches(const std::string& tap) const {
  return std::any_of(qemu_taps.begin(), qemu_taps.end(),
                     [&](const std::string& glob) { return ::fnmatch(glob.c_str(), tap.c_str(), 0) == 0; });
}

GuestFile Find::guest(std::string name, int pid, std::string tap) const {
  GuestFile guest = found;
  guest.config.guest.name = std::move(name);
  guest.config.guest.pid = pid;
  guest.config.tap = std::move(tap);
  return guest;
}

Result<DaemonConfig> load_daemon_config(const fs::path& file) {
  HW_TRY(const std::string text, read_file(file, kMaxConfigBytes));
  HW_TRY(const toml::table table, parse_toml(text, file));
  Section root(table, file);
  HW_TRY(Section daemon, root.take_section("daemon"));
  HW_TRY(Section find, root.take_section("find"));
  HW_TRY(std::vector<Section> ids, root.take_sections("ids"));
  HW_OK(root.refuse_others());

  DaemonConfig config;
  HW_OK(read_daemon(daemon, file, config));
  HW_TRY(config.find, read_find(find, file));
  for (Section& section : ids) {
    HW_TRY(IdsSource source, read_ids(section, config));
    config.ids.push_back(std::move(source));
  }
  return config;
}

}  // namespace hyperward::daemon
