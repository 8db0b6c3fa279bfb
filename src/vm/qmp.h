// A client of QEMU's machine protocol over a Unix socket (QEMU docs/interop/qmp-spec).
//
// A QMP socket serves one client at a time: when another one holds it (libvirt does), no greeting comes, and connect()
// says so after its deadline instead of waiting for ever.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/result.h"

namespace hyperward::vm {

class Qmp {
 public:
  // Errors: kNotFound no such socket, kLimit nobody answered in time, kInvalid it is no QMP socket.
  [[nodiscard]] static Result<Qmp> connect(const std::string& path, int timeout_ms = 1000);

  // Runs one command and gives its "return". Events that arrive meanwhile are dropped.
  [[nodiscard]] Result<nlohmann::json> execute(std::string_view command,
                                               const nlohmann::json& arguments = nlohmann::json::object());

  // Runs a command of the human monitor, for what QMP itself does not tell: `info mtree -f`.
  [[nodiscard]] Result<std::string> human(std::string_view command_line);

  // The process that listens on the socket.
  [[nodiscard]] Result<int> peer_pid() const;

 private:
  Qmp(Fd socket, int timeout_ms) : socket_(std::move(socket)), timeout_ms_(timeout_ms) {}
  [[nodiscard]] Result<nlohmann::json> receive();
  [[nodiscard]] Result<void> send(const nlohmann::json& message);

  Fd socket_;
  int timeout_ms_;
  std::string buffer_;
};

}  // namespace hyperward::vm
