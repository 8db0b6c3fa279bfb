#include "daemon/detection_config.h"

#include <algorithm>

#include "base/time.h"
#include "daemon/config.h"
#include "daemon/toml_section.h"
#include "policy/rules.h"

namespace hyperward::daemon {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::seconds;

// The detectors measure no longer times and count no more destinations of a scan than this.
constexpr milliseconds kMaxWindow = 1h;
constexpr int64_t kMaxScanCount = 256;

constexpr int64_t kMaxFloodCount = 10'000'000;
constexpr int64_t kMaxBurst = 1'000'000;
constexpr milliseconds kMaxGrace = 1min;
constexpr milliseconds kMaxWarmUp = 24h * 30;
constexpr milliseconds kMaxQuiet = 24h;
constexpr int64_t kMaxAccounts = 1'000'000;
constexpr int64_t kMaxRulesPerHour = 1000;
constexpr size_t kMaxListedBytes = 64UL << 20;

template <typename T, typename V>
void set(T& target, const std::optional<V>& value) {
  if (value) target = static_cast<T>(*value);
}

// "mail-burst" is mail_burst here, as all keys are written.
std::string key_of(detect::Kind kind) {
  std::string key(to_string(kind));
  std::replace(key.begin(), key.end(), '-', '_');
  return key;
}

Result<void> read_window(Section& detect, std::string_view key, int64_t max_count, detect::Window& window) {
  HW_TRY(Section section, detect.take_section(key));
  HW_TRY(const auto enabled, section.take<bool>("enabled", "true or false"));
  HW_TRY(const auto count, section.take_number("count", 2, max_count));
  HW_TRY(const auto length, section.take_duration("window", 1ms, kMaxWindow));
  set(window.enabled, enabled);
  set(window.count, count);
  set(window.length, length);
  return section.refuse_others();
}

Result<void> read_bucket(Section& detect, std::string_view key, detect::Bucket& bucket) {
  HW_TRY(Section section, detect.take_section(key));
  HW_TRY(const auto enabled, section.take<bool>("enabled", "true or false"));
  HW_TRY(const auto burst, section.take_number("burst", 1, kMaxBurst));
  HW_TRY(const auto interval, section.take_duration("interval", 1ms, kMaxWindow));
  HW_TRY(const auto ports, section.take_ports("ports"));
  set(bucket.enabled, enabled);
  set(bucket.burst, burst);
  set(bucket.interval, interval);
  if (ports) bucket.ports = *ports;
  return section.refuse_others();
}

Result<void> read_detect(Section& section, const std::filesystem::path& file, Detection& detection) {
  detect::Settings& settings = detection.settings;
  HW_TRY(const auto learning, section.take<bool>("learning", "true or false"));
  HW_TRY(const auto grace, section.take_duration("grace", 0ms, kMaxGrace));
  HW_TRY(const auto listed, section.take<std::string>("listed", "a path"));
  HW_TRY(const auto warm_up, section.take_duration("warm_up", 0ms, kMaxWarmUp));
  HW_TRY(const auto quiet, section.take_duration("quiet", 1s, kMaxQuiet));
  HW_TRY(const auto max_accounts, section.take_number("max_accounts", 16, kMaxAccounts));
  HW_OK(read_window(section, key_of(detect::Kind::kHorizontalScan), kMaxScanCount, settings.horizontal_scan));
  HW_OK(read_window(section, key_of(detect::Kind::kVerticalScan), kMaxScanCount, settings.vertical_scan));
  HW_OK(read_window(section, key_of(detect::Kind::kSynFlood), kMaxFloodCount, settings.syn_flood));
  HW_OK(read_window(section, key_of(detect::Kind::kUdpFlood), kMaxFloodCount, settings.udp_flood));
  HW_OK(read_bucket(section, key_of(detect::Kind::kMailBurst), settings.mail_burst));
  HW_OK(read_bucket(section, key_of(detect::Kind::kLoginBurst), settings.login_burst));
  HW_OK(section.refuse_others());
  set(detection.response.learning, learning);
  set(settings.grace, grace);
  set(settings.warm_up, warm_up);
  set(settings.quiet, quiet);
  set(settings.max_accounts, max_accounts);
  if (listed && listed->empty()) return section.mistake("listed", "must name a file");
  if (listed) detection.listed_file = file.parent_path() / *listed;
  settings.listed = listed.has_value();
  return {};
}

Result<void> read_kind(Section& respond, detect::Kind kind, detect::ResponsePolicy& policy) {
  HW_TRY(Section section, respond.take_section(key_of(kind)));
  HW_TRY(const auto action, section.take<std::string>("action", "a string"));
  HW_TRY(const auto duration, section.take_duration("duration", 1s, kMaxDuration));
  HW_OK(section.refuse_others());
  if (duration && *duration % 1s != 0ms) return section.mistake("duration", "must be whole seconds");
  if (duration) policy.durations[static_cast<size_t>(kind)] = std::chrono::duration_cast<seconds>(*duration);
  if (!action) return {};
  const auto known = detect::action_from(*action);
  if (!known) return section.mistake("action", "must be nothing, alert, audit, deny-port or deny-owner");
  policy.actions[static_cast<size_t>(kind)] = *known;
  return {};
}

Result<std::vector<uint32_t>> read_users(Section& never, const std::map<std::string, uint32_t>& users) {
  HW_TRY(const auto values, never.take_list("users"));
  std::vector<uint32_t> uids;
  for (const toml::node* value : values) {
    const auto number = value->value_exact<int64_t>();
    const auto name = value->value_exact<std::string>();
    const auto known = name ? users.find(*name) : users.end();
    if (known == users.end() && name)
      return fail(Code::kInvalid, "{}: [users] has no '{}'", never.at(value->source()), *name);
    if (!name && (!number || *number < 0 || *number > UINT32_MAX - 1))
      return fail(Code::kInvalid, "{}: a user is a name of [users], or a number from 0 to 4294967294",
                  never.at(value->source()));
    uids.push_back(name ? known->second : static_cast<uint32_t>(*number));
  }
  return uids;
}

Result<detect::Networks> read_networks(Section& never) {
  HW_TRY(const auto values, never.take_list("networks"));
  std::string lines;
  for (const toml::node* value : values) {
    const auto text = value->value_exact<std::string>();
    const auto network = text ? detect::Networks::parse(*text) : detect::Networks();
    // One each: no comment, no line of several, nothing blank.
    if (!network || network->size() != 1 || text->find('\n') != std::string::npos)
      return fail(Code::kInvalid, "{}: a network is as \"10.0.0.0/8\"", never.at(value->source()));
    lines += *text + "\n";
  }
  return detect::Networks::parse(lines);
}

Result<void> read_never(Section& respond, const std::map<std::string, uint32_t>& users, detect::Protected& protect) {
  HW_TRY(Section never, respond.take_section("never"));
  HW_TRY(protect.uids, read_users(never, users));
  HW_TRY(auto processes, never.take_strings("processes"));
  HW_TRY(auto ports, never.take_ports("ports"));
  HW_TRY(protect.networks, read_networks(never));
  HW_OK(never.refuse_others());
  if (processes) protect.processes = *std::move(processes);
  if (ports) protect.ports = *std::move(ports);
  const auto& names = protect.processes;
  const auto too_long = [](const std::string& name) { return name.size() > policy::kCommMaxBytes; };
  if (const auto found = std::find_if(names.begin(), names.end(), too_long); found != names.end())
    return never.mistake("processes", "has '{}': the kernel keeps {} bytes of a process's name", *found,
                         policy::kCommMaxBytes);
  return {};
}

Result<void> read_respond(Section& section, const std::map<std::string, uint32_t>& users,
                          detect::ResponsePolicy& policy) {
  HW_TRY(const auto scope, section.take<std::string>("scope", "\"user\" or \"process\""));
  HW_TRY(const auto max_rules, section.take_number("max_rules_per_hour", 0, kMaxRulesPerHour));
  for (size_t kind = 0; kind < detect::kKinds; ++kind)
    HW_OK(read_kind(section, static_cast<detect::Kind>(kind), policy));
  HW_OK(read_never(section, users, policy.never));
  HW_OK(section.refuse_others());
  if (scope && *scope != "user" && *scope != "process")
    return section.mistake("scope", "must be \"user\" or \"process\"");
  policy.scope = scope == "process" ? detect::Scope::kProcess : detect::Scope::kUser;
  set(policy.max_rules_per_hour, max_rules);
  return {};
}

}  // namespace

Result<Detection> read_detection(Section& detect, Section& respond, const std::filesystem::path& file,
                                 const std::map<std::string, uint32_t>& users) {
  Detection detection;
  HW_OK(read_detect(detect, file, detection));
  HW_OK(read_respond(respond, users, detection.response));
  return detection;
}

Result<void> load_listed(Detection& detection) {
  if (detection.listed_file.empty()) return {};
  HW_TRY(const std::string text, read_file(detection.listed_file, kMaxListedBytes));
  auto listed = detect::Networks::parse(text);
  if (!listed) return within(listed.error(), "{}", detection.listed_file.string());
  detection.listed = *std::move(listed);
  return {};
}

}  // namespace hyperward::daemon
