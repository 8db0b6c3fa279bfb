// A module in this process: one instance of a table that came from a shared object, or is built in.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "filter/module.h"

namespace hyperward::filter {

class LoadedModule final : public Module {
 public:
  // Loads the shared object; one that is loaded already, byte for byte the same file, is shared. Its constructors run
  // here and now, with all that this process may do. `settings` is a JSON object.
  // kNotFound: no such file; kInvalid: no module, one of another ABI, or one that refuses its settings: its words.
  [[nodiscard]] static Result<std::unique_ptr<LoadedModule>> load(const std::filesystem::path& file,
                                                                  const std::string& settings);
  // The same for a table of this program, which is not unloaded.
  [[nodiscard]] static Result<std::unique_ptr<LoadedModule>> make(const hyperward_module& table,
                                                                  const std::string& settings);
  // An instance that exists, and stays the caller's: it outlives this.
  [[nodiscard]] static std::unique_ptr<LoadedModule> around(const hyperward_module& table, void* instance);
  ~LoadedModule() override;

  [[nodiscard]] const ModuleInfo& info() const override { return info_; }
  [[nodiscard]] std::optional<Said> ask(uint64_t ticket, const Question& question, GuestView& view) override;
  [[nodiscard]] ModuleStatus status() const override;

  // As ask(), for callers that need no ticket.
  [[nodiscard]] Said judge(const Question& question, GuestView& view);

 private:
  struct Library;  // a dlopen()ed file
  LoadedModule(std::shared_ptr<Library> library, const hyperward_module& table, ModuleInfo info);
  [[nodiscard]] static Result<std::unique_ptr<LoadedModule>> make(std::shared_ptr<Library> library,
                                                                  const hyperward_module& table,
                                                                  const std::string& settings);

  std::shared_ptr<Library> library_;
  const hyperward_module& table_;
  ModuleInfo info_;
  void* instance_ = nullptr;
  bool owns_instance_ = true;
  ModuleStatus status_;
};

}  // namespace hyperward::filter
