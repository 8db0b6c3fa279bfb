#include "vm/qemu.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <thread>

#include "base/fd.h"

namespace hyperward::vm {
namespace {

TEST(ParseCommandLine, finds_the_name_in_both_spellings) {
  EXPECT_EQ(parse_command_line(1, {"qemu-system-x86_64", "-name", "web"}).name, "web");
  EXPECT_EQ(parse_command_line(1, {"qemu-system-x86_64", "-name", "guest=web,debug-threads=on"}).name, "web");
  EXPECT_EQ(parse_command_line(1, {"qemu-system-x86_64", "-m", "512"}).name, "");
}

TEST(ParseCommandLine, finds_qmp_sockets_by_shorthand_and_by_chardev) {
  const Qemu plain = parse_command_line(1, {"qemu", "-qmp", "unix:/run/web.qmp,server=on,wait=off"});
  EXPECT_EQ(plain.qmp_sockets, std::vector<std::string>{"/run/web.qmp"});
  const Qemu libvirt = parse_command_line(1, {"qemu", "-chardev", "socket,id=charmonitor,path=/run/m.sock,server=on",
                                              "-mon", "chardev=charmonitor,id=monitor,mode=control"});
  EXPECT_EQ(libvirt.qmp_sockets, std::vector<std::string>{"/run/m.sock"});
}

TEST(ParseCommandLine, takes_a_doubled_comma_as_one) {
  EXPECT_EQ(parse_command_line(1, {"qemu", "-name", "guest=a,,b"}).name, "a,b");
}

TEST(ParseCommandLine, leaves_out_monitors_for_people) {
  const Qemu qemu = parse_command_line(1, {"qemu", "-chardev", "socket,id=c,path=/run/hmp", "-mon", "chardev=c"});
  EXPECT_TRUE(qemu.qmp_sockets.empty());
}

TEST(ParseCommandLine, finds_the_uuid_that_libvirt_gives) {
  EXPECT_EQ(parse_command_line(1, {"qemu", "-uuid", "6695eb01-f6a4-8304-79aa-97f2502e193f"}).uuid,
            "6695eb01-f6a4-8304-79aa-97f2502e193f");
}

TEST(ParseStartTime, is_not_misled_by_the_name_of_the_process) {
  const std::string rest = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21\n";
  EXPECT_EQ(parse_start_time("7 (qemu)" + rest), 4711U);
  EXPECT_EQ(parse_start_time("7 (a) b (c))" + rest), 4711U);
  EXPECT_EQ(parse_start_time("7 (qemu) S 1 2"), std::nullopt);
  EXPECT_EQ(parse_start_time(""), std::nullopt);
}

TEST(ParseTap, finds_the_interface_that_is_attached) {
  EXPECT_EQ(parse_tap("pos:\t0\nflags:\t0104002\niff:\tvnet3\n"), "vnet3");
  EXPECT_EQ(parse_tap("pos:\t0\niff:\t\n"), std::nullopt);
  EXPECT_EQ(parse_tap("pos:\t0\n"), std::nullopt);
  EXPECT_EQ(parse_tap(""), std::nullopt);
}

// One queue of a tap, in the network namespace of the calling thread; not valid when we are not permitted to make one.
Fd open_tap(const char* name) {
  Fd tun(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  ifreq request{};
  std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE;
  if (!tun.valid() || ::ioctl(tun.get(), TUNSETIFF, &request) != 0) return {};
  return tun;
}

TEST(TapsOf, lists_each_tap_once_that_a_process_holds_whatever_its_namespace) {
  std::array<Fd, 4> queues;
  std::jthread([&] {  // a namespace of its own: no tap of this test is ever seen on the host
    if (::unshare(CLONE_NEWNET) != 0) return;
    queues = {open_tap("hwb"), open_tap("hwa"), open_tap("hwb"), Fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC))};
  })
      .join();
  if (!queues[2].valid()) GTEST_SKIP() << "not permitted to make a tap: taps of a real process were not read";
  const auto taps = taps_of(::getpid());
  ASSERT_TRUE(taps) << taps.error().message;
  EXPECT_THAT(*taps, testing::ElementsAre("hwa", "hwb"));
}

TEST(TapsOf, tells_a_process_that_is_not_there) {
  const auto taps = taps_of(0x3fffffff);
  ASSERT_FALSE(taps);
  EXPECT_EQ(taps.error().code, Code::kNotFound);
}

TEST(QemuByPid, tells_a_missing_process_from_one_that_is_no_qemu) {
  const auto missing = qemu_by_pid(0x3fffffff);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::kNotFound);
  const auto other = qemu_by_pid(::getpid());
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Code::kInvalid);
}

}  // namespace
}  // namespace hyperward::vm
