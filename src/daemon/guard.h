// The guard: one guest, its rules and its tap, wired together.
//
// One thread waits for held frames, signals, its own tick and the guest's end. Per held frame: whose is it, may it,
// remember the answer, put it back or drop it. A guest that reboots, or is still in its firmware, cannot be read; the
// guard looks for its kernel in the background until it can, and flows meet the guest's default meanwhile.
#pragma once

#include <chrono>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>

#include "base/fd.h"
#include "base/result.h"
#include "daemon/config.h"
#include "datapath/datapath.h"
#include "filter/filter.h"
#include "guest/guest.h"
#include "policy/rules.h"

namespace hyperward::daemon {

class Guard {
 public:
  // Reads everything first and touches the tap last: a mistake leaves nothing half-done.
  [[nodiscard]] static Result<std::unique_ptr<Guard>> start(const std::filesystem::path& config_file);

  // Guards until SIGINT or SIGTERM, or until the guest's QEMU ends. SIGHUP reads the rules again. The programs stay on
  // the tap: known flows go on, new ones meet the default until a guard starts again, or `hyperward detach`.
  [[nodiscard]] Result<void> run();

 private:
  using Attached = Result<std::unique_ptr<guest::Guest>>;

  Guard(std::filesystem::path config_file, Config config, vm::Qemu qemu, policy::RuleSet rules, std::string rules_text,
        datapath::Datapath path);

  [[nodiscard]] Result<void> watch();
  [[nodiscard]] Result<bool> handle(int fd);  // false: it is time to go
  [[nodiscard]] Result<void> judge_held();
  [[nodiscard]] Result<void> judge(const datapath::Held& held);
  [[nodiscard]] Result<void> meet_default(const datapath::Held& held);
  void reload();
  [[nodiscard]] Result<void> judge_all_again();
  void tick();
  void look_after_guest();
  [[nodiscard]] datapath::Judgement remembered(const filter::Judgement& judgement) const;
  void log(const filter::Judgement& judgement) const;
  void save() const;

  std::filesystem::path config_file_;
  Config config_;
  vm::Qemu qemu_;
  filter::RuleChain rules_;
  std::string rules_text_;
  uint32_t generation_;
  datapath::Datapath path_;
  std::unique_ptr<guest::Guest> guest_;  // nullptr: it cannot be read at the moment
  std::future<Attached> attaching_;
  uint64_t unreadable_flows_ = 0;
  uint64_t ticks_ = 0;
  Fd poll_, signals_, timer_, guest_process_;
};

}  // namespace hyperward::daemon
