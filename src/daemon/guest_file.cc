#include "daemon/guest_file.h"

#include "daemon/rules_file.h"

namespace hyperward::daemon {

Result<policy::RuleSet> GuestFile::compile() const {
  return compile_rules(rules, config.rules, names_of(config));
}

Result<GuestFile> load_guest_file(const std::filesystem::path& file, ConfigFor what) {
  HW_TRY(Config config, load_config(file, what));
  HW_TRY(std::string rules, read_file(config.rules, policy::kTextMaxBytes));
  GuestFile guest{.file = file, .config = std::move(config), .rules = std::move(rules)};
  HW_OK(guest.compile());
  return guest;
}

}  // namespace hyperward::daemon
