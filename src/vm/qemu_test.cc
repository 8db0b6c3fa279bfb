#include "vm/qemu.h"

#include <gtest/gtest.h>
#include <unistd.h>

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
