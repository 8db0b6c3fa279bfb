// One guest of the daemon, whether it runs or not: its guard, its detection, and what is done about what they find.
//
// Has a thread of its own, on which everything about the guest happens: a slow guest, or one that attacks, takes no
// other guest's time. Calls from outside leave a task there; those with a Result wait for it, as long as GuestAccess
// has it, the others never wait. A guest that does not run is looked for once a second.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/result.h"
#include "daemon/config.h"
#include "daemon/events.h"
#include "daemon/guard.h"
#include "daemon/guest_file.h"
#include "daemon/guest_modules.h"
#include "daemon/ids_intake.h"
#include "daemon/ids_offer.h"
#include "daemon/store.h"
#include "daemon/watch.h"
#include "detect/meter.h"

namespace hyperward::daemon {

struct GuestStatus {
  enum class State : uint8_t { kAbsent, kFailed, kUnreadable, kGuarded };
  State state = State::kAbsent;
  std::string problem;  // of kFailed, or why it cannot be told; a sentence
  pid_t qemu_pid = 0;
  std::string kernel;  // release; the guest's word
  std::string pins;    // where its flows are: datapath::FlowReader
  size_t file_rules = 0, run_time_rules = 0;
  size_t flows = 0;
  datapath::Counters counters;
  size_t detector_accounts = 0, detector_bytes = 0;
  uint64_t judged = 0, unreadable_flows = 0, module_faults = 0, findings_overflowed = 0;
  std::array<uint64_t, detect::kKinds> findings{};  // alerts raised, by kind
  uint64_t responses = 0;
  std::vector<Guard::GuardedModule> modules;     // that judge
  std::optional<WallTime> since = std::nullopt;  // its guard began
};
[[nodiscard]] std::string_view to_string(GuestStatus::State state);  // "absent", "failed", "unreadable", "guarded"

class GuardedGuest final : GuardListener {
 public:
  struct Setup {
    GuestFile file;
    GuestAccess access = {};
  };
  // All of them outlive this.
  GuardedGuest(Setup setup, Store& store, Events& events);
  ~GuardedGuest() override;
  // Ends its guard and its thread, though others may still hold this: what they ask from then on fails.
  void stop();

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::string tap() const;
  [[nodiscard]] Config config() const;  // a copy: reload may change it
  [[nodiscard]] GuestStatus status() const;

  // Puts the rules in force that the store has now. Without a guard there is nothing to do: one that starts reads them.
  [[nodiscard]] Result<void> apply_rules();
  // The same without waiting; `then` is called on the thread.
  void apply_rules_then(const std::function<void()>& then);
  // For a rule that a person adds or changes: compiled with this guest's names and sets.
  [[nodiscard]] Result<policy::RunTimeRule> compile(std::string_view text);
  struct FileRules {
    std::vector<policy::Rule> rules;
    policy::Verdict default_verdict{};
  };
  [[nodiscard]] Result<FileRules> file_rules();
  [[nodiscard]] Result<std::vector<GuestModule>> modules();  // in the order in which they are asked
  // Modules of run time. Each change is in the store before it is in force, and told of as an event when it is; on an
  // error all is as it was. kInvalid: the name is taken, it is one of the file, or the module's own words why it does
  // not load; kNotFound: there is none of that name; kLimit.
  [[nodiscard]] Result<GuestModule> load_module(const ModuleConfig& module);
  // `changes`: as module_from has them.
  [[nodiscard]] Result<GuestModule> swap_module(const std::string& module, const nlohmann::json& changes);
  [[nodiscard]] Result<GuestModule> unload_module(const std::string& module);  // as it was

  // As Guard::adopt; a guest that does not run just has the new configuration from now on.
  [[nodiscard]] Result<void> adopt(GuestFile file);

  // Of those that wait; beyond, offers are passed over, and counted as findings that overflowed.
  static constexpr size_t kMaxOffers = 2 * IdsIntake::kMaxLinesPerRead;
  void offer(std::shared_ptr<IdsOffer> offer);

 private:
  using Taken = IdsOffer::Taken;

  // On the thread.
  void run(const std::stop_token& stop);
  void look_for_guest();
  [[nodiscard]] std::unique_ptr<Watch> make_watch();
  void turn_guard();
  void run_tasks();
  void look_at_offers();
  void take(IdsOffer& offer);
  [[nodiscard]] Result<policy::RuleSet> file_rules_here();
  [[nodiscard]] Result<std::vector<filter::StoredText>> stored_rules() const;  // the newest first
  [[nodiscard]] Result<void> apply_rules_here();
  [[nodiscard]] Result<std::vector<ModuleConfig>> modules_with(const Config& config) const;  // and those of run time
  [[nodiscard]] Result<ModuleConfig> module_of_run_time(const std::string& name) const;
  [[nodiscard]] GuestModule as_it_is(const ModuleConfig& module, bool of_file) const;
  [[nodiscard]] Result<std::vector<GuestModule>> modules_here() const;
  [[nodiscard]] Result<GuestModule> load_module_here(const ModuleConfig& module);
  [[nodiscard]] Result<GuestModule> swap_module_here(const std::string& name, const nlohmann::json& changes);
  [[nodiscard]] Result<GuestModule> unload_module_here(const std::string& name);
  [[nodiscard]] GuestModule told(std::string event, GuestModule module);
  std::optional<Taken> act_on(const Case& found);
  std::optional<Taken> add_alert(StoredAlert alert, std::string_view why);
  void act_on_all();
  void end_guard(GuestStatus::State state, std::string problem);
  void publish();
  [[nodiscard]] bool judged(const packet::FlowKey& key, const filter::Judgement& judgement) override;
  void seen(const datapath::FlowRecord& flow) override;
  void readable(bool is_readable) override;
  void module_ended(const std::string& module, const filter::ModuleEnd& end) override;

  // From outside.
  template <typename T>
  [[nodiscard]] T on_thread(std::function<T()> task);
  [[nodiscard]] bool leave(std::function<void()> task);  // false: the thread has ended
  void wake();

  const std::string name_;
  const GuestAccess access_;
  Store& store_;
  Events& events_;

  // The thread's own.
  std::unique_ptr<Watch> watch_;
  std::unique_ptr<Guard> guard_;
  GuestStatus now_;  // becomes status_ by publish()
  detect::Tokens flow_events_;

  mutable std::mutex mutex_;  // of what follows
  GuestFile file_;            // written by the thread alone
  GuestStatus status_;
  std::deque<std::function<void()>> tasks_;
  std::deque<std::shared_ptr<IdsOffer>> offers_;
  uint64_t offers_overflowed_ = 0;
  bool stopped_ = false;

  Fd wake_;  // eventfd: there are tasks or offers, or it is time to go
  std::jthread thread_;
};

}  // namespace hyperward::daemon
