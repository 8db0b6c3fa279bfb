// The guard: one guest, its rules and its tap, wired together.
//
// Whoever owns it turns it: per held frame, whose is it, may it, remember the answer, put it back or drop it; and, ten
// times a second, what a flow map and a guest need. A guest that reboots, or is still in its firmware, cannot be read;
// the guard looks for its kernel in the background until it can, and flows meet the guest's default meanwhile.
#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "daemon/config.h"
#include "daemon/guest_file.h"
#include "datapath/datapath.h"
#include "filter/filter.h"
#include "filter/rule_chain.h"
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
};

// How a guard finds its guest; tests put others in their place.
struct GuestAccess {
  std::function<Result<vm::Qemu>(const GuestSource&)> find = find_qemu;
  std::function<Result<std::unique_ptr<guest::Guest>>(const vm::Qemu&, Access)> attach;  // empty: the real one
  std::string libvirt_uri;                                                               // vm/libvirt.h has what it is
  std::string pin_root;                        // datapath::Options has what it is
  std::chrono::milliseconds patience{10'000};  // of who asks a guest that is at something else
};

class Guard {
 public:
  struct Setup {
    GuestFile file;
    std::vector<filter::StoredText> run_time = {};  // rules, the newest first
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

  // Takes over all of `file` that can change while a guest is guarded: rules, names and the default. kInvalid, and
  // nothing is changed, when the guest, its tap or the size of its table are others.
  [[nodiscard]] Result<void> adopt(GuestFile file);
  // The rules of run time, the newest first. In force for every flow when this returns.
  [[nodiscard]] Result<void> set_run_time(std::span<const filter::StoredText> rules);

  [[nodiscard]] const Config& config() const { return file_.config; }
  [[nodiscard]] const filter::RuleChain& rules() const { return rules_; }
  [[nodiscard]] const vm::Qemu& qemu() const { return qemu_; }
  [[nodiscard]] guest::Guest* guest() { return guest_.get(); }  // nullptr: it cannot be read at the moment
  [[nodiscard]] const datapath::Datapath& path() const { return path_; }
  [[nodiscard]] uint64_t unreadable_flows() const { return unreadable_flows_; }  // met the default for that

 private:
  using Attached = Result<std::unique_ptr<guest::Guest>>;

  Guard(Setup setup, vm::Qemu qemu, policy::RuleSet rules, datapath::Datapath path, uint32_t generation);

  [[nodiscard]] Result<void> take_over_flows();
  [[nodiscard]] Result<void> note_boot();
  [[nodiscard]] Result<void> forget_flows();
  [[nodiscard]] Result<void> watch();
  [[nodiscard]] Result<bool> handle(int fd);
  [[nodiscard]] Result<void> judge_held();
  [[nodiscard]] Result<void> judge(const datapath::Held& held);
  [[nodiscard]] Result<void> meet_default(const datapath::Held& held);
  [[nodiscard]] Result<void> put_in_force(filter::RuleChain rules);
  [[nodiscard]] Result<void> judge_all_again();
  void tick();
  void look_after_guest();
  [[nodiscard]] datapath::Judgement remembered(const filter::Judgement& judgement) const;
  void log(const filter::Judgement& judgement);
  [[nodiscard]] bool may_log();
  void save() const;

  GuestFile file_;
  vm::Qemu qemu_;
  uint64_t boot_ = 0;  // whose flows are in the table: kernel::Kernel::boot_identity(); 0: it was not read yet
  GuestAccess access_;
  GuardListener* listener_;
  std::vector<filter::StoredText> run_time_;
  filter::RuleChain rules_;
  uint32_t generation_;
  datapath::Datapath path_;
  std::unique_ptr<guest::Guest> guest_;
  std::future<Attached> attaching_;
  uint64_t unreadable_flows_ = 0;
  bool told_unreadable_ = false;
  bool interrupted_ = false;  // by the listener
  std::chrono::steady_clock::time_point log_second_;
  unsigned logged_ = 0, not_logged_ = 0;  // lines about flows, within that second
  uint64_t ticks_ = 0;
  Fd poll_, timer_, guest_process_;
};

}  // namespace hyperward::daemon
