#include "daemon/ids_intake.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include <spdlog/spdlog.h>

#include "detect/ids_alert.h"

namespace hyperward::daemon {
namespace {

constexpr size_t kChunkBytes = 64UL << 10;

Result<UnixListener> listen_for(const IdsSource& source) {
  using enum UnixListener::Type;
  HW_TRY(UnixListener socket,
         UnixListener::open(source.socket, /*group=*/std::nullopt, source.datagram ? kDatagram : kStream));
  if (::fcntl(socket.fd(), F_SETFL, O_NONBLOCK) != 0)
    return fail_errno(errno, fmt::format("listen on {}", source.socket.native()));
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
      HW_TRY(UnixListener socket, listen_for(config));
      source.socket.emplace(std::move(socket));
    }
    intake.sources_.push_back(std::move(source));
  }
  return intake;
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
    const ssize_t got = ::recv(source.socket->fd(), message.data(), message.size(), MSG_TRUNC);
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
  for (size_t arrivals = 0; arrivals < kMaxArrivals; ++arrivals) {
    Fd sender(::accept4(source.socket->fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!sender.valid()) break;
    if (source.senders.size() < kMaxSenders) source.senders.push_back({std::move(sender), {}, false});
  }
  if (source.senders.empty()) return;
  const size_t share = kMaxLinesPerRead / source.senders.size();
  std::erase_if(source.senders, [&](Sender& sender) { return !read_sender(source, sender, share, take); });
}

bool IdsIntake::read_sender(const Source& source, Sender& sender, size_t max_lines, const Take& take) {
  std::array<char, kChunkBytes> chunk;
  size_t lines = take_lines(source, sender, max_lines, take);
  for (size_t chunks = 0; chunks < kMaxChunksPerRead && lines < max_lines; ++chunks) {
    const ssize_t got = ::recv(sender.fd.get(), chunk.data(), chunk.size(), 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) {
      if (!sender.pending.empty()) ++dropped_;
      return false;
    }
    sender.pending.append(chunk.data(), static_cast<size_t>(got));
    lines += take_lines(source, sender, max_lines - lines, take);
  }
  return true;
}

size_t IdsIntake::take_lines(const Source& source, Sender& sender, size_t max_lines, const Take& take) {
  std::string_view rest = sender.pending;
  size_t lines = 0;
  for (; lines < max_lines; ++lines) {
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) break;
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (std::exchange(sender.skipping, false)) continue;  // its end: it was counted when it began to be too long
    if (line.size() > detect::kMaxAlertLineBytes) {
      ++dropped_;
    } else if (!line.empty()) {
      take(source.config.guest, line);
    }
  }
  sender.pending.erase(0, sender.pending.size() - rest.size());
  if (lines == max_lines) return lines;  // what is left may hold more lines
  if (!sender.skipping && sender.pending.size() > detect::kMaxAlertLineBytes) {
    ++dropped_;
    sender.skipping = true;
  }
  if (sender.skipping) sender.pending.clear();
  return lines;
}

}  // namespace hyperward::daemon
