#include "filter/loaded_module.h"

#include <dlfcn.h>
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/fd.h"
#include "filter/module_info.h"

namespace hyperward::filter {
namespace {

constexpr size_t kErrorBytes = 512;

}  // namespace

struct LoadedModule::Library {
  Library(void* opened, Fd its_file) : handle(opened), file(std::move(its_file)) {}
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library() { ::dlclose(handle); }

  void* handle;
  Fd file;  // where it was loaded by this; else invalid
};

LoadedModule::LoadedModule(std::shared_ptr<Library> library, const hyperward_module& table, ModuleInfo info)
    : library_(std::move(library)), table_(table), info_(std::move(info)) {}

LoadedModule::~LoadedModule() {
  if (owns_instance_ && instance_ != nullptr) table_.destroy(instance_);
}

Result<std::unique_ptr<LoadedModule>> LoadedModule::load(const std::filesystem::path& file,
                                                         const std::string& settings) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error))
    return fail(Code::kNotFound, "there is no file {}", file.native());
  std::string path = std::filesystem::absolute(file);  // without a slash the loader would look elsewhere
  Fd opened;
  // The loader goes by the path: a new file in the place of one that is loaded would be taken for that one. A
  // descriptor has a path of its own for as long as it is open.
  if (void* const known = ::dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD); known != nullptr) {
    ::dlclose(known);
    opened = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!opened.valid()) return fail_errno(errno, fmt::format("open {}", path));
    path = fmt::format("/proc/self/fd/{}", opened.get());
  }
  void* const handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return fail(Code::kInvalid, "load {}: {}", file.native(), ::dlerror());
  auto library = std::make_shared<Library>(handle, std::move(opened));
  const auto* const table = static_cast<const hyperward_module*>(::dlsym(handle, HYPERWARD_MODULE_SYMBOL));
  if (table == nullptr)
    return fail(Code::kInvalid, "{} is no module: it has no symbol " HYPERWARD_MODULE_SYMBOL, file.native());
  auto module = make(std::move(library), *table, settings);
  if (!module) return within(std::move(module).error(), "load {}", file.native());
  return module;
}

Result<std::unique_ptr<LoadedModule>> LoadedModule::make(const hyperward_module& table, const std::string& settings) {
  return make(nullptr, table, settings);
}

Result<std::unique_ptr<LoadedModule>> LoadedModule::make(std::shared_ptr<Library> library,
                                                         const hyperward_module& table, const std::string& settings) {
  if (settings.size() > HYPERWARD_SETTINGS_MAX)
    return fail(Code::kLimit, "the settings are {} bytes, {} at most", settings.size(), HYPERWARD_SETTINGS_MAX);
  HW_TRY(ModuleInfo info, info_of(table));
  std::unique_ptr<LoadedModule> module(new LoadedModule(std::move(library), table, std::move(info)));
  std::array<char, kErrorBytes> words{};
  if (table.create(&GuestView::host(), settings.c_str(), &module->instance_, words.data(), words.size()) != 0) {
    module->instance_ = nullptr;
    words.back() = '\0';
    return fail(Code::kInvalid, "module {} refuses its settings: {}", module->info_.name,
                words[0] == '\0' ? "it does not say why" : words.data());
  }
  return module;
}

std::unique_ptr<LoadedModule> LoadedModule::around(const hyperward_module& table, void* instance) {
  auto info = info_of(table);
  HW_CHECK(info.has_value());
  std::unique_ptr<LoadedModule> module(new LoadedModule(nullptr, table, *std::move(info)));
  module->instance_ = instance;
  module->owns_instance_ = false;
  return module;
}

std::optional<Module::Said> LoadedModule::ask(uint64_t ticket, const Question& question, GuestView& view) {
  static_cast<void>(ticket);
  return judge(question, view);
}

Module::Said LoadedModule::judge(const Question& question, GuestView& view) {
  hyperward_packet packet = question.packet;
  packet.history = question.history ? &*question.history : nullptr;
  packet.frame = nullptr;
  packet.captured_bytes = 0;
  if (info_.frame_bytes != 0) {
    const auto captured = question.frame.first(std::min<size_t>(question.frame.size(), info_.frame_bytes));
    packet.frame = reinterpret_cast<const uint8_t*>(captured.data());
    packet.captured_bytes = static_cast<uint32_t>(captured.size());
  }
  hyperward_answer raw{};
  raw.size = sizeof(raw);
  raw.lifetime_ms = HYPERWARD_FOREVER;

  ++status_.asked;
  Answer remarks;
  view.begin(question, remarks);
  std::optional<guest::ReadBudget> budget;
  if (view.guest() != nullptr) budget.emplace(*view.guest(), GuestView::kReadsMax);
  table_.judge(instance_, &view, &packet, &raw);
  Said said = answer_from(raw);
  if (!said) {
    ++status_.faults;
    status_.last_fault = said.error().message;
    return said;
  }
  if (said->verdict == policy::Verdict::kDeny) ++status_.denied;
  for (const Remark& remark : remarks.remarks()) said->remark(remark);
  said->remarks_left_out = remarks.remarks_left_out;
  return said;
}

ModuleStatus LoadedModule::status() const {
  ModuleStatus status = status_;
  if (!HYPERWARD_HAS(&table_, counters) || table_.counters == nullptr) return status;
  std::array<hyperward_counter, HYPERWARD_COUNTERS_MAX> counters{};
  const size_t count = std::min<size_t>(table_.counters(instance_, counters.data(), counters.size()), counters.size());
  for (const hyperward_counter& counter : std::span(counters).first(count)) {
    std::string name = words(counter.name);
    if (is_counter_name(name)) status.counters.push_back({std::move(name), counter.value});
  }
  return status;
}

}  // namespace hyperward::filter
