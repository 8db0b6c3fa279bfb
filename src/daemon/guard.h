// The guard: one guest, its rules and its tap, wired together.
//
// Whoever owns it turns it: per held frame, whose is it, may it, remember the answer, put it back or drop it; and, ten
// times a second, what a flow map and a guest need. A guest that reboots, or is still in its firmware, cannot be read;
// the guard looks for its kernel in the background until it can, and flows meet the guest's default meanwhile.
#pragma once

#include <chrono>
#include <deque>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "daemon/config.h"
#include "daemon/guest_file.h"
#include "daemon/load_module.h"
#include "datapath/datapath.h"
#include "filter/chain.h"
#include "filter/filter.h"
#include "guest/guest.h"
#include "policy/rules.h"

namespace hyperward::daemon {

// What a guard tells of its work, on the thread that turns it.
class GuardListener {
 public:
  GuardListener() = default;
  GuardListener(const GuardListener&) = delete;
  GuardListener& operator=(const GuardListener&) = delete;
  virtual ~GuardListener() = default;

  // A flow was judged: a new one, or one whose owner had aged. Not those that met the default. True: turn() shall
  // return before it judges another one, for there is something to be done first.
  [[nodiscard]] virtual bool judged(const packet::FlowKey& key, const filter::Judgement& judgement) = 0;
  // A flow of the table as it is now. All are shown every 100 ms while there are no more than 8192, else by turns.
  virtual void seen(const datapath::FlowRecord& flow) = 0;
  // The guest's kernel was found, or has gone (a reboot: whose flows they were says nothing any more).
  virtual void readable(bool is_readable) = 0;
  // The process of a module has ended, and is started again.
  virtual void module_ended(const std::string& module, const filter::ModuleEnd& end) = 0;
};

// How a guard finds its guest; tests put others in their place.
struct GuestAccess {
  std::function<Result<vm::Qemu>(const GuestSource&)> find = find_qemu;
  std::function<Result<std::unique_ptr<guest::Guest>>(const vm::Qemu&, Access)> attach;  // empty: the real one
  std::string libvirt_uri;                                                               // vm/libvirt.h has what it is
  std::string pin_root;                                                // datapath::Options has what it is
  std::filesystem::path recordings = "/var/lib/hyperward/recordings";  // GuestNow has what it is
  std::chrono::milliseconds patience{10'000};                          // of who asks a guest that is at something else
};

class Guard {
 public:
  struct Setup {
    GuestFile file;
    std::vector<filter::StoredText> run_time = {};  // rules, the newest first
    std::vector<ModuleConfig> modules = {};         // in their order
    GuardListener* listener = nullptr;              // outlives the guard
    GuestAccess access = {};
  };

  // Reads everything first and touches the tap last: a mistake leaves nothing half-done. Flows that an earlier guard
  // left are taken over, unless they are another machine's or another boot's.
  [[nodiscard]] static Result<std::unique_ptr<Guard>> start(Setup setup);
  // The programs stay on the tap: known flows go on, new ones meet the default until a guard starts again, or
  // `hyperward detach`.
  ~Guard();

  // Waits until there is something to do, for `patience` at most, and does it. False: the guest's QEMU has ended.
  [[nodiscard]] Result<bool> turn(std::chrono::milliseconds patience);
  [[nodiscard]] int fd() const { return poll_.get(); }  // readable when turn() has something to do

  // Takes over all of `file` that can change while a guest is guarded: rules, names, the default, and the modules,
  // which are given as for set_modules. kInvalid, and nothing is changed, when the guest, its tap or the size of its
  // table are others, or a module does not load.
  [[nodiscard]] Result<void> adopt(GuestFile file, const std::vector<ModuleConfig>& modules);
  // The rules of run time, the newest first. In force for every flow when this returns.
  [[nodiscard]] Result<void> set_run_time(std::span<const filter::StoredText> rules);
  // What a change of modules is written down with: called when all of them are loaded, and nothing has changed yet.
  using Commit = std::function<Result<void>()>;
  // The modules, in their order: what is new is loaded, what is other is swapped, what is left out is unloaded. On an
  // error, of `commit` too, the modules are those from before. While only swaps happen all flows keep their verdicts,
  // and modules get their time; else every flow is judged again with its next packet.
  [[nodiscard]] Result<void> set_modules(const std::vector<ModuleConfig>& modules, const Commit& commit = {});
  // Another instance in the place of the module of that name, though nothing but its file's contents may be other.
  [[nodiscard]] Result<void> swap_module(const ModuleConfig& module, const Commit& commit);
  // Loads a module to see whether it can be; kInvalid: its own words why not.
  [[nodiscard]] static Result<void> try_module(const ModuleConfig& module, std::string_view guest);
  struct GuardedModule {
    ModuleConfig config;
    filter::ModuleInfo info;
    filter::ModuleStatus status;
  };
  [[nodiscard]] std::vector<GuardedModule> modules() const;
  // Who decided, in words: "line 7", "module rate (code 1): too many connections".
  [[nodiscard]] std::string decider(const filter::Judgement& judgement) const;

  [[nodiscard]] const Config& config() const { return file_.config; }
  [[nodiscard]] const filter::RuleChain& rules() const { return chain_.rules(); }
  [[nodiscard]] const vm::Qemu& qemu() const { return qemu_; }
  [[nodiscard]] guest::Guest* guest() { return now_->guest.get(); }  // nullptr: it cannot be read at the moment
  [[nodiscard]] const datapath::Datapath& path() const { return path_; }
  [[nodiscard]] uint64_t unreadable_flows() const { return unreadable_flows_; }  // met the default for that
  [[nodiscard]] uint64_t module_faults() const { return module_faults_; }  // frames that met it for a module's sake

 private:
  using Attached = Result<std::unique_ptr<guest::Guest>>;

  Guard(Setup setup, vm::Qemu qemu, std::unique_ptr<GuestNow> now, filter::Chain chain, datapath::Datapath path,
        uint32_t generation);

  [[nodiscard]] Result<void> take_over_flows();
  [[nodiscard]] Result<void> note_boot();
  [[nodiscard]] Result<void> forget_flows();
  [[nodiscard]] Result<void> watch();
  [[nodiscard]] Result<bool> handle(int fd);
  [[nodiscard]] Result<void> judge_held();
  [[nodiscard]] Result<void> judge(const datapath::Held& held, datapath::Kept kept = {});
  [[nodiscard]] Result<void> queue_up(const datapath::Held& held);
  [[nodiscard]] Result<void> judge_behind(const packet::FlowKey& key);
  [[nodiscard]] Result<void> settle(const datapath::Held& held, filter::Judgement judgement, filter::Ruling ruling);
  [[nodiscard]] Result<void> settle_answered();
  [[nodiscard]] Result<void> put_back(const datapath::Held& held);
  [[nodiscard]] Result<void> meet_default(const datapath::Held& held);
  [[nodiscard]] Result<void> meet_default_of_module(const datapath::Held& held);
  using LoadedModules = std::map<std::string, std::unique_ptr<filter::Module>>;  // by their names
  [[nodiscard]] Result<LoadedModules> load_others(const std::vector<ModuleConfig>& wanted) const;
  [[nodiscard]] Result<bool> rearrange(const std::vector<ModuleConfig>& wanted, LoadedModules loaded);
  [[nodiscard]] Result<void> put_in_force(filter::RuleChain rules);
  [[nodiscard]] Result<void> judge_by_others();
  [[nodiscard]] Result<void> judge_all_again();
  void tick();
  void look_after_guest();
  [[nodiscard]] filter::GuestView view() { return {now_->guest.get(), now_->boots}; }
  [[nodiscard]] datapath::Judgement remembered(const filter::Judgement& judgement) const;
  [[nodiscard]] std::string name_of(uint32_t rule) const;
  void log(const filter::Judgement& judgement);
  [[nodiscard]] bool may_log();
  void save() const;

  GuestFile file_;
  vm::Qemu qemu_;
  uint64_t boot_ = 0;  // whose flows are in the table: kernel::Kernel::boot_identity(); 0: it was not read yet
  GuestAccess access_;
  GuardListener* listener_;
  std::vector<filter::StoredText> run_time_;
  std::unique_ptr<GuestNow> now_;  // outlives the chain, whose modules look at it
  filter::Chain chain_;
  std::vector<ModuleConfig> modules_;  // of the chain, in its order
  uint32_t generation_;
  datapath::Datapath path_;
  // Frames that a module in a process of its own is asked about, by ticket, and those of their flows behind them.
  struct Waiting {
    datapath::Kept held;
    filter::Judgement judgement;
    uint32_t generation = 0;
  };
  std::unordered_map<uint64_t, Waiting> waiting_;
  std::map<packet::FlowKey, std::deque<datapath::Kept>> behind_;
  uint64_t last_ticket_ = 0;
  std::future<Attached> attaching_;
  uint64_t unreadable_flows_ = 0, module_faults_ = 0;
  bool told_unreadable_ = false;
  bool interrupted_ = false;  // by the listener
  std::chrono::steady_clock::time_point log_second_;
  unsigned logged_ = 0, not_logged_ = 0;  // lines about flows, within that second
  uint64_t ticks_ = 0;
  Fd poll_, timer_, guest_process_;
};

}  // namespace hyperward::daemon
