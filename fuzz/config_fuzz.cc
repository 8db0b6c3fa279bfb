// Any bytes as a guest's file, as a template, and as the daemon's file. Those that they name are not there to be read.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/fd.h"
#include "daemon/config.h"
#include "daemon/daemon_config.h"

using namespace hyperward;  // NOLINT(google-build-using-namespace)

namespace {

constexpr const char* kFile = "fuzz.toml";

void check_mistake(const Error& error, std::string_view file) {
  HW_CHECK(error.message.find(file) != std::string::npos);
}

void parse_guest(std::string_view text, daemon::ConfigFor what) {
  const auto config = daemon::parse_config(text, kFile, what);
  if (!config) {
    HW_CHECK(config.error().code == Code::kInvalid);
    return check_mistake(config.error(), kFile);
  }
  const bool is_one = what == daemon::ConfigFor::kOneGuest;
  HW_CHECK(is_one || (config->tap.empty() && config->guest.name.empty() && config->guest.pid == 0));
  HW_CHECK(config->max_flows > 0 && !config->rules.empty());
  for (const auto duration : config->detection.response.durations) HW_CHECK(duration.count() > 0);
}

// Through a file in memory: the daemon's is read where it lies, for it names others.
void load_daemon(std::string_view text) {
  static const Fd memory(::memfd_create("fuzz", MFD_CLOEXEC));
  HW_CHECK(memory.valid() && ::ftruncate(memory.get(), 0) == 0);
  HW_CHECK(::pwrite(memory.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  const std::string file = fmt::format("/proc/self/fd/{}", memory.get());
  const auto config = daemon::load_daemon_config(file);
  if (!config) return;
  HW_CHECK(config->socket.is_absolute() && config->database.is_absolute());
  HW_CHECK(config->socket != config->read_socket);
  HW_CHECK(config->guests.size() <= daemon::kMaxGuests);
  for (const daemon::IdsSource& ids : config->ids) HW_CHECK(ids.file.empty() != ids.socket.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  parse_guest(text, daemon::ConfigFor::kOneGuest);
  parse_guest(text, daemon::ConfigFor::kFoundGuests);
  load_daemon(text);
  return 0;
}
