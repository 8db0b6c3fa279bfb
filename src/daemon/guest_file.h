// A guest's file and what it names, read and checked: who has this needs none of the files any more.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "daemon/config.h"
#include "policy/rules.h"

namespace hyperward::daemon {

struct GuestFile {
  std::filesystem::path file;
  Config config;
  std::string rules;  // the text of config.rules

  [[nodiscard]] Result<policy::RuleSet> compile() const;
};

// Its rules compile. Errors as load_config's and load_rules'.
[[nodiscard]] Result<GuestFile> load_guest_file(const std::filesystem::path& file,
                                                ConfigFor what = ConfigFor::kOneGuest);

}  // namespace hyperward::daemon
