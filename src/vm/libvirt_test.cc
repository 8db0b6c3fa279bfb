#include "vm/libvirt.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <iterator>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/fd.h"

namespace hyperward::vm {
namespace {

constexpr const char* kUuid = "6695eb01-f6a4-8304-79aa-97f2502e193f";

Qemu qemu(pid_t pid, std::string name, std::string uuid) {
  return {.pid = pid, .name = std::move(name), .qmp_sockets = {}, .uuid = std::move(uuid), .taps = {"vnet0"}};
}

TEST(JoinDomains, finds_the_process_by_uuid_and_name) {
  const auto joined = join_domains({{"web", kUuid}}, {qemu(7, "web", ""), qemu(8, "web", kUuid)});
  ASSERT_EQ(joined.size(), 1U);
  EXPECT_EQ(joined[0].name, "web");
  EXPECT_EQ(joined[0].uuid, kUuid);
  EXPECT_EQ(joined[0].qemu.pid, 8);
  EXPECT_THAT(joined[0].qemu.taps, testing::ElementsAre("vnet0"));
}

TEST(JoinDomains, takes_a_uuid_in_either_case) {
  EXPECT_EQ(join_domains({{"web", kUuid}}, {qemu(8, "web", "6695EB01-F6A4-8304-79AA-97F2502E193F")}).size(), 1U);
}

TEST(JoinDomains, leaves_out_a_domain_without_a_process_and_a_process_without_a_domain) {
  EXPECT_TRUE(join_domains({{"web", kUuid}}, {}).empty());
  EXPECT_TRUE(join_domains({{"web", kUuid}}, {qemu(8, "mail", kUuid)}).empty());
  EXPECT_TRUE(join_domains({}, {qemu(8, "web", kUuid)}).empty());
}

// libvirt's own test driver lives in its client library: it has one running domain, "test", and no process.
constexpr const char* kTestUri = "test:///default";

TEST(Libvirt, lists_no_domain_that_has_no_qemu_here) {
  const auto domains = running_domains(kTestUri);
  ASSERT_TRUE(domains) << domains.error().message;
  EXPECT_TRUE(domains->empty());
}

TEST(Libvirt, asks_no_monitor_of_a_domain_that_has_another_name) {
  const auto tree = domain_memory_tree(qemu(8, "web", kUuid), kTestUri);
  ASSERT_FALSE(tree);
  EXPECT_EQ(tree.error().code, Code::kNotFound);
}

TEST(Libvirt, says_when_a_driver_lends_no_monitor) {
  const auto tree = domain_memory_tree(qemu(8, "test", kUuid), kTestUri);
  ASSERT_FALSE(tree);
  EXPECT_EQ(tree.error().code, Code::kUnsupported);
}

TEST(Libvirt, names_the_uri_where_nobody_answers) {
  const auto domains = running_domains("qemu:///system?socket=/nowhere/libvirt-sock");
  ASSERT_FALSE(domains);
  EXPECT_EQ(domains.error().code, Code::kNotFound);
  EXPECT_THAT(domains.error().message, testing::StartsWith("connect to libvirt at qemu:///system?socket=/nowhere"));
}

size_t threads_now() {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/task"), {}));
}

// A daemon that hangs takes connections, the kernel sees to that, and says nothing.
TEST(Libvirt, is_waited_for_no_longer_than_patience_has_it) {
  const std::string path = testing::TempDir() + fmt::format("libvirt-{}", ::getpid());
  const size_t threads_before = threads_now();
  Fd mute(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  ASSERT_LT(path.size(), sizeof(address.sun_path));
  path.copy(address.sun_path, path.size());
  ASSERT_EQ(::bind(mute.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(::listen(mute.get(), 1), 0);

  const auto began = std::chrono::steady_clock::now();
  const auto domains = running_domains("qemu:///system?socket=" + path);
  EXPECT_LT(std::chrono::steady_clock::now() - began, 2 * kLibvirtPatience);
  ASSERT_FALSE(domains);
  EXPECT_EQ(domains.error().message, "libvirt has not answered within 5 s");
  ::unlink(path.c_str());

  // The thread that was left behind gets its answer, and must not meet the end of this program on its way.
  mute = Fd();
  const auto deadline = std::chrono::steady_clock::now() + 2 * kLibvirtPatience;
  while (threads_now() > threads_before && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(threads_now(), threads_before);
}

TEST(MemoryTree, is_nothing_when_neither_a_monitor_nor_libvirt_tells) {
  EXPECT_FALSE(memory_tree(qemu(8, "web", kUuid), kTestUri));
}

}  // namespace
}  // namespace hyperward::vm
