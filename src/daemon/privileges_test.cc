// Privileges that are given up do not come back: each test does it in a child.
#include "daemon/privileges.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/test_directory.h"

namespace hyperward::daemon {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsSupersetOf;
using Lines = std::set<std::string>;

// What a child says after it did that.
std::string told_by_child(const std::function<std::string()>& act) {
  std::array<int, 2> ends{};
  HW_CHECK(::pipe(ends.data()) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string told = act();
    ::_exit(::write(ends[1], told.data(), told.size()) == static_cast<ssize_t>(told.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string told;
  std::array<char, 4096> part{};
  for (ssize_t size = 0; (size = ::read(ends[0], part.data(), part.size())) > 0;)
    told.append(part.data(), static_cast<size_t>(size));
  ::close(ends[0]);
  int status = 0;
  HW_CHECK(::waitpid(child, &status, 0) == child);
  return status == 0 ? told : fmt::format("the child ended with {}", status);
}

Lines lines_of(const std::string& text) {
  Lines lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.insert(line);
  return lines;
}

// The lines of /proc/self/status after that.
Lines status_after(const std::function<Result<void>()>& enter) {
  return lines_of(told_by_child([&] {
    if (const auto entered = enter(); !entered) return entered.error().message;
    std::ostringstream text;
    text << std::ifstream("/proc/self/status").rdbuf() << "Dumpable:\t" << ::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) << '\n';
    return text.str();
  }));
}

std::string mask(const char* set, Stage stage) {
  uint64_t bits = 0;
  for (const Privilege& privilege : privileges())
    if (privilege.last >= stage) bits |= 1ULL << privilege.capability;
  return fmt::format("{}:\t{:016x}", set, bits);
}

class Privileges : public testing::Test {
 protected:
  void SetUp() override {
    for (const Privilege& privilege : privileges())
      if (::geteuid() != 0 || ::prctl(PR_CAPBSET_READ, privilege.capability, 0, 0, 0) != 1)
        GTEST_SKIP() << "NOT TESTED: giving up privileges. This needs root with " << privilege.name;
  }
};

TEST_F(Privileges, are_at_the_start_those_that_the_start_needs) {
  const Lines status = status_after(enter_start);
  EXPECT_THAT(status,
              IsSupersetOf({mask("CapPrm", Stage::kStart), mask("CapEff", Stage::kStart), mask("CapBnd", Stage::kStart),
                            std::string("CapInh:\t0000000000000000"), std::string("CapAmb:\t0000000000000000"),
                            std::string("NoNewPrivs:\t1"), std::string("Dumpable:\t0")}));
}

TEST_F(Privileges, are_fewer_when_it_runs) {
  const Lines status = status_after([]() -> Result<void> {
    HW_OK(enter_start());
    return enter_running({});
  });
  EXPECT_THAT(status, IsSupersetOf({mask("CapPrm", Stage::kRunning), mask("CapEff", Stage::kRunning),
                                    mask("CapBnd", Stage::kRunning), std::string("CapAmb:\t0000000000000000")}));
}

TEST_F(Privileges, do_not_come_back) {
  const Lines status = status_after([]() -> Result<void> {
    HW_OK(enter_start());
    HW_OK(enter_running({}));
    return enter_start();
  });
  EXPECT_THAT(status, Contains(mask("CapPrm", Stage::kRunning)));
}

TEST_F(Privileges, are_enough_to_give_a_file_to_a_group_of_the_configuration) {
  const TestDirectory directory;
  const std::string file = directory.path() / "socket";
  std::ofstream(file) << "";
  const group* const daemons = ::getgrnam("daemon");
  ASSERT_NE(daemons, nullptr);
  const gid_t gid = daemons->gr_gid;
  const auto chown_after = [&](std::vector<std::string> groups) {
    return told_by_child([&, groups]() -> std::string {
      if (!enter_start() || !enter_running(groups)) return "no privileges were given up";
      return ::chown(file.c_str(), static_cast<uid_t>(-1), gid) == 0 ? "given" : "refused";
    });
  };
  EXPECT_EQ(chown_after({}), "refused");
  EXPECT_EQ(chown_after({"daemon"}), "given");
}

TEST_F(Privileges, name_a_group_that_is_not_there) {
  const auto told = told_by_child([] {
    const std::string group = "no-such-group";
    const auto entered = enter_running({&group, 1});
    return entered ? "entered" : entered.error().message;
  });
  EXPECT_EQ(told, "there is no group 'no-such-group'");
}

TEST_F(Privileges, that_are_missing_are_named) {
  const auto told = told_by_child([] {
    if (::setresuid(65534, 65534, 65534) != 0) return std::string("cannot be nobody");
    const auto entered = enter_start();
    return entered ? "entered" : entered.error().message;
  });
  EXPECT_THAT(told, HasSubstr("without cap_bpf, cap_net_admin, cap_sys_ptrace nothing can be guarded"));
}

TEST(Unit, has_exactly_these_privileges) {
  std::string line = "CapabilityBoundingSet=";
  for (const Privilege& privilege : privileges()) {
    if (!line.ends_with('=')) line += ' ';
    for (const char* c = privilege.name; *c != '\0'; ++c) line += static_cast<char>(std::toupper(*c));
  }
  std::ostringstream unit;
  unit << std::ifstream(UNIT_FILE).rdbuf();
  EXPECT_THAT(lines_of(unit.str()), Contains(line));
}

}  // namespace
}  // namespace hyperward::daemon
