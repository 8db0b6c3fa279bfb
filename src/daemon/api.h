// The API's routes, without sockets: from a request to what Operations is asked, and back to an answer in JSON.
//
// One table says what there is; docs/openapi.json says the same in public, and a test holds them against one another.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "daemon/operations.h"

namespace hyperward::daemon {

struct ApiRequest {
  std::multimap<std::string, std::string> query;
  std::string body;
};

struct ApiReply {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
};

struct ApiError {
  int status = 500;
  std::string code;
  std::string message;
  std::string field = {};  // of the body or the query that is wrong
  std::string allow = {};  // the methods that there are, when the one that was used is not

  // What an operation says, in the terms of HTTP.
  static ApiError from(const Error& error);
  [[nodiscard]] ApiReply reply() const;
};

template <typename T>
using Answer = std::expected<T, ApiError>;

enum class Access : uint8_t { kControl, kRead };

struct ApiCall {
  Operations& operations;
  const ApiRequest& request;
  std::string guest = {};
  std::string module = {};
  int64_t id = 0;
};

struct ApiRoute {
  std::string_view method;
  std::string_view path;                            // with {name}, {module} and {id} as in the document
  std::vector<std::string_view> query;              // the parameters that it takes
  Answer<ApiReply> (*handle)(const ApiCall& call);  // nullptr: the event stream, which has no end
};

[[nodiscard]] std::span<const ApiRoute> api_routes();

struct ApiMatch {
  const ApiRoute* route = nullptr;
  std::string guest = {};   // {name} of the path
  std::string module = {};  // {module} of the path
  int64_t id = 0;           // {id} of the path
};

// 404, 405 or 403 when there is none. HEAD is taken as GET.
[[nodiscard]] Answer<ApiMatch> find_route(std::string_view method, std::string_view path, Access access);

// 400 for a parameter that the route does not take.
[[nodiscard]] Answer<void> check_query(const ApiRoute& route, const ApiRequest& request);

// A route that has a handler.
[[nodiscard]] ApiReply answer(const ApiMatch& match, const ApiRequest& request, Operations& operations);

// Where a listener wants to begin: ?after=, or else what the header Last-Event-ID says.
[[nodiscard]] Answer<std::optional<uint64_t>> events_after(const ApiRequest& request, const std::string& last_event_id);

}  // namespace hyperward::daemon
