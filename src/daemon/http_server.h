// The control interface: HTTP and JSON on Unix sockets, over Operations. docs/openapi.json describes it.
//
// The sockets' permissions decide: who may open the control socket may do everything, who may open the read socket may
// look (GET and HEAD; all else is 403). A request is bounded in size, a connection in time; an error is
// {"error": {"code": "invalid", "message": "...", "field": "rule"}}.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "daemon/operations.h"

namespace hyperward::daemon {

struct ControlSockets {
  std::filesystem::path control;                            // mode 0660
  std::filesystem::path read;                               // mode 0660; empty: none
  std::optional<std::string> control_group = std::nullopt;  // name of the group that gets the socket
  std::optional<std::string> read_group = std::nullopt;
};

class HttpServer {
 public:
  // Listens and serves from threads of its own until it is destroyed, or stop(). A socket that nobody listens on any
  // more is replaced; kInvalid: somebody does.
  [[nodiscard]] static Result<std::unique_ptr<HttpServer>> start(const ControlSockets& sockets, Operations& operations);
  ~HttpServer();
  void stop();

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hyperward::daemon
