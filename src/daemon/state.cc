#include "daemon/state.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "daemon/config.h"

namespace hyperward::daemon {
namespace {

using nlohmann::json;

constexpr const char* kDirectory = "/run/hyperward";
constexpr size_t kMaxStateBytes = 32UL << 20;

// A label comes from a command line or a config: it must not lead out of the directory.
Result<std::filesystem::path> path_of(std::string_view guest) {
  if (guest.empty() || guest.size() > 200 || guest.find('/') != std::string_view::npos || guest.starts_with('.'))
    return fail(Code::kInvalid, "'{}' cannot be a guest's name", guest);
  return std::filesystem::path(kDirectory) / fmt::format("{}.guard", guest);
}

Result<void> write_all(const Fd& fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno(errno, fmt::format("write {}", path));
    text.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

}  // namespace

Result<void> save_state(const GuardState& state) {
  HW_TRY(const auto path, path_of(state.guest));
  std::error_code error;
  std::filesystem::create_directories(kDirectory, error);
  if (error) return fail_errno(error.value(), fmt::format("create {}", kDirectory));

  const json value = {
      {"guest", state.guest},
      {"tap", state.tap},
      {"pins", state.pins},
      {"config", state.config},
      {"rules", state.rules},
      {"pid", state.pid},
      {"generation", state.generation},
      {"run_time", state.run_time},
      {"modules", state.modules},
      {"machine",
       {{"qemu", state.machine.qemu}, {"start_time", state.machine.start_time}, {"boot", state.machine.boot}}}};
  const std::string temporary = path.string() + ".new";
  const Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return fail_errno(errno, fmt::format("write {}", temporary));
  HW_OK(write_all(fd, value.dump(-1, ' ', false, json::error_handler_t::replace), temporary));
  if (::rename(temporary.c_str(), path.c_str()) != 0) return fail_errno(errno, fmt::format("write {}", path.string()));
  return {};
}

Result<GuardState> load_state(std::string_view guest) {
  HW_TRY(const auto path, path_of(guest));
  const auto text = read_file(path, kMaxStateBytes);
  if (!text && text.error().code == Code::kNotFound) return fail(Code::kNotFound, "no guest '{}' is guarded", guest);
  if (!text) return std::unexpected(text.error());

  const json value = json::parse(*text, nullptr, /*allow_exceptions=*/false);
  GuardState state;
  if (!value.is_object()) return fail(Code::kInvalid, "{} is damaged", path.string());
  try {
    value.at("guest").get_to(state.guest);
    value.at("tap").get_to(state.tap);
    value.at("pins").get_to(state.pins);
    value.at("config").get_to(state.config);
    value.at("rules").get_to(state.rules);
    value.at("pid").get_to(state.pid);
    value.at("generation").get_to(state.generation);
    value.at("run_time").get_to(state.run_time);
    value.at("modules").get_to(state.modules);
    const json& machine = value.at("machine");
    machine.at("qemu").get_to(state.machine.qemu);
    machine.at("start_time").get_to(state.machine.start_time);
    machine.at("boot").get_to(state.machine.boot);
  } catch (const json::exception& exception) {
    return fail(Code::kInvalid, "{} is damaged: {}", path.string(), exception.what());
  }
  return state;
}

Result<void> remove_state(std::string_view guest) {
  HW_TRY(const auto path, path_of(guest));
  std::error_code error;
  std::filesystem::remove(path, error);
  if (error) return fail_errno(error.value(), fmt::format("remove {}", path.string()));
  return {};
}

bool is_alive(const GuardState& state) {
  // Another process may have taken the number since: the guard is the one with our name.
  const auto comm = read_file(fmt::format("/proc/{}/comm", state.pid), 64);
  return comm && comm->starts_with("hyperward");
}

}  // namespace hyperward::daemon
