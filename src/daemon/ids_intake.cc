#include "daemon/ids_intake.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <spdlog/spdlog.h>

#include "detect/ids_alert.h"

namespace hyperward::daemon {
namespace {

constexpr size_t kChunkBytes = 64UL << 10;
constexpr mode_t kMode = 0660;

Result<sockaddr_un> address_of(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.native().size() >= sizeof(address.sun_path))
    return fail(Code::kInvalid, "{} is too long for a socket's path", path.native());
  std::memcpy(address.sun_path, path.c_str(), path.native().size());
  return address;
}

Result<Fd> listen_on(const IdsSource& source) {
  HW_TRY(const sockaddr_un address, address_of(source.socket));
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  const int type = (source.datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
  if (const Fd probe(::socket(AF_UNIX, type, 0)); ::connect(probe.get(), generic, sizeof(address)) == 0)
    return fail(Code::kInvalid, "somebody listens on {} already", source.socket.native());
  if (::unlink(address.sun_path) != 0 && errno != ENOENT)
    return fail_errno(errno, fmt::format("replace {}", source.socket.native()));
  Fd socket(::socket(AF_UNIX, type, 0));
  const mode_t before = ::umask(0777 & ~kMode);
  const bool bound = socket.valid() && ::bind(socket.get(), generic, sizeof(address)) == 0;
  const int error = errno;
  ::umask(before);
  if (!bound || (!source.datagram && ::listen(socket.get(), IdsIntake::kMaxSenders) != 0))
    return fail_errno(bound ? errno : error, fmt::format("listen on {}", source.socket.native()));
  return socket;
}

}  // namespace

Result<IdsIntake> IdsIntake::open(const std::vector<IdsSource>& sources) {
  IdsIntake intake;
  for (const IdsSource& config : sources) {
    Source source{.config = config, .file = {}, .socket = {}, .senders = {}, .trouble = {}};
    if (config.socket.empty()) {
      source.file.emplace_back(config.file, detect::Follower::Start::kEnd, detect::kMaxAlertLineBytes);
    } else {
      HW_TRY(source.socket, listen_on(config));
    }
    intake.sources_.push_back(std::move(source));
  }
  return intake;
}

IdsIntake& IdsIntake::operator=(IdsIntake&& other) noexcept {
  std::swap(sources_, other.sources_);
  std::swap(dropped_, other.dropped_);
  return *this;
}

IdsIntake::~IdsIntake() {
  for (const Source& source : sources_)
    if (source.socket.valid()) ::unlink(source.config.socket.c_str());
}

uint64_t IdsIntake::dropped() const {
  uint64_t dropped = dropped_;
  for (const Source& source : sources_)
    for (const detect::Follower& file : source.file) dropped += file.dropped();
  return dropped;
}

void IdsIntake::read(const Take& take) {
  for (Source& source : sources_) {
    if (!source.file.empty()) {
      read_file(source, take);
    } else if (source.config.datagram) {
      read_datagrams(source, take);
    } else {
      read_stream(source, take);
    }
  }
}

void IdsIntake::read_file(Source& source, const Take& take) {
  const auto read =
      source.file.front().read_lines([&](std::string_view line) { take(source.config.guest, line); }, kMaxLinesPerRead);
  const std::string trouble = read ? "" : read.error().message;
  if (trouble != source.trouble && !trouble.empty()) spdlog::warn("IDS alerts: {}", trouble);
  source.trouble = trouble;
}

void IdsIntake::read_datagrams(Source& source, const Take& take) {
  std::string message(detect::kMaxAlertLineBytes + 1, '\0');
  for (size_t count = 0; count < kMaxLinesPerRead; ++count) {
    const ssize_t got = ::recv(source.socket.get(), message.data(), message.size(), MSG_TRUNC);
    if (got < 0) return;
    if (static_cast<size_t>(got) > detect::kMaxAlertLineBytes) {
      ++dropped_;
      continue;
    }
    std::string_view text(message.data(), static_cast<size_t>(got));
    while (text.ends_with('\n') || text.ends_with('\0')) text.remove_suffix(1);
    if (!text.empty()) take(source.config.guest, text);
  }
}

void IdsIntake::read_stream(Source& source, const Take& take) {
  for (;;) {
    Fd sender(::accept4(source.socket.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!sender.valid()) break;
    if (source.senders.size() < kMaxSenders) source.senders.push_back({std::move(sender), {}, false});
  }
  size_t lines = 0;
  std::erase_if(source.senders, [&](Sender& sender) { return !read_sender(source, sender, lines, take); });
}

bool IdsIntake::read_sender(const Source& source, Sender& sender, size_t& lines, const Take& take) {
  std::array<char, kChunkBytes> chunk;
  while (lines < kMaxLinesPerRead) {
    const ssize_t got = ::recv(sender.fd.get(), chunk.data(), chunk.size(), 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) {
      if (!sender.pending.empty()) ++dropped_;
      return false;
    }
    std::string_view text(chunk.data(), static_cast<size_t>(got));
    for (size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
      sender.pending += text.substr(0, end);
      text.remove_prefix(end + 1);
      if (!sender.skipping && sender.pending.size() <= detect::kMaxAlertLineBytes)
        take(source.config.guest, sender.pending);
      sender.pending.clear();
      sender.skipping = false;
      ++lines;
    }
    if (!sender.skipping) sender.pending += text;
    if (sender.pending.size() <= detect::kMaxAlertLineBytes) continue;
    ++dropped_;
    sender.pending.clear();
    sender.skipping = true;
  }
  return true;
}

}  // namespace hyperward::daemon
