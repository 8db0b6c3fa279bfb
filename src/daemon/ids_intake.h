// What intrusion detection systems report: files that are followed, and Unix sockets that are listened on, read line by
// line. What the lines mean is detect/ids_alert.h's.
//
// Nothing waits and nothing blocks: read() is to be called every 100 ms or so. Senders are bounded in number, lines in
// length, and each call in work; what is beyond is dropped and counted. Not for several threads at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "daemon/daemon_config.h"
#include "daemon/unix_listener.h"
#include "detect/follow.h"

namespace hyperward::daemon {

class IdsIntake {
 public:
  static constexpr size_t kMaxSenders = 16;         // per socket; one more is hung up on
  static constexpr size_t kMaxArrivals = 64;        // per socket and read
  static constexpr size_t kMaxLinesPerRead = 5000;  // per source; senders have equal shares
  static constexpr size_t kMaxChunksPerRead = 16;   // of 64 KiB, per sender

  // Makes the sockets, as daemon/unix_listener.h does; its errors.
  [[nodiscard]] static Result<IdsIntake> open(const std::vector<IdsSource>& sources);

  // `guest` as the source's configuration names it, or "".
  using Take = std::function<void(const std::string& guest, std::string_view line)>;
  void read(const Take& take);

  [[nodiscard]] uint64_t dropped() const;  // lines, too long or without an end

 private:
  struct Sender {
    Fd fd;
    std::string pending;    // what was received, and not given on yet
    bool skipping = false;  // the rest of a line that was too long
  };
  struct Source {
    IdsSource config;
    std::vector<detect::Follower> file;  // one, or none when it is a socket
    std::optional<UnixListener> socket;
    std::vector<Sender> senders;
    std::string trouble;  // told once
  };

  IdsIntake() = default;
  void read_file(Source& source, const Take& take);
  void read_stream(Source& source, const Take& take);
  void read_datagrams(Source& source, const Take& take);
  // False: the sender has hung up.
  [[nodiscard]] bool read_sender(const Source& source, Sender& sender, size_t max_lines, const Take& take);
  // Gives on what is whole of the pending, and returns how many lines that were.
  size_t take_lines(const Source& source, Sender& sender, size_t max_lines, const Take& take);

  std::vector<Source> sources_;
  uint64_t dropped_ = 0;
};

}  // namespace hyperward::daemon
