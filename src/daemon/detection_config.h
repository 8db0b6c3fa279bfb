// [detect] and [respond] of a guest's file: what counts as an attack, and what is done about it.
//
//   [detect]
//   learning = true              # responses are told, and none is carried out
//   grace = "100ms"              # a destination may take so long to answer
//   listed = "drop.txt"          # a file of networks that nobody in the guest should talk to
//   warm_up = "1h"               # nothing is found so long after the start
//   quiet = "1m"                 # a culprit is reported once in so long, per kind and target
//   max_accounts = 1024          # of processes and users that are watched at a time; each may take 18 kB
//   [detect.horizontal_scan]     # also vertical_scan, syn_flood, udp_flood
//   enabled = true
//   count = 15
//   window = "10s"
//   [detect.mail_burst]          # also login_burst
//   burst = 20
//   interval = "500ms"
//   ports = [25, 465, 587]
//
//   [respond]
//   scope = "user"               # or "process": who is cut
//   max_rules_per_hour = 20
//   [respond.mail_burst]         # and so for each kind of finding, also listed and ids
//   action = "deny-port"         # nothing, alert, audit, deny-port, deny-owner
//   duration = "30m"
//   [respond.never]              # is cut, whoever is to blame
//   users = ["root", 33]         # names as in [users], or numbers
//   processes = ["sshd"]
//   ports = [22, 53]
//   networks = ["10.0.0.0/8"]
//
// What is left out is as detect::Settings and detect::ResponsePolicy have it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "base/result.h"
#include "detect/detectors.h"
#include "detect/networks.h"
#include "detect/response.h"

namespace hyperward::daemon {

class Section;

struct Detection {
  detect::Settings settings;
  std::filesystem::path listed_file;  // empty: none
  detect::Networks listed;            // its networks, once load_listed has read them
  detect::ResponsePolicy response = detect::ResponsePolicy::defaults();
  bool operator==(const Detection&) const = default;
};

// `file` is where the sections stand; `users` gives the numbers of names.
[[nodiscard]] Result<Detection> read_detection(Section& detect, Section& respond, const std::filesystem::path& file,
                                               const std::map<std::string, uint32_t>& users);

[[nodiscard]] Result<void> load_listed(Detection& detection);

}  // namespace hyperward::daemon
