// The daemon: the guests that are configured or found, the store, the control interface, the IDSs that report.
//
// Each guest has a thread of its own (guarded_guest.h), the control interface has some, and one looks for guests. The
// main thread waits for signals and keeps time.
#pragma once

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "daemon/daemon_config.h"
#include "daemon/events.h"
#include "daemon/guarded_guest.h"
#include "daemon/ids_intake.h"
#include "daemon/operations.h"
#include "daemon/store.h"
#include "detect/ids_alert.h"

namespace hyperward::daemon {

class Daemon final : public Operations {
 public:
  // `config` is what `config_file` says (load_daemon_config): all of it was read and checked before anything is done.
  // reload() reads the file again. `access` is how guests are found.
  [[nodiscard]] static Result<std::unique_ptr<Daemon>> start(const std::filesystem::path& config_file,
                                                             DaemonConfig config, GuestAccess access = {});
  // The guests' programs stay on their taps: known flows go on, new ones meet the default until a daemon comes back.
  ~Daemon() override;

  // What time asks for: rules that expire, lines of the IDSs. To be called every kTick.
  static constexpr std::chrono::milliseconds kTick{200};
  void tick();

  [[nodiscard]] Result<Json> status() override;
  [[nodiscard]] Result<Json> guests() override;
  [[nodiscard]] Result<Json> guest(std::string_view name) override;
  [[nodiscard]] Result<Json> flows(std::string_view name, bool denied_only, size_t limit) override;
  [[nodiscard]] Result<Json> rules(std::string_view guest) override;
  [[nodiscard]] Result<Json> add_rule(std::string_view guest, std::string_view text) override;
  [[nodiscard]] Result<Json> replace_rule(std::string_view guest, int64_t id, std::string_view text) override;
  [[nodiscard]] Result<Json> remove_rule(std::string_view guest, int64_t id) override;
  [[nodiscard]] Result<Json> modules(std::string_view guest) override;
  [[nodiscard]] Result<Json> load_module(std::string_view guest, const ModuleConfig& module) override;
  [[nodiscard]] Result<Json> swap_module(std::string_view guest, std::string_view module, const Json& changes) override;
  [[nodiscard]] Result<Json> unload_module(std::string_view guest, std::string_view module) override;
  [[nodiscard]] Result<Json> alerts(const Query& query) override;
  [[nodiscard]] Result<Json> responses(const Query& query) override;
  [[nodiscard]] Result<Json> response(int64_t id) override;
  [[nodiscard]] Result<Json> undo(int64_t response) override;
  [[nodiscard]] Result<Json> take_ids_line(std::string_view guest, std::string_view line) override;
  [[nodiscard]] Result<Json> reload() override;
  [[nodiscard]] Result<std::string> metrics() override;
  [[nodiscard]] Events& events() override { return events_; }

 private:
  using Guests = std::map<std::string, std::shared_ptr<GuardedGuest>, std::less<>>;

  Daemon(std::filesystem::path config_file, DaemonConfig config, std::unique_ptr<Store> store, IdsIntake ids,
         GuestAccess access);

  [[nodiscard]] Guests all() const;
  [[nodiscard]] Result<std::shared_ptr<GuardedGuest>> find(std::string_view name) const;
  void guard(const GuestFile& file);
  void look_for_guests(const std::stop_token& stop);
  void take_found(const Find& find);
  // The guests that there shall be: of the files, and those found that no file claims.
  [[nodiscard]] std::vector<GuestFile> wanted_by(const DaemonConfig& config) const;
  [[nodiscard]] Result<void> try_modules(const GuestFile& file) const;
  void tell_trouble(const std::string& trouble);
  void expire_rules();
  // Carries a change of the store into force, and tells of it: what the store has is so, even if the guard fails.
  template <typename Row>
  [[nodiscard]] Result<Json> put_in_force(std::string event, const Row& changed);
  // Nothing: the line is none of an alert.
  [[nodiscard]] Result<std::optional<IdsOffer::Answer>> offer_ids_line(std::string_view guest, std::string_view line);
  [[nodiscard]] Result<StoredRule> rule_of(std::string_view guest, int64_t id) const;

  const std::filesystem::path config_file_;
  const GuestAccess access_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  const WallTime started_at_ = wall_now();
  std::unique_ptr<Store> store_;
  Events events_;
  IdsIntake ids_;  // of the main thread

  // A guest that nobody wrote a file for, in this run of its virtual machine.
  struct Found {
    pid_t pid = 0;
    uint64_t start_time = 0;
    std::string tap;
    bool operator==(const Found&) const = default;
  };

  std::string finding_trouble_;      // of the thread that looks
  std::mutex reloading_;             // one at a time, and no guest is found meanwhile; comes before mutex_
  mutable std::shared_mutex mutex_;  // of what follows
  DaemonConfig config_;
  Guests guests_;
  std::map<std::string, Found> found_;

  std::atomic<uint64_t> ids_alerts_{0}, ids_mistakes_{0}, ids_others_{0}, ids_dropped_{0};  // lines
  std::jthread finder_;
};

}  // namespace hyperward::daemon
