#include "daemon/load_module.h"

#include <spdlog/spdlog.h>

#include "filter/loaded_module.h"
#include "memory/ram_handle.h"

namespace hyperward::daemon {
namespace {

// A guest that the module's process cannot be let read is none for it, and the log says why.
filter::GuestMessage shown(const GuestNow& now, const std::string& module) {
  if (now.guest == nullptr) return {};
  auto ram = now.guest->kernel().memory().handle();
  if (ram) return {.boot = now.boots, .ram = *std::move(ram)};
  spdlog::warn("{}: module {} cannot see the guest: {}", now.label, module, ram.error().message);
  return {};
}

template <typename T>
Result<std::unique_ptr<filter::Module>> named(Result<std::unique_ptr<T>> loaded, const ModuleConfig& module,
                                              const GuestNow& now) {
  // Whatever it is, it is the module's: that its file is not there is not to be taken for a guest that is not there.
  if (!loaded) return fail(Code::kInvalid, "{}: module '{}': {}", now.label, module.name, loaded.error().message);
  return *std::move(loaded);
}

}  // namespace

Result<std::unique_ptr<filter::Module>> load_module(const ModuleConfig& module, const GuestNow& now) {
  if (module.run == ModuleConfig::Run::kDaemon)
    return named(filter::LoadedModule::load(module.file, module.settings), module, now);
  filter::ModuleProcessOptions options{.label = now.label,
                                       .file = module.file,
                                       .settings = module.settings,
                                       .batch = module.batch,
                                       .batch_wait = module.batch_wait,
                                       .deadline = module.deadline,
                                       .memory_bytes = uint64_t{module.memory_mb} << 20};
  options.guest = [&now, name = module.name] { return shown(now, name); };
  options.recordings = now.recordings;
  options.ended = [&now, name = module.name](const filter::ModuleEnd& end) {
    if (now.module_ended) now.module_ended(name, end);
  };
  return named(filter::ModuleProcess::start(std::move(options)), module, now);
}

}  // namespace hyperward::daemon
