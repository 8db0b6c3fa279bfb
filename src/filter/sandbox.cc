#include "filter/sandbox.h"

#include <cap-ng.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <initializer_list>
#include <memory>
#include <ranges>
#include <span>
#include <string>
#include <string_view>

#include "base/fd.h"

namespace hyperward::filter {
namespace {

// -- privileges ------------------------------------------------------------------------------------------------

Result<void> give_up_privileges() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno(errno, "refuse further privileges");
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return fail_errno(errno, "refuse to be traced");
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return fail_errno(errno, "end with the daemon");
  ::capng_clear(CAPNG_SELECT_ALL);
  // The bounding set gives nothing to whoever gets no new privileges; capabilities that are left would.
  if (::capng_apply(CAPNG_SELECT_AMBIENT) != 0 || ::capng_apply(CAPNG_SELECT_CAPS) != 0)
    return fail(Code::kPermission, "give up all capabilities");
  return {};
}

// The daemon has reasons not to be chosen when memory is short; they are not the module's.
void be_the_first_to_go() {
  constexpr int kScore = 500;
  std::ofstream("/proc/self/oom_score_adj") << kScore;
}

// -- limits ----------------------------------------------------------------------------------------------------

constexpr rlim_t kDescriptors = 32;

Result<uint64_t> address_space_bytes() {
  uint64_t pages = 0;
  if (!(std::ifstream("/proc/self/statm") >> pages)) return fail(Code::kSystem, "read /proc/self/statm");
  return pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

Result<void> limit_resources(uint64_t memory_bytes) {
  HW_TRY(const uint64_t taken, address_space_bytes());
  struct Limit {
    __rlimit_resource resource;
    rlim_t value;
    const char* what;
  };
  const std::array limits{
      Limit{RLIMIT_AS, taken + memory_bytes, "memory"},
      Limit{RLIMIT_CORE, 0, "core dumps"},
      Limit{RLIMIT_FSIZE, 0, "files"},
      Limit{RLIMIT_NOFILE, kDescriptors, "descriptors"},
      Limit{RLIMIT_NPROC, 0, "processes"},
      Limit{RLIMIT_MEMLOCK, 0, "locked memory"},
      Limit{RLIMIT_MSGQUEUE, 0, "message queues"},
  };
  for (const Limit& limit : limits) {
    const rlimit both{limit.value, limit.value};
    if (::setrlimit(limit.resource, &both) != 0) return fail_errno(errno, fmt::format("limit {}", limit.what));
  }
  return {};
}

// -- files: Landlock -------------------------------------------------------------------------------------------

// As newer kernels' linux/landlock.h have it; a kernel takes as much as its version knows.
struct RulesetAttributes {
  uint64_t handled_access_fs;
  uint64_t handled_access_net;  // from version 4
  uint64_t scoped;              // from version 6
};
constexpr uint64_t kAccessTruncate = 1 << 14;  // from version 3
constexpr uint64_t kAccessIoctl = 1 << 15;     // from version 5
constexpr uint64_t kNetworkAll = 3;            // TCP: bind, connect
constexpr uint64_t kScopedAll = 3;             // abstract sockets, signals

size_t attributes_bytes(int version) {
  if (version < 4) return offsetof(RulesetAttributes, handled_access_net);
  return version < 6 ? offsetof(RulesetAttributes, scoped) : sizeof(RulesetAttributes);
}

RulesetAttributes everything(int version) {
  uint64_t files = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
  if (version >= 2) files |= LANDLOCK_ACCESS_FS_REFER;
  if (version >= 3) files |= kAccessTruncate;
  if (version >= 5) files |= kAccessIoctl;
  return {.handled_access_fs = files, .handled_access_net = kNetworkAll, .scoped = kScopedAll};
}

Result<void> allow_reading(const Fd& ruleset, const std::filesystem::path& path) {
  const Fd opened(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!opened.valid()) return {};  // what is not there cannot be read either
  const bool folder = std::filesystem::is_directory(path);
  landlock_path_beneath_attr rule{};
  rule.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE | (folder ? LANDLOCK_ACCESS_FS_READ_DIR : 0);
  rule.parent_fd = opened.get();
  if (::syscall(SYS_landlock_add_rule, ruleset.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
    return fail_errno(errno, fmt::format("allow to read {}", path.native()));
  return {};
}

Result<int> limit_files(const std::filesystem::path& module) {
  const auto version =
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION));
  if (version < 0) return 0;  // not in this kernel, switched off, or kept from us by a container's filter
  const RulesetAttributes attributes = everything(version);
  const Fd ruleset(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, attributes_bytes(version), 0)));
  if (!ruleset.valid()) return fail_errno(errno, "make a Landlock ruleset");
  for (const char* const path : {"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"})
    HW_OK(allow_reading(ruleset, path));
  if (!module.empty()) HW_OK(allow_reading(ruleset, module));
  if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0)
    return fail_errno(errno, "enter the Landlock ruleset");
  return version;
}

// -- system calls: seccomp -------------------------------------------------------------------------------------

struct Calls {
  const char* why;
  std::string_view names;  // with blanks between
};

// What the host's side, the C library and any module that computes make use of.
constexpr std::array kServing{
    Calls{"its own descriptors", "read write writev close poll ppoll recvmsg sendmsg"},
    Calls{"the RAM's file: its size and holes; RAM that is read and not mapped", "fstat newfstatat lseek pread64"},
    Calls{"memory; mmap and mprotect see enter_serving()", "munmap mremap madvise brk"},
    Calls{"the C library's own", "futex getrandom rseq set_robust_list restart_syscall sched_getaffinity"},
    Calls{"clocks", "clock_gettime clock_getres gettimeofday time clock_nanosleep nanosleep sched_yield"},
    Calls{"to abort, and handlers of its own", "rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack"},
    Calls{"who and where it is", "getpid getppid gettid getuid geteuid getgid getegid getcpu sysinfo uname"},
    Calls{"its end", "exit exit_group"},
#if defined(__SANITIZE_ADDRESS__)
    Calls{"UndefinedBehaviorSanitizer asks through a pipe what memory is there", "pipe2"},
#endif
};
constexpr std::array kLoading{
    Calls{"the loader's", "stat lstat statx access faccessat faccessat2 readlink readlinkat getcwd"},
    Calls{"libraries become code", "mmap mprotect"},
    Calls{"to enter the next stage", "seccomp"},
};

class Filter {
 public:
  Filter() : context_(::seccomp_init(SCMP_ACT_KILL_PROCESS), ::seccomp_release) {
    ok_ =
        context_ != nullptr && ::seccomp_attr_set(context_.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) == 0;
  }

  void allow(std::span<const Calls> groups) {
    for (const Calls& calls : groups)
      for (const auto name : std::views::split(calls.names, ' '))
        rule(SCMP_ACT_ALLOW, std::string(name.begin(), name.end()), {});
  }
  void allow(const char* name, std::initializer_list<scmp_arg_cmp> when) { rule(SCMP_ACT_ALLOW, name, when); }
  void refuse(const char* name, int error_number) {
    rule(SCMP_ACT_ERRNO(static_cast<uint32_t>(error_number)), name, {});
  }

  [[nodiscard]] Result<void> enter() const {
    if (!ok_) return fail(Code::kSystem, "make a filter of system calls");
    if (const int error = ::seccomp_load(context_.get()); error != 0)
      return fail_errno(-error, "enter a filter of system calls");
    return {};
  }

 private:
  void rule(uint32_t action, const std::string& name, std::initializer_list<scmp_arg_cmp> when) {
    const int number = ::seccomp_syscall_resolve_name(name.c_str());
    if (number == __NR_SCMP_ERROR) {
      ok_ = false;
      return;
    }
    if (number < 0) return;  // another architecture's
    ok_ = ok_ && ::seccomp_rule_add_array(context_.get(), action, number, static_cast<unsigned>(when.size()),
                                          std::data(when)) == 0;
  }

  std::unique_ptr<void, decltype(&::seccomp_release)> context_;
  bool ok_ = false;
};

scmp_arg_cmp is(unsigned argument, uint64_t value) {
  return {.arg = argument, .op = SCMP_CMP_EQ, .datum_a = value, .datum_b = 0};
}
scmp_arg_cmp has_none_of(unsigned argument, uint64_t bits) {
  return {.arg = argument, .op = SCMP_CMP_MASKED_EQ, .datum_a = bits, .datum_b = 0};
}

Filter common_filter() {
  Filter filter;
  filter.allow(kServing);
  filter.allow("tgkill", {is(0, static_cast<uint64_t>(::getpid()))});  // abort() raises its signal so
  filter.allow("prlimit64", {is(0, 0), is(2, 0)});                     // only to ask
  filter.refuse("ioctl", ENOTTY);                                      // streams ask whether they are terminals
  return filter;
}

}  // namespace

Result<int> enter_loading(const SandboxLimits& limits, int last_fd) {
  HW_OK(give_up_privileges());
  be_the_first_to_go();
  if (::close_range(static_cast<unsigned>(last_fd) + 1, ~0U, 0) != 0)
    return fail_errno(errno, "close inherited descriptors");
  HW_OK(limit_resources(limits.memory_bytes));
  HW_TRY(const int landlock, limit_files(limits.module));

  Filter filter = common_filter();
  filter.allow(kLoading);
  for (const auto& [name, flags] : {std::pair("open", 1U), std::pair("openat", 2U)})
    filter.allow(name, {has_none_of(flags, O_ACCMODE | O_CREAT | O_TRUNC)});
  for (const uint64_t option : {PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_GET_SECCOMP})
    filter.allow("prctl", {is(0, option)});  // libseccomp's, to enter the next stage
  HW_OK(filter.enter());
  return landlock;
}

Result<void> enter_serving() {
  Filter filter = common_filter();
  for (const char* const name : {"mmap", "mprotect"}) filter.allow(name, {has_none_of(2, PROT_EXEC)});
  return filter.enter();
}

}  // namespace hyperward::filter
