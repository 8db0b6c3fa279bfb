// What `hyperward daemon` reads: /etc/hyperward/hyperward.toml, and with it every guest's file and rules.
//
//   [daemon]
//   socket = "/run/hyperward/control.sock"    # who may open it may do everything
//   socket_group = "hyperward"                # whose members may; else root alone
//   read_socket = "/run/hyperward/read.sock"  # who may open this one may look
//   read_group = "adm"
//   database = "/var/lib/hyperward/hyperward.db"
//   guests = "guests.d"                       # each *.toml in it is one guest (daemon/config.h)
//   log_level = "info"                        # trace, debug, info, warning, error
//
//   [find]                                    # guests that nobody wrote a file for
//   qemu_taps = ["vnet*", "tap*"]             # each QEMU with a tap that one of these matches
//   libvirt = "qemu:///system"                # each domain that runs there
//   template = "found.toml"                   # is guarded as this says: a guest's file without name and tap
//
//   [[ids]]                                   # alerts of intrusion detection systems (detect/ids_alert.h)
//   file = "/var/log/suricata/eve.json"       # lines are appended to it, or
//   socket = "/run/hyperward/eve.sock"        # sent to it
//   socket_type = "stream"                    # or "datagram"
//   guest = "web"                             # else whichever guest has one of the alert's addresses
//
// Files are relative to the one that names them. load_daemon_config() reads and checks all of them, and gives all or
// the first mistake; what it gives needs no file any more.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <spdlog/common.h>

#include "base/result.h"
#include "daemon/config.h"
#include "daemon/guest_file.h"

namespace hyperward::daemon {

struct Find {
  std::vector<std::string> qemu_taps;  // globs, as in a shell
  std::string libvirt;                 // URI; empty: libvirt is not asked
  GuestFile found;                     // the template

  [[nodiscard]] bool matches(const std::string& tap) const;
  // The template, for this guest.
  [[nodiscard]] GuestFile guest(std::string name, int pid, std::string tap) const;
};

struct IdsSource {
  std::filesystem::path file;  // one of the two is set
  std::filesystem::path socket;
  bool datagram = false;  // the socket's type
  std::string guest;      // label; empty: any

  bool operator==(const IdsSource&) const = default;
};

struct DaemonConfig {
  std::filesystem::path socket = "/run/hyperward/control.sock";
  std::filesystem::path read_socket;  // empty: none
  std::optional<std::string> socket_group;
  std::optional<std::string> read_group;
  std::filesystem::path database = "/var/lib/hyperward/hyperward.db";
  std::filesystem::path guests_folder;
  spdlog::level::level_enum log_level = spdlog::level::info;
  std::vector<GuestFile> guests;  // sorted by file name; no two have a label or a tap in common
  std::optional<Find> find;
  std::vector<IdsSource> ids;
};

constexpr size_t kMaxGuests = 1024;

// Every error names the file, line and column, as load_config's do.
[[nodiscard]] Result<DaemonConfig> load_daemon_config(const std::filesystem::path& file);

}  // namespace hyperward::daemon
