#include "cli/client.h"

#include <httplib.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "cli/waiting.h"
#include "guest/types.h"

namespace hyperward::cli {
namespace {

using Json = Client::Json;
using Path = std::filesystem::path;

constexpr std::chrono::seconds kAnswerTimeout{60};
constexpr std::chrono::seconds kSilenceTimeout{30};  // between two signs of life of an event stream
constexpr size_t kMaxLineBytes = 16UL << 20;         // of an event stream

httplib::Client connection_to(const Path& socket, std::chrono::seconds read_timeout) {
  httplib::Client http(socket.string(), 80);
  http.set_address_family(AF_UNIX);
  http.set_default_headers({{"Host", "localhost"}});
  http.set_url_encode(false);  // targets are encoded already
  http.set_read_timeout(read_timeout);
  return http;
}

// Why there is no answer. httplib does not keep errno; the socket's file tells as much.
std::unexpected<Error> no_answer(const Path& socket, httplib::Error error) {
  if (error != httplib::Error::Connection)
    return fail(Code::kSystem, "the daemon at {} does not answer ({})", socket.string(), httplib::to_string(error));
  if (::access(socket.c_str(), R_OK | W_OK) != 0 && errno == EACCES)
    return fail(Code::kPermission, "you may not open {}: join its group, or become root", socket.string());
  return fail(Code::kNotFound, "no hyperward daemon runs: nobody listens on {}", socket.string());
}

Code code_from(std::string_view name) {
  if (name == "not-found") return Code::kNotFound;
  if (name == "limit") return Code::kLimit;
  if (name == "permission") return Code::kPermission;
  if (name == "invalid" || name == "bad-request") return Code::kInvalid;
  return Code::kSystem;
}

// A message may have several lines, with a guest's words among its own.
std::string printable_lines(std::string_view text) {
  std::string printable;
  for (;;) {
    const size_t end = text.find('\n');
    printable += guest::printable(text.substr(0, end));
    if (end == std::string_view::npos) return printable;
    printable += '\n';
    text.remove_prefix(end + 1);
  }
}

std::unexpected<Error> api_error(int status, const std::string& body) {
  const Json value = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object() || !value.contains("error") || !value["error"].is_object())
    return fail(Code::kSystem, "the daemon answered with the HTTP status {}", status);
  const Json& error = value["error"];
  const Json code = error.value("code", Json()), message = error.value("message", Json());
  return fail(code.is_string() ? code_from(code.get<std::string>()) : Code::kSystem, "{}",
              message.is_string() ? printable_lines(message.get_ref<const std::string&>()) : "the daemon refuses");
}

Result<Json> answer(const Path& socket, const httplib::Result& result) {
  if (!result) return no_answer(socket, result.error());
  if (result->status >= 400) return api_error(result->status, result->body);
  Json value = Json::parse(result->body, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return fail(Code::kSystem, "the daemon at {} does not answer in JSON", socket.string());
  return Result<Json>(std::in_place, std::move(value));
}

template <typename Request>
Result<Json> ask(const Path& socket, const Request& request) {
  const Waiting waiting("the daemon is at it");
  httplib::Client http = connection_to(socket, kAnswerTimeout);
  return answer(socket, request(http));
}

// A text/event-stream, as it comes in pieces.
class EventReader {
 public:
  explicit EventReader(const Client::TakeEvent& take) : take_(take) {}

  [[nodiscard]] Result<void> push(std::string_view piece) {
    buffer_ += piece;
    size_t begin = 0;
    for (size_t end = 0; (end = buffer_.find('\n', begin)) != std::string::npos; begin = end + 1)
      HW_OK(take_line(std::string_view(buffer_).substr(begin, end - begin)));
    buffer_.erase(0, begin);
    if (buffer_.size() > kMaxLineBytes) return fail(Code::kLimit, "an event is longer than {} bytes", kMaxLineBytes);
    return {};
  }

 private:
  [[nodiscard]] Result<void> take_line(std::string_view line) {
    constexpr std::string_view kEvent = "event: ", kData = "data: ";
    if (line.starts_with(kEvent)) type_ = line.substr(kEvent.size());
    if (line.starts_with(kData)) data_ = line.substr(kData.size());
    if (!line.empty() || data_.empty()) return {};
    const Json data = Json::parse(std::exchange(data_, {}), nullptr, /*allow_exceptions=*/false);
    if (!data.is_object()) return fail(Code::kSystem, "the daemon sent an event that is no JSON object");
    return take_(std::exchange(type_, {}), data);
  }

  const Client::TakeEvent& take_;
  std::string buffer_, type_, data_;
};

Result<void> read_events(const Path& socket, const std::string& target, const Client::TakeEvent& take) {
  EventReader reader(take);
  Result<void> taken;
  int status = 0;
  std::string refusal;  // the answer when it is no stream
  const auto result = connection_to(socket, kSilenceTimeout)
                          .Get(
                              target,
                              [&](const httplib::Response& response) {
                                status = response.status;
                                return true;
                              },
                              [&](const char* data, size_t size) {
                                if (status == 200) return (taken = reader.push({data, size})).has_value();
                                refusal.append(data, size);
                                return refusal.size() <= kMaxLineBytes;
                              });
  if (!taken) return taken;
  if (status >= 400) return api_error(status, refusal);
  if (status == 0) return no_answer(socket, result.error());
  return fail(Code::kSystem, "the daemon has ended the stream of events");
}

}  // namespace

std::string url_encoded(std::string_view text) {
  std::string encoded;
  for (const unsigned char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
                       c == '.' || c == '_' || c == '~';
    encoded += plain ? std::string(1, static_cast<char>(c)) : fmt::format("%{:02X}", c);
  }
  return encoded;
}

Result<Json> Client::get(const std::string& target) const {
  const auto request = [&](httplib::Client& http) { return http.Get(target); };
  auto value = ask(sockets_.control, request);
  if (value || value.error().code != Code::kPermission || sockets_.read.empty()) return value;
  return ask(sockets_.read, request);
}

Result<Json> Client::post(const std::string& target, const std::string& body) const {
  return ask(sockets_.control, [&](httplib::Client& http) { return http.Post(target, body, "application/json"); });
}

Result<Json> Client::put(const std::string& target, const std::string& body) const {
  return ask(sockets_.control, [&](httplib::Client& http) { return http.Put(target, body, "application/json"); });
}

Result<Json> Client::remove(const std::string& target) const {
  return ask(sockets_.control, [&](httplib::Client& http) { return http.Delete(target); });
}

Result<void> Client::events(const std::string& target, const TakeEvent& take) const {
  const auto read = read_events(sockets_.control, target, take);
  if (read || read.error().code != Code::kPermission || sockets_.read.empty()) return read;
  return read_events(sockets_.read, target, take);
}

Client client_at(const std::string& socket) {
  if (!socket.empty()) return Client({.control = socket});
  return Client({.control = "/run/hyperward/control.sock", .read = "/run/hyperward/read.sock"});
}

}  // namespace hyperward::cli
