#include "daemon/rules_file.h"

namespace hyperward::daemon {

policy::Names names_of(const Config& config) {
  policy::Names names;
  names.users.insert(config.users.begin(), config.users.end());
  names.groups.insert(config.groups.begin(), config.groups.end());
  return names;
}

Result<policy::RuleSet> load_rules(const std::filesystem::path& file, const policy::Names& names) {
  HW_TRY(const std::string text, read_file(file, policy::kTextMaxBytes));
  return compile_rules(text, file, names);
}

Result<policy::RuleSet> compile_rules(std::string_view text, const std::filesystem::path& file,
                                      const policy::Names& names) {
  auto rules = policy::compile(text, names);
  if (rules) return *std::move(rules);

  const auto& mistakes = rules.error();
  std::string message =
      fmt::format("{} has {} mistake{}", file.string(), mistakes.size(), mistakes.size() == 1 ? "" : "s");
  for (const auto& mistake : mistakes) message += "\n" + policy::render(mistake, text, file.string());
  return fail(Code::kInvalid, "{}", message);
}

}  // namespace hyperward::daemon
