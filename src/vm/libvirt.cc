#include "vm/libvirt.h"

#include <libvirt/libvirt-qemu.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <strings.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <span>
#include <thread>

namespace hyperward::vm {
namespace {

struct CloseConnection {
  void operator()(virConnectPtr connection) const { ::virConnectClose(connection); }
};
struct FreeDomain {
  void operator()(virDomainPtr domain) const { ::virDomainFree(domain); }
};
struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
using Connection = std::unique_ptr<virConnect, CloseConnection>;
using DomainHandle = std::unique_ptr<virDomain, FreeDomain>;

enum class Rights : uint8_t { kRead, kWrite };

constexpr int kMaxLeftBehind = 4;  // threads; then nothing is asked until one of them has its answer

Code code_of(const virError& error) {
  switch (error.code) {
    // Its socket is not there, or nobody listens on it.
    case VIR_ERR_SYSTEM_ERROR:
      return error.int1 == ENOENT || error.int1 == ECONNREFUSED ? Code::kNotFound : Code::kSystem;
    case VIR_ERR_NO_DOMAIN:
    case VIR_ERR_NO_CONNECT: return Code::kNotFound;
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_AUTH_CANCELLED:
    case VIR_ERR_ACCESS_DENIED:
    case VIR_ERR_OPERATION_DENIED: return Code::kPermission;
    case VIR_ERR_NO_SUPPORT: return Code::kUnsupported;
    case VIR_ERR_INVALID_ARG: return Code::kInvalid;
    default: return Code::kSystem;
  }
}

// What the last call of this thread failed with.
std::unexpected<Error> fail_libvirt(std::string_view what) {
  const virErrorPtr error = ::virGetLastError();
  const char* words = error == nullptr || error->message == nullptr ? "no reason given" : error->message;
  return fail(error == nullptr ? Code::kSystem : code_of(*error), "{}: {}", what, words);
}

Result<Connection> connect(const std::string& uri, Rights rights) {
  static std::once_flag once;
  // Errors are told by us, once; libvirt would print them to standard error too.
  std::call_once(once, [] { ::virSetErrorFunc(nullptr, [](void*, virErrorPtr) {}); });
  const char* from_environment = std::getenv("LIBVIRT_DEFAULT_URI");
  const std::string chosen = !uri.empty()                  ? uri
                             : from_environment == nullptr ? std::string("qemu:///system")
                                                           : std::string(from_environment);
  Connection connection(rights == Rights::kRead ? ::virConnectOpenReadOnly(chosen.c_str())
                                                : ::virConnectOpen(chosen.c_str()));
  if (!connection) return fail_libvirt(fmt::format("connect to libvirt at {}", chosen));
  return connection;
}

// libvirt's calls know no timeout; its keepalive begins only with a connection, and wants an event loop of its own. So
// a question is asked on a thread that is left behind, as it stands, when the answer takes too long.
template <typename T>
Result<T> within_patience(std::function<Result<T>()> question) {
  static std::atomic<int> left_behind = 0;
  if (left_behind >= kMaxLeftBehind) return fail(Code::kLimit, "libvirt owes {} answers already", kMaxLeftBehind);
  auto asked = std::make_shared<std::packaged_task<Result<T>()>>(std::move(question));
  std::future<Result<T>> answer = asked->get_future();
  auto is_over = std::make_shared<std::atomic<bool>>(false);  // set by the first of the answer and the end of patience
  std::thread thread([asked, is_over] {
    (*asked)();
    if (is_over->exchange(true)) --left_behind;
  });
  if (answer.wait_for(kLibvirtPatience) != std::future_status::ready && !is_over->exchange(true)) {
    ++left_behind;
    thread.detach();
    return fail(Code::kLimit, "libvirt has not answered within {} s", kLibvirtPatience.count());
  }
  thread.join();  // what the libraries keep for a thread goes with it
  return answer.get();
}

bool same_uuid(const std::string& a, const std::string& b) {
  return !a.empty() && ::strcasecmp(a.c_str(), b.c_str()) == 0;
}

using NamesAndUuids = std::vector<std::pair<std::string, std::string>>;

Result<NamesAndUuids> list_domains(const std::string& uri) {
  HW_TRY(const Connection connection, connect(uri, Rights::kRead));
  virDomainPtr* list = nullptr;
  const int count = ::virConnectListAllDomains(connection.get(), &list, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
  if (count < 0) return fail_libvirt("list libvirt's domains");
  const std::unique_ptr<virDomainPtr, Free> list_owner(list);

  NamesAndUuids domains;
  for (const virDomainPtr listed : std::span(list, static_cast<size_t>(count))) {
    const DomainHandle domain(listed);
    std::array<char, VIR_UUID_STRING_BUFLEN> uuid{};
    const char* name = ::virDomainGetName(domain.get());
    if (name == nullptr || ::virDomainGetUUIDString(domain.get(), uuid.data()) != 0) continue;
    domains.emplace_back(name, uuid.data());
  }
  return domains;
}

Result<std::string> ask_for_memory_tree(const Qemu& qemu, const std::string& uri) {
  HW_TRY(const Connection connection, connect(uri, Rights::kWrite));
  const DomainHandle domain(::virDomainLookupByUUIDString(connection.get(), qemu.uuid.c_str()));
  if (!domain) return fail_libvirt(fmt::format("find the domain of QEMU process {}", qemu.pid));
  // Any process may carry any UUID: a tree of another guest's memory would be worse than none.
  const char* name = ::virDomainGetName(domain.get());
  if (name == nullptr || qemu.name != name)
    return fail(Code::kNotFound, "QEMU process {} is not libvirt's domain {}", qemu.pid, qemu.uuid);
  char* answer = nullptr;
  if (::virDomainQemuMonitorCommand(domain.get(), "info mtree -f", &answer, VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP) != 0)
    return fail_libvirt(fmt::format("ask the monitor of domain {}", qemu.name));
  const std::unique_ptr<char, Free> answer_owner(answer);
  return std::string(answer);
}

}  // namespace

Result<std::vector<Domain>> running_domains(const std::string& uri) {
  HW_TRY(const NamesAndUuids domains, within_patience<NamesAndUuids>([uri] { return list_domains(uri); }));
  return join_domains(domains, all_qemus());
}

Result<std::string> domain_memory_tree(const Qemu& qemu, const std::string& uri) {
  return within_patience<std::string>([qemu, uri] { return ask_for_memory_tree(qemu, uri); });
}

std::vector<Domain> join_domains(const std::vector<std::pair<std::string, std::string>>& domains,
                                 std::vector<Qemu> qemus) {
  std::vector<Domain> joined;
  for (Qemu& qemu : qemus) {
    const auto found = std::find_if(domains.begin(), domains.end(), [&](const auto& domain) {
      return same_uuid(qemu.uuid, domain.second) && qemu.name == domain.first;
    });
    if (found != domains.end())
      joined.push_back({.name = found->first, .uuid = found->second, .qemu = std::move(qemu)});
  }
  return joined;
}

}  // namespace hyperward::vm
