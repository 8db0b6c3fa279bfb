#include "datapath/interface.h"

#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>

namespace hyperward::datapath {
namespace {

// Ours among all filters on the hooks. The lowest priority number comes first: nothing decides before us.
constexpr uint32_t kFilterHandle = 0x6877;  // "hw"
constexpr uint32_t kFilterPriority = 1;

constexpr unsigned kOffloadsOld = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
constexpr unsigned kOffloadUso = 0x20 | 0x40;  // TUN_F_USO4, TUN_F_USO6: Linux 6.2

Result<Fd> any_socket() {
  Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fail_errno(errno, "open a socket");
  return fd;
}

ifreq request_for(const std::string& name) {
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  return request;
}

Result<void> control(int fd, unsigned long what, void* argument, std::string_view doing) {
  if (::ioctl(fd, what, argument) == 0) return {};
  return fail_errno(errno, doing);
}

// Sends a dump request and hands out each message of the answer.
Result<void> dump(uint16_t type, const tcmsg& about, const std::function<void(const nlmsghdr&)>& visit) {
  const Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd.valid()) return fail_errno(errno, "open a netlink socket");
  struct {
    nlmsghdr header;
    tcmsg message;
  } request{};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = type;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.message = about;
  if (::send(fd.get(), &request, sizeof(request), 0) < 0) return fail_errno(errno, "ask for traffic control");

  alignas(nlmsghdr) std::array<char, 32768> buffer{};
  for (;;) {
    const ssize_t size = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return fail_errno(errno, "read about traffic control");
    auto left = static_cast<unsigned>(size);
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type == NLMSG_DONE) return {};
      if (header->nlmsg_type == NLMSG_ERROR)
        return fail_errno(-static_cast<nlmsgerr*>(NLMSG_DATA(header))->error, "ask for traffic control");
      visit(*header);
    }
  }
}

std::string kind_of(const nlmsghdr& header) {
  auto* message = static_cast<tcmsg*>(NLMSG_DATA(const_cast<nlmsghdr*>(&header)));
  auto left = static_cast<unsigned>(NLMSG_PAYLOAD(&header, sizeof(tcmsg)));
  for (auto* attribute = TCA_RTA(message); RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left))
    if (attribute->rta_type == TCA_KIND) return static_cast<const char*>(RTA_DATA(attribute));
  return {};
}

// "clsact", "ingress", or nothing.
Result<std::string> ingress_qdisc(unsigned ifindex) {
  std::string kind;
  tcmsg about{};
  about.tcm_ifindex = static_cast<int>(ifindex);
  HW_OK(dump(RTM_GETQDISC, about, [&](const nlmsghdr& header) {
    const auto* message = static_cast<tcmsg*>(NLMSG_DATA(const_cast<nlmsghdr*>(&header)));
    if (message->tcm_ifindex == static_cast<int>(ifindex) && message->tcm_parent == TC_H_INGRESS)
      kind = kind_of(header);
  }));
  return kind;
}

Result<unsigned> count_filters(unsigned ifindex, uint32_t parent) {
  unsigned filters = 0;
  tcmsg about{};
  about.tcm_ifindex = static_cast<int>(ifindex);
  about.tcm_parent = parent;
  HW_OK(dump(RTM_GETTFILTER, about, [&](const nlmsghdr&) { ++filters; }));
  return filters;
}

bpf_tc_hook hook_of(unsigned ifindex, bpf_tc_attach_point point) {
  bpf_tc_hook hook{};
  hook.sz = sizeof(hook);
  hook.ifindex = static_cast<int>(ifindex);
  hook.attach_point = point;
  return hook;
}

bpf_tc_attach_point point_of(Hook hook) {
  return hook == Hook::kIngress ? BPF_TC_INGRESS : BPF_TC_EGRESS;
}

bpf_tc_opts our_filter() {
  bpf_tc_opts options{};
  options.sz = sizeof(options);
  options.handle = kFilterHandle;
  options.priority = kFilterPriority;
  return options;
}

void disable_ipv6(const std::string& name) {
  const std::string path = "/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6";
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  // Without it, hold_gate drops what IPv6 would send there: this only saves the noise.
  if (fd.valid() && ::write(fd.get(), "1", 1) != 1) return;
}

}  // namespace

Result<unsigned> ifindex_of_tap(const std::string& name) {
  if (name.empty() || name.size() >= IFNAMSIZ) return fail(Code::kInvalid, "'{}' is no name of an interface", name);
  const unsigned ifindex = ::if_nametoindex(name.c_str());
  if (ifindex == 0) return fail(Code::kNotFound, "no interface '{}' in this network namespace", name);

  HW_TRY(const Fd socket, any_socket());
  ethtool_drvinfo driver{};
  driver.cmd = ETHTOOL_GDRVINFO;
  ifreq request = request_for(name);
  request.ifr_data = reinterpret_cast<char*>(&driver);
  const bool known = ::ioctl(socket.get(), SIOCETHTOOL, &request) == 0;
  const std::string_view name_of_driver = known ? driver.driver : "unknown";
  const bool is_tap = name_of_driver == "tun" && std::string_view(driver.bus_info) == "tap";
  if (!is_tap && name_of_driver != "veth")
    return fail(Code::kInvalid, "'{}' is no tap (its driver is '{}')", name, name_of_driver);
  return ifindex;
}

Result<uint64_t> netns_cookie() {
  HW_TRY(const Fd socket, any_socket());
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0)
    return fail_errno(errno, "ask for the network namespace's cookie");
  return cookie;
}

Result<HoldTap> make_hold_tap(unsigned frames) {
  Fd fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid()) return fail_errno(errno, "open /dev/net/tun");
  ifreq request = request_for("hwhold%d");
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  HW_OK(control(fd.get(), TUNSETIFF, &request, "make a tap to hold frames in"));
  const std::string name = request.ifr_name;
  if (::ioctl(fd.get(), TUNSETOFFLOAD, kOffloadsOld | kOffloadUso) != 0 &&
      ::ioctl(fd.get(), TUNSETOFFLOAD, kOffloadsOld) != 0)
    return fail_errno(errno, "allow segmentation offload on " + name);

  HW_TRY(const Fd socket, any_socket());
  request = request_for(name);
  request.ifr_qlen = static_cast<int>(frames);
  HW_OK(control(socket.get(), SIOCSIFTXQLEN, &request, "set the queue length of " + name));
  disable_ipv6(name);
  return HoldTap{std::move(fd), name, ::if_nametoindex(name.c_str())};
}

Result<void> bring_up(const std::string& name) {
  HW_TRY(const Fd socket, any_socket());
  ifreq request = request_for(name);
  HW_OK(control(socket.get(), SIOCGIFFLAGS, &request, "read the flags of " + name));
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP | IFF_NOARP);
  return control(socket.get(), SIOCSIFFLAGS, &request, "bring up " + name);
}

Result<uint64_t> frames_lost(const std::string& name) {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return fail_errno(errno, "list interfaces");
  uint64_t lost = 0;
  for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next)
    if (one->ifa_addr != nullptr && one->ifa_addr->sa_family == AF_PACKET && name == one->ifa_name &&
        one->ifa_data != nullptr)
      lost = static_cast<const rtnl_link_stats*>(one->ifa_data)->tx_dropped;
  ::freeifaddrs(all);
  return lost;
}

Result<bool> ensure_clsact(unsigned ifindex) {
  HW_TRY(const std::string present, ingress_qdisc(ifindex));
  if (present == "clsact") return false;
  if (!present.empty())
    return fail(Code::kUnsupported,
                "an '{}' qdisc is in the way of clsact; libvirt makes one for an interface's <bandwidth>", present);
  bpf_tc_hook hook =
      hook_of(ifindex, static_cast<bpf_tc_attach_point>(unsigned{BPF_TC_INGRESS} | unsigned{BPF_TC_EGRESS}));
  const int error = ::bpf_tc_hook_create(&hook);
  if (error != 0) return fail_errno(-error, "add a clsact qdisc");
  return true;
}

Result<void> attach_filter(unsigned ifindex, Hook where, int program_fd) {
  bpf_tc_hook hook = hook_of(ifindex, point_of(where));
  bpf_tc_opts filter = our_filter();
  filter.prog_fd = program_fd;
  filter.flags = BPF_TC_F_REPLACE;
  const int error = ::bpf_tc_attach(&hook, &filter);
  if (error != 0)
    return fail_errno(-error, fmt::format("attach filter {:#x} of priority {}", kFilterHandle, kFilterPriority));
  return {};
}

Result<void> detach_filter(unsigned ifindex, Hook where) {
  bpf_tc_hook hook = hook_of(ifindex, point_of(where));
  const bpf_tc_opts filter = our_filter();
  const int error = ::bpf_tc_detach(&hook, &filter);
  if (error != 0 && error != -ENOENT)
    return fail_errno(-error, fmt::format("detach filter {:#x} of priority {}", kFilterHandle, kFilterPriority));
  return {};
}

Result<void> remove_unused_clsact(unsigned ifindex) {
  for (const uint32_t minor : {TC_H_MIN_INGRESS, TC_H_MIN_EGRESS}) {
    HW_TRY(const unsigned filters, count_filters(ifindex, TC_H_MAKE(TC_H_CLSACT, minor)));
    if (filters > 0) return {};
  }
  bpf_tc_hook hook =
      hook_of(ifindex, static_cast<bpf_tc_attach_point>(unsigned{BPF_TC_INGRESS} | unsigned{BPF_TC_EGRESS}));
  const int error = ::bpf_tc_hook_destroy(&hook);
  if (error != 0) return fail_errno(-error, "remove the clsact qdisc");
  return {};
}

}  // namespace hyperward::datapath
