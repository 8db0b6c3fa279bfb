// The daemon, as the commands ask it: HTTP and JSON over its Unix sockets (docs/openapi.json).
//
// Errors are sentences for the one who typed the command: that no daemon runs, that its socket may not be opened, or
// what the API itself says.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace hyperward::cli {

// A part of a path or a query, with all that means something there written as %XX.
[[nodiscard]] std::string url_encoded(std::string_view text);

class Client {
 public:
  using Json = nlohmann::json;

  struct Sockets {
    std::filesystem::path control;
    std::filesystem::path read = {};  // for reading, when the control socket may not be opened; empty: none
  };

  explicit Client(Sockets sockets) : sockets_(std::move(sockets)) {}

  // `target` is the path with its query: "/v1/alerts?limit=5".
  [[nodiscard]] Result<Json> get(const std::string& target) const;
  [[nodiscard]] Result<Json> post(const std::string& target, const std::string& body = "") const;
  [[nodiscard]] Result<Json> put(const std::string& target, const std::string& body) const;
  [[nodiscard]] Result<Json> remove(const std::string& target) const;

  // Calls take(type, data) for each event of a stream, until that fails or the stream ends, which is an error too.
  using TakeEvent = std::function<Result<void>(const std::string& type, const Json& data)>;
  [[nodiscard]] Result<void> events(const std::string& target, const TakeEvent& take) const;

 private:
  Sockets sockets_;
};

// The daemon at this control socket; empty: at the usual ones.
[[nodiscard]] Client client_at(const std::string& socket);

}  // namespace hyperward::cli
