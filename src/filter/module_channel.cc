#include "filter/module_channel.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <nlohmann/json.hpp>

#include "filter/module_info.h"
namespace hyperward::filter {
namespace {

using nlohmann::json;

constexpr size_t kMessageMaxBytes = size_t{128} * 1024;  // to the process: holds HYPERWARD_SETTINGS_MAX of settings
constexpr size_t kHelloMaxBytes = size_t{8} * 1024;
constexpr size_t kFdsMax = 3;

std::string text_at(const json& body, const char* key) {
  const auto found = body.find(key);
  return found != body.end() && found->is_string() ? found->get<std::string>() : std::string();
}

uint64_t number_at(const json& body, const char* key) {
  const auto found = body.find(key);
  return found != body.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

Code code_from(uint64_t number) {
  return number <= static_cast<uint64_t>(Code::kSystem) ? static_cast<Code>(number) : Code::kInvalid;
}

std::vector<memory::Segment> segments_from(const json& body) {
  std::vector<memory::Segment> segments;
  for (const json& one : body.value("segments", json::array()))
    segments.push_back({.start = {number_at(one, "start")},
                        .size_bytes = number_at(one, "size_bytes"),
                        .offset = number_at(one, "offset")});
  return segments;
}

}  // namespace

Result<std::pair<ModuleChannel, Fd>> ModuleChannel::make() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return fail_errno(errno, "make the channel to a module's process");
  return std::pair(ModuleChannel(Fd(ends[0])), Fd(ends[1]));
}

Result<void> ModuleChannel::send(const json& body, std::initializer_list<int> fds) const {
  std::string text = body.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > kMessageMaxBytes)
    return fail(Code::kLimit, "a message to a module's process has {} bytes, {} at most", text.size(),
                kMessageMaxBytes);
  HW_CHECK(fds.size() <= kFdsMax);
  iovec piece{text.data(), text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kFdsMax * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (fds.size() != 0) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), std::data(fds), fds.size() * sizeof(int));
  }
  if (::sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return {};
  if (errno == EAGAIN) return fail(Code::kLimit, "the other end does not take its messages");
  return fail_errno(errno, "send a message");
}

Result<json> ModuleChannel::receive(size_t max_bytes, std::vector<Fd>* fds) const {
  std::string text(max_bytes, '\0');
  iovec piece{text.data(), text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kFdsMax * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (fds != nullptr) {  // without room for them, the kernel drops descriptors that come
    message.msg_control = control.data();
    message.msg_controllen = control.size();
  }
  ssize_t length = 0;
  do {
    length = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC | (fds == nullptr ? MSG_DONTWAIT : 0));
  } while (length < 0 && errno == EINTR);
  if (length < 0 && errno == EAGAIN) return fail(Code::kNotFound, "no message has come yet");
  if (length < 0) return fail_errno(errno, "receive a message");
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); fds != nullptr && header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    std::array<int, kFdsMax> numbers{};
    const size_t count = std::min(kFdsMax, (header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    std::memcpy(numbers.data(), CMSG_DATA(header), count * sizeof(int));
    for (size_t i = 0; i < count; ++i) fds->emplace_back(numbers[i]);
  }
  if (length == 0) return fail(Code::kNotFound, "the other end is gone");
  if ((message.msg_flags & MSG_TRUNC) != 0) return fail(Code::kLimit, "a message has more than {} bytes", max_bytes);
  text.resize(static_cast<size_t>(length));
  json body = json::parse(text, nullptr, false);
  if (!body.is_object()) return fail(Code::kInvalid, "a message is no JSON object");
  return body;
}

Result<void> ModuleChannel::send(const Setup& setup) const {
  return send({{"file", setup.file.native()},
               {"settings", setup.settings},
               {"memory_bytes", setup.memory_bytes},
               {"ram_bytes", setup.ram_bytes},
               {"spin_us", static_cast<uint64_t>(setup.spin_us)}},
              {});
}

Result<Setup> ModuleChannel::receive_setup() const {
  std::vector<Fd> none;
  HW_TRY(const json body, receive(kMessageMaxBytes, &none));
  return Setup{.file = text_at(body, "file"),
               .settings = text_at(body, "settings"),
               .memory_bytes = number_at(body, "memory_bytes"),
               .ram_bytes = number_at(body, "ram_bytes"),
               .spin_us = static_cast<int64_t>(number_at(body, "spin_us"))};
}

Result<void> ModuleChannel::send(const Result<Hello>& hello) const {
  if (!hello) return send({{"code", static_cast<unsigned>(hello.error().code)}, {"error", hello.error().message}}, {});
  const ModuleInfo& info = hello->info;
  return send({{"name", info.name},
               {"version", info.version},
               {"description", info.description},
               {"needs", info.needs},
               {"frame_bytes", info.frame_bytes},
               {"landlock_abi", static_cast<unsigned>(hello->landlock_abi)}},
              {});
}

Result<Hello> ModuleChannel::receive_hello() const {
  HW_TRY(const json body, receive(kHelloMaxBytes, nullptr));
  if (body.contains("error"))
    return fail(code_from(number_at(body, "code")), "{}", guest::printable(text_at(body, "error")));
  const uint64_t frame_bytes = number_at(body, "frame_bytes"), needs = number_at(body, "needs");
  if (frame_bytes > UINT32_MAX || needs > UINT32_MAX) return fail(Code::kInvalid, "its process says nonsense of it");
  HW_TRY(ModuleInfo info, checked({.name = text_at(body, "name"),
                                   .version = text_at(body, "version"),
                                   .description = text_at(body, "description"),
                                   .needs = static_cast<uint32_t>(needs),
                                   .frame_bytes = static_cast<uint32_t>(frame_bytes)}));
  return Hello{.info = std::move(info),
               .landlock_abi = static_cast<int>(std::min<uint64_t>(number_at(body, "landlock_abi"), INT32_MAX))};
}

Result<void> ModuleChannel::send(const GuestMessage& guest) const {
  json segments = json::array();
  for (const memory::Segment& segment : guest.ram.segments)
    segments.push_back(
        {{"start", segment.start.value}, {"size_bytes", segment.size_bytes}, {"offset", segment.offset}});
  const json body{{"kind", "guest"},
                  {"boot", guest.boot},
                  {"segments", std::move(segments)},
                  {"host_address", guest.ram.host_address}};
  if (!guest.ram.ram.valid()) return send(body, {});
  if (!guest.ram.pages.valid()) return send(body, {guest.ram.ram.get()});
  return send(body, {guest.ram.ram.get(), guest.ram.pages.get()});
}

Result<void> ModuleChannel::send(const RingMessage& ring) const {
  return send({{"kind", "ring"}, {"frame_bytes", ring.frame_bytes}},
              {ring.memory.get(), ring.questions_wake.get(), ring.answers_wake.get()});
}

Result<std::variant<GuestMessage, RingMessage>> ModuleChannel::receive() const {
  std::vector<Fd> fds;
  HW_TRY(const json body, receive(kMessageMaxBytes, &fds));
  if (text_at(body, "kind") == "guest") {
    GuestMessage guest{.boot = number_at(body, "boot")};
    guest.ram.segments = segments_from(body);
    guest.ram.host_address = number_at(body, "host_address");
    if (!fds.empty()) guest.ram.ram = std::move(fds[0]);
    if (fds.size() > 1) guest.ram.pages = std::move(fds[1]);
    return guest;
  }
  if (text_at(body, "kind") != "ring" || fds.size() != 3) return fail(Code::kInvalid, "a message of no known kind");
  return RingMessage{.frame_bytes = static_cast<uint32_t>(number_at(body, "frame_bytes")),
                     .memory = std::move(fds[0]),
                     .questions_wake = std::move(fds[1]),
                     .answers_wake = std::move(fds[2])};
}

}  // namespace hyperward::filter
