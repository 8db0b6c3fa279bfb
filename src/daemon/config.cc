#include "daemon/config.h"

#include <array>
#include <cerrno>
#include <fstream>
#include <optional>

#include "daemon/toml_section.h"

namespace hyperward::daemon {
namespace {

constexpr size_t kMaxConfigBytes = 1UL << 20;
constexpr size_t kPieceBytes = 16UL << 10;
constexpr int64_t kMaxFlows = 16'000'000;

Result<std::map<std::string, uint32_t>> read_ids(const Section& section) {
  std::map<std::string, uint32_t> ids;
  if (!section.exists()) return ids;
  for (const auto& [key, node] : *section.table()) {
    const std::optional<int64_t> id = node.value_exact<int64_t>();
    if (!id || *id < 0 || *id > UINT32_MAX - 1)
      return fail(Code::kInvalid, "{}: the id of '{}' must be a number from 0 to 4294967294", section.at(node.source()),
                  key.str());
    ids[std::string(key.str())] = static_cast<uint32_t>(*id);
  }
  return ids;
}

Result<void> read_guest(Section& guest, ConfigFor what, Config& config) {
  std::optional<std::string> name, qmp;
  std::optional<int64_t> pid;
  if (what == ConfigFor::kOneGuest) {
    HW_TRY(name, guest.take<std::string>("name", "a string"));
    HW_TRY(pid, guest.take_number("pid", 1, INT32_MAX));
    HW_TRY(qmp, guest.take<std::string>("qmp", "a path"));
  }
  HW_TRY(const auto access, guest.take<std::string>("access", "a string"));
  HW_OK(guest.refuse_others());
  if (what == ConfigFor::kOneGuest && !name && !pid && !qmp) return guest.lacks("a name, a pid or a qmp");
  config.guest = {.name = name.value_or(""), .pid = static_cast<int>(pid.value_or(0)), .qmp = qmp.value_or("")};
  if (!access) return {};
  const auto parsed_access = access_from(*access);
  if (!parsed_access) return guest.mistake("access", "is wrong: {}", parsed_access.error().message);
  config.guest.access = *parsed_access;
  return {};
}

Result<void> read_guard(Section& guard, ConfigFor what, const std::filesystem::path& file, Config& config) {
  std::optional<std::string> tap;
  if (what == ConfigFor::kOneGuest) {
    HW_TRY(tap, guard.take<std::string>("tap", "an interface's name"));
  }
  HW_TRY(const auto rules, guard.take<std::string>("rules", "a path"));
  HW_TRY(const auto default_verdict, guard.take<std::string>("default", "\"allow\" or \"deny\""));
  HW_TRY(const auto max_flows, guard.take_number("max_flows", 1, kMaxFlows));
  HW_OK(guard.refuse_others());
  if (what == ConfigFor::kOneGuest && !tap) return guard.lacks("a tap");
  if (!rules) return guard.lacks("rules");
  config.tap = tap.value_or("");
  config.rules = file.parent_path() / *rules;
  if (default_verdict && *default_verdict != "allow" && *default_verdict != "deny")
    return guard.mistake("default", "must be \"allow\" or \"deny\"");
  config.default_allow = default_verdict == "allow";
  config.max_flows = static_cast<uint32_t>(max_flows.value_or(config.max_flows));
  return {};
}

}  // namespace

Result<std::string> read_file(const std::filesystem::path& file, size_t max_bytes) {
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) return fail(Code::kInvalid, "{} is a directory", file.string());
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return fail_errno(errno, fmt::format("open {}", file.string()));
  // Piece by piece: `max_bytes` may be far more than most files have, and texts are kept.
  std::string text;
  std::array<char, kPieceBytes> piece;
  do {
    stream.read(piece.data(), piece.size());
    text.append(piece.data(), static_cast<size_t>(stream.gcount()));
    if (text.size() > max_bytes) return fail(Code::kLimit, "{} is longer than {} bytes", file.string(), max_bytes);
  } while (stream);
  return text;
}

Result<Config> load_config(const std::filesystem::path& file, ConfigFor what) {
  HW_TRY(const std::string text, read_file(file, kMaxConfigBytes));
  HW_TRY(Config config, parse_config(text, file, what));
  HW_OK(load_listed(config.detection));
  return config;
}

Result<Config> parse_config(std::string_view text, const std::filesystem::path& file, ConfigFor what) {
  HW_TRY(const toml::table table, parse_toml(text, file));
  Section root(table, file);
  HW_TRY(Section guest, root.take_section("guest"));
  HW_TRY(Section guard, root.take_section("guard"));
  HW_TRY(const Section users, root.take_section("users"));
  HW_TRY(const Section groups, root.take_section("groups"));
  HW_TRY(Section detect, root.take_section("detect"));
  HW_TRY(Section respond, root.take_section("respond"));
  HW_TRY(std::vector<Section> modules, root.take_sections("module"));
  HW_OK(root.refuse_others());

  Config config;
  HW_OK(read_guest(guest, what, config));
  HW_OK(read_guard(guard, what, file, config));
  HW_TRY(config.users, read_ids(users));
  HW_TRY(config.groups, read_ids(groups));
  HW_TRY(config.detection, read_detection(detect, respond, file, config.users));
  HW_TRY(config.modules, read_modules(modules));
  return config;
}

}  // namespace hyperward::daemon
