// One guest, its tap, its rules: what `hyperward guard --config FILE` reads, and each file of the daemon's guests.
//
//   [guest]
//   name = "web"            # QEMU's -name; or pid = 4711, or qmp = "/run/web.qmp"
//   access = "auto"         # auto, mapped or readv
//
//   [guard]
//   tap = "tap0"            # the host's end of the guest's network card
//   rules = "web.rules"     # relative to this file
//   default = "deny"        # new flows while nobody can judge: no hyperward, hold full
//   max_flows = 65536
//
//   [users]                 # names that rules may use, as the guest numbers them
//   alice = 1000
//   [groups]
//   staff = 50
//
//   [[module]]              # a filter module behind the rules: daemon/module_config.h
//
//   [detect] and [respond]  # what counts as an attack, and what is done about it: daemon/detection_config.h
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "daemon/detection_config.h"
#include "daemon/guest_source.h"
#include "daemon/module_config.h"

namespace hyperward::daemon {

struct Config {
  GuestSource guest;
  std::string tap;
  std::filesystem::path rules;
  bool default_allow = false;
  uint32_t max_flows = 65536;
  std::map<std::string, uint32_t> users;
  std::map<std::string, uint32_t> groups;
  Detection detection;
  std::vector<ModuleConfig> modules;  // in the order in which they are asked

  // What the guest is called in messages and under /run/hyperward: its name, or the tap's when it has none.
  [[nodiscard]] std::string label() const { return guest.name.empty() ? tap : guest.name; }
};

// A template holds for guests that were found: it names neither a guest nor a tap.
enum class ConfigFor : uint8_t { kOneGuest, kFoundGuests };

// Every error names the file, line and column: "web.toml:7:11: ...". load_config reads the list of networks too, if one
// is named; not the rules (daemon/rules_file.h).
[[nodiscard]] Result<Config> load_config(const std::filesystem::path& file, ConfigFor what = ConfigFor::kOneGuest);
[[nodiscard]] Result<Config> parse_config(std::string_view text, const std::filesystem::path& file,
                                          ConfigFor what = ConfigFor::kOneGuest);

// The whole file as text; kLimit when it is longer than `max_bytes`.
[[nodiscard]] Result<std::string> read_file(const std::filesystem::path& file, size_t max_bytes);

}  // namespace hyperward::daemon
