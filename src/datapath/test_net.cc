#include "datapath/test_net.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "packet/packet.h"

namespace hyperward::datapath::test {
namespace {

constexpr int kArrivesWithin_ms = 2000, kStaysAwayFor_ms = 60;
constexpr const char* kBpffs = "/sys/fs/bpf";
constexpr unsigned kOffloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

Result<void> write_file(const char* path, std::string_view text) {
  const Fd fd(::open(path, O_WRONLY | O_CLOEXEC));
  if (!fd.valid() || ::write(fd.get(), text.data(), text.size()) < 0) return fail_errno(errno, path);
  return {};
}

// Namespaces of the process's own, with little chatter and a fresh bpffs.
Result<void> leave_the_machine() {
  static bool left = false;
  if (left) return {};
  if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) return fail_errno(errno, "leave the machine's namespaces");
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return fail_errno(errno, "keep mounts private");
  if (::mount("bpf", kBpffs, "bpf", 0, nullptr) != 0) return fail_errno(errno, "mount a bpffs");
  HW_OK(write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"));
  HW_OK(write_file("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1"));
  left = true;
  return {};
}

Result<void> control(unsigned long what, ifreq& request) {
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid() || ::ioctl(socket.get(), what, &request) != 0) return fail_errno(errno, request.ifr_name);
  return {};
}

Result<void> set_up(const std::string& name) {
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_UP | IFF_PROMISC;
  return control(SIOCSIFFLAGS, request);
}

Result<void> put_into_bridge(const char* bridge, const std::string& name) {
  ifreq request{};
  std::strncpy(request.ifr_name, bridge, IFNAMSIZ - 1);
  request.ifr_ifindex = static_cast<int>(::if_nametoindex(name.c_str()));
  return control(SIOCBRADDIF, request);
}

void send(const Fd& fd, const Bytes& frame, const OffloadHeader& offload) {
  Bytes bytes(kVirtioHeaderBytes + frame.size());
  std::memcpy(bytes.data(), &offload, kVirtioHeaderBytes);
  std::memcpy(bytes.data() + kVirtioHeaderBytes, frame.data(), frame.size());
  HW_CHECK(::write(fd.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
}

// The machine's own chatter (IGMP, ...) comes from other addresses than the builder's 02:00:00:00:00:xx.
bool is_of_a_test(const Bytes& frame) {
  constexpr std::array<unsigned char, 5> kPrefix{2, 0, 0, 0, 0};
  return frame.size() >= 14 && std::memcmp(frame.data() + 6, kPrefix.data(), kPrefix.size()) == 0;
}

std::optional<Frame> receive(const Fd& fd, int timeout_ms) {
  for (;;) {
    pollfd waiting{fd.get(), POLLIN, 0};
    if (::poll(&waiting, 1, timeout_ms) != 1) return std::nullopt;
    Bytes bytes(kVirtioHeaderBytes + 70'000);
    const ssize_t size = ::read(fd.get(), bytes.data(), bytes.size());
    HW_CHECK(size >= static_cast<ssize_t>(kVirtioHeaderBytes));
    Frame frame;
    std::memcpy(&frame.offload, bytes.data(), kVirtioHeaderBytes);
    frame.bytes.assign(bytes.begin() + kVirtioHeaderBytes, bytes.begin() + size);
    if (is_of_a_test(frame.bytes)) return frame;
  }
}

}  // namespace

Result<Fd> make_tap(const std::string& name) {
  Fd fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid()) return fail_errno(errno, "open /dev/net/tun");
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) return fail_errno(errno, "make the tap " + name);
  if (::ioctl(fd.get(), TUNSETOFFLOAD, kOffloads) != 0) return fail_errno(errno, "set the offloads of " + name);
  HW_OK(set_up(name));
  return fd;
}

Result<TestNet> TestNet::make() {
  HW_OK(leave_the_machine());
  HW_TRY(Fd guest, make_tap(kTap));
  HW_TRY(Fd world, make_tap("world0"));
  const char* bridge = "bridge0";
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (::ioctl(socket.get(), SIOCBRADDBR, bridge) != 0 && errno != EEXIST) return fail_errno(errno, "make a bridge");
  HW_OK(set_up(bridge));
  HW_OK(put_into_bridge(bridge, kTap));
  HW_OK(put_into_bridge(bridge, "world0"));
  return TestNet(std::move(guest), std::move(world), std::string(kBpffs) + "/pins");
}

Options TestNet::options() const {
  Options options;
  options.tap = kTap;
  options.pin_root = pin_root_;
  return options;
}

void TestNet::guest_sends(const Bytes& frame, const OffloadHeader& offload) const {
  send(guest_, frame, offload);
}
void TestNet::world_sends(const Bytes& frame, const OffloadHeader& offload) const {
  send(world_, frame, offload);
}
std::optional<Frame> TestNet::guest_receives() const {
  return receive(guest_, kArrivesWithin_ms);
}
std::optional<Frame> TestNet::world_receives() const {
  return receive(world_, kArrivesWithin_ms);
}
bool TestNet::world_has_frame() const {
  pollfd waiting{world_.get(), POLLIN, 0};
  return ::poll(&waiting, 1, 0) == 1;
}
bool TestNet::guest_receives_nothing() const {
  return !receive(guest_, kStaysAwayFor_ms);
}
bool TestNet::world_receives_nothing() const {
  return !receive(world_, kStaysAwayFor_ms);
}

std::optional<Held> wait_for_held(Datapath& path) {
  pollfd waiting{path.hold_fd(), POLLIN, 0};
  if (::poll(&waiting, 1, kArrivesWithin_ms) != 1) return std::nullopt;
  auto held = path.next();
  HW_CHECK(held.has_value());
  return *held;
}

Fd pinned(const TestNet& net, const char* name) {
  const auto directory = pin_path(TestNet::kTap, net.pin_root());
  HW_CHECK(directory.has_value());
  Fd fd(::bpf_obj_get((*directory + "/" + name).c_str()));
  HW_CHECK(fd.valid());
  return fd;
}

hw_config config_of(const TestNet& net) {
  const Fd map = pinned(net, "config");
  const uint32_t zero = 0;
  hw_config config{};
  HW_CHECK(::bpf_map_lookup_elem(map.get(), &zero, &config) == 0);
  return config;
}

int run(const TestNet& net, const char* program, const Bytes& frame, uint32_t mark) {
  const Fd fd = pinned(net, program);
  __sk_buff context{};
  context.mark = mark;
  struct bpf_test_run_opts options{};
  options.sz = sizeof(options);
  options.data_in = frame.data();
  options.data_size_in = static_cast<uint32_t>(frame.size());
  options.ctx_in = &context;
  options.ctx_size_in = sizeof(context);
  HW_CHECK(::bpf_prog_test_run_opts(fd.get(), &options) == 0);
  return static_cast<int>(options.retval);
}

Held held(const Bytes& frame, Direction direction) {
  const auto packet = packet::parse(frame);
  HW_CHECK(packet.has_value());
  Held held;
  held.key = packet::flow_of(*packet);
  held.packet = *packet;
  held.direction = direction;
  return held;
}

}  // namespace hyperward::datapath::test
