#include "daemon/api.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include <fmt/ranges.h>

#include "daemon/openapi_document.h"

namespace hyperward::daemon {
namespace {

using nlohmann::json;

constexpr size_t kMaxRows = 1'000;
constexpr size_t kMaxFlows = 100'000;
constexpr size_t kDefaultFlows = 1'000;
constexpr size_t kMaxNameBytes = 200;
constexpr size_t kMaxRuleBytes = 64UL << 10;

std::unexpected<ApiError> bad_request(std::string field, std::string message) {
  return std::unexpected(
      ApiError{.status = 400, .code = "bad-request", .message = std::move(message), .field = std::move(field)});
}

std::string to_text(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

// `field`: what the client has to change when it is the input that is wrong.
Answer<ApiReply> reply(int status, const Result<json>& result, std::string field = {}) {
  if (result) return ApiReply{.status = status, .body = to_text(*result)};
  ApiError error = ApiError::from(result.error());
  if (result.error().code == Code::kInvalid) error.field = std::move(field);
  return std::unexpected(std::move(error));
}

template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return number;
}

std::string query_value(const ApiRequest& request, const std::string& name) {
  const auto found = request.query.find(name);
  return found == request.query.end() ? "" : found->second;
}

Answer<int64_t> query_number(const ApiRequest& request, const std::string& name, int64_t default_value, int64_t min,
                             int64_t max) {
  if (!request.query.contains(name)) return default_value;
  const auto number = parse_number<int64_t>(query_value(request, name));
  if (!number || *number < min || *number > max)
    return bad_request(name, fmt::format("{} must be a number from {} to {}", name, min, max));
  return *number;
}

Answer<bool> query_flag(const ApiRequest& request, const std::string& name) {
  const std::string value = query_value(request, name);
  if (value == "true") return true;
  if (value == "false" || !request.query.contains(name)) return false;
  return bad_request(name, fmt::format("{} must be true or false", name));
}

Answer<Query> rows_wanted(const ApiRequest& request) {
  Query query{.guest = query_value(request, "guest")};
  HW_TRY(query.after, query_number(request, "after", 0, 0, std::numeric_limits<int64_t>::max()));
  HW_TRY(query.limit, query_number(request, "limit", static_cast<int64_t>(query.limit), 1, kMaxRows));
  return query;
}

Answer<json> json_object(const std::string& body) {
  json value = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return bad_request("", "the body is no JSON");
  if (!value.is_object()) return bad_request("", "the body must be a JSON object");
  return value;
}

// The body {"rule": "..."}.
Answer<std::string> rule_wanted(const ApiRequest& request) {
  HW_TRY(const json body, json_object(request.body));
  for (const auto& [key, value] : body.items()) {
    if (key != "rule") return bad_request(key, fmt::format("unknown field '{}'; known are: rule", key));
  }
  if (!body.contains("rule")) return bad_request("rule", "rule is missing");
  if (!body["rule"].is_string()) return bad_request("rule", "rule must be a string");
  const auto& rule = body["rule"].get_ref<const std::string&>();
  // A second line would be a second rule, that nobody has asked for.
  if (rule.empty() || rule.size() > kMaxRuleBytes || rule.find_first_of(std::string_view("\n\r\0", 3)) != rule.npos)
    return bad_request("rule", fmt::format("rule must be one line of 1 to {} bytes", kMaxRuleBytes));
  return rule;
}

Answer<ApiReply> get_flows(const ApiCall& call) {
  HW_TRY(const bool denied_only, query_flag(call.request, "denied"));
  HW_TRY(const int64_t limit, query_number(call.request, "limit", kDefaultFlows, 1, kMaxFlows));
  return reply(200, call.operations.flows(call.guest, denied_only, static_cast<size_t>(limit)));
}

Answer<ApiReply> add_rule(const ApiCall& call) {
  HW_TRY(const std::string rule, rule_wanted(call.request));
  return reply(201, call.operations.add_rule(call.guest, rule), "rule");
}

Answer<ApiReply> replace_rule(const ApiCall& call) {
  HW_TRY(const std::string rule, rule_wanted(call.request));
  return reply(200, call.operations.replace_rule(call.guest, call.id, rule), "rule");
}

// Unknown keys and values that cannot be. `base` has what need not be given.
Answer<ModuleConfig> module_wanted(const json& body, const ModuleConfig& base = {}) {
  auto module = module_from(body, base);
  if (!module) return bad_request(module.error().key, module.error().message);
  return *std::move(module);
}

Answer<ApiReply> load_module(const ApiCall& call) {
  HW_TRY(const json body, json_object(call.request.body));
  HW_TRY(const ModuleConfig module, module_wanted(body));
  return reply(201, call.operations.load_module(call.guest, module));
}

Answer<ApiReply> swap_module(const ApiCall& call) {
  HW_TRY(const json body, json_object(call.request.body));
  if (body.contains("name")) return bad_request("name", "a module's name stays");
  HW_OK(module_wanted(body, {.name = "it", .file = "/its"}));  // any one that is there already
  return reply(200, call.operations.swap_module(call.guest, call.module, body));
}

Answer<ApiReply> get_alerts(const ApiCall& call) {
  HW_TRY(const Query query, rows_wanted(call.request));
  return reply(200, call.operations.alerts(query));
}

Answer<ApiReply> get_responses(const ApiCall& call) {
  HW_TRY(const Query query, rows_wanted(call.request));
  return reply(200, call.operations.responses(query));
}

// What is in the line is judged by the one who reads it; it must be JSON at all.
Answer<ApiReply> take_alert(const ApiCall& call) {
  HW_OK(json_object(call.request.body));
  return reply(200, call.operations.take_ids_line(query_value(call.request, "guest"), call.request.body));
}

Answer<ApiReply> get_metrics(const ApiCall& call) {
  auto text = call.operations.metrics();
  if (!text) return std::unexpected(ApiError::from(text.error()));
  return ApiReply{.body = *std::move(text), .content_type = "text/plain; version=0.0.4; charset=utf-8"};
}

const std::array kRoutes = {
    ApiRoute{"GET", "/v1/status", {}, [](const ApiCall& call) { return reply(200, call.operations.status()); }},
    ApiRoute{"GET", "/v1/guests", {}, [](const ApiCall& call) { return reply(200, call.operations.guests()); }},
    ApiRoute{"GET",
             "/v1/guests/{name}",
             {},
             [](const ApiCall& call) { return reply(200, call.operations.guest(call.guest)); }},
    ApiRoute{"GET", "/v1/guests/{name}/flows", {"denied", "limit"}, get_flows},
    ApiRoute{"GET",
             "/v1/guests/{name}/rules",
             {},
             [](const ApiCall& call) { return reply(200, call.operations.rules(call.guest)); }},
    ApiRoute{"POST", "/v1/guests/{name}/rules", {}, add_rule},
    ApiRoute{"PUT", "/v1/guests/{name}/rules/{id}", {}, replace_rule},
    ApiRoute{"DELETE",
             "/v1/guests/{name}/rules/{id}",
             {},
             [](const ApiCall& call) { return reply(200, call.operations.remove_rule(call.guest, call.id)); }},
    ApiRoute{"GET",
             "/v1/guests/{name}/modules",
             {},
             [](const ApiCall& call) { return reply(200, call.operations.modules(call.guest)); }},
    ApiRoute{"POST", "/v1/guests/{name}/modules", {}, load_module},
    ApiRoute{"PUT", "/v1/guests/{name}/modules/{module}", {}, swap_module},
    ApiRoute{"DELETE",
             "/v1/guests/{name}/modules/{module}",
             {},
             [](const ApiCall& call) { return reply(200, call.operations.unload_module(call.guest, call.module)); }},
    ApiRoute{"GET", "/v1/alerts", {"guest", "after", "limit"}, get_alerts},
    ApiRoute{"POST", "/v1/alerts", {"guest"}, take_alert},
    ApiRoute{"GET", "/v1/responses", {"guest", "after", "limit"}, get_responses},
    ApiRoute{"GET",
             "/v1/responses/{id}",
             {},
             [](const ApiCall& call) { return reply(200, call.operations.response(call.id)); }},
    ApiRoute{"POST",
             "/v1/responses/{id}/undo",
             {},
             [](const ApiCall& call) { return reply(200, call.operations.undo(call.id)); }},
    ApiRoute{"POST", "/v1/reload", {}, [](const ApiCall& call) { return reply(200, call.operations.reload()); }},
    ApiRoute{"GET", "/v1/events", {"guest", "after"}, nullptr},
    ApiRoute{"GET",
             "/v1/openapi.json",
             {},
             [](const ApiCall&) -> Answer<ApiReply> { return ApiReply{.body = std::string(openapi_document())}; }},
    ApiRoute{"GET", "/metrics", {}, get_metrics},
};

std::string_view take_segment(std::string_view& path) {
  path.remove_prefix(1);  // '/'
  const std::string_view segment = path.substr(0, path.find('/'));
  path.remove_prefix(segment.size());
  return segment;
}

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= kMaxNameBytes &&
         std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

// Segment by segment; what the names in braces stand for goes into `match`.
bool matches(std::string_view pattern, std::string_view path, ApiMatch& match) {
  while (pattern.starts_with('/') && path.starts_with('/')) {
    const std::string_view expected = take_segment(pattern);
    const std::string_view segment = take_segment(path);
    if (expected == "{name}") {
      if (!is_name(segment)) return false;
      match.guest = segment;
    } else if (expected == "{module}") {
      if (!is_name(segment)) return false;
      match.module = segment;
    } else if (expected == "{id}") {
      const auto id = parse_number<int64_t>(segment);
      if (!id || *id < 1) return false;
      match.id = *id;
    } else if (expected != segment) {
      return false;
    }
  }
  return pattern.empty() && path.empty();
}

}  // namespace

ApiError ApiError::from(const Error& error) {
  switch (error.code) {
    case Code::kInvalid: return {.status = 422, .code = "invalid", .message = error.message};
    case Code::kNotFound: return {.status = 404, .code = "not-found", .message = error.message};
    case Code::kLimit: return {.status = 429, .code = "limit", .message = error.message};
    case Code::kPermission: return {.status = 403, .code = "permission", .message = error.message};
    case Code::kUnreadable: return {.status = 500, .code = "unreadable", .message = error.message};
    case Code::kInconsistent: return {.status = 500, .code = "inconsistent", .message = error.message};
    case Code::kUnsupported: return {.status = 500, .code = "unsupported", .message = error.message};
    case Code::kSystem: break;
  }
  return {.status = 500, .code = "system", .message = error.message};
}

ApiReply ApiError::reply() const {
  json error = {{"code", code}, {"message", message}};
  if (!field.empty()) error["field"] = field;
  return {.status = status, .body = to_text({{"error", std::move(error)}})};
}

std::span<const ApiRoute> api_routes() {
  return kRoutes;
}

Answer<ApiMatch> find_route(std::string_view method, std::string_view path, Access access) {
  if (method == "HEAD") method = "GET";
  std::vector<std::string_view> allowed;
  for (const ApiRoute& route : kRoutes) {
    ApiMatch match{.route = &route};
    if (!matches(route.path, path, match)) continue;
    if (route.method == method && (method == "GET" || access == Access::kControl)) return match;
    allowed.push_back(route.method);
    if (route.method == "GET") allowed.emplace_back("HEAD");
  }
  if (allowed.empty())
    return std::unexpected(ApiError{.status = 404, .code = "not-found", .message = "the API has no such path"});
  if (access == Access::kRead && method != "GET")
    return std::unexpected(
        ApiError{.status = 403, .code = "permission", .message = "this socket is for reading: use the control socket"});
  return std::unexpected(ApiError{.status = 405,
                                  .code = "method-not-allowed",
                                  .message = fmt::format("{} is not possible here", method),
                                  .allow = fmt::format("{}", fmt::join(allowed, ", "))});
}

Answer<void> check_query(const ApiRoute& route, const ApiRequest& request) {
  for (const auto& [name, value] : request.query) {
    if (std::find(route.query.begin(), route.query.end(), name) == route.query.end())
      return bad_request(name,
                         fmt::format("unknown parameter '{}'; known are: {}", name, fmt::join(route.query, ", ")));
    if (request.query.count(name) > 1) return bad_request(name, fmt::format("{} is given twice", name));
  }
  return {};
}

ApiReply answer(const ApiMatch& match, const ApiRequest& request, Operations& operations) {
  if (const auto checked = check_query(*match.route, request); !checked) return checked.error().reply();
  HW_CHECK(match.route->handle != nullptr);
  auto answered = match.route->handle(
      {.operations = operations, .request = request, .guest = match.guest, .module = match.module, .id = match.id});
  return answered ? *std::move(answered) : answered.error().reply();
}

Answer<std::optional<uint64_t>> events_after(const ApiRequest& request, const std::string& last_event_id) {
  if (request.query.contains("after")) {
    HW_TRY(const int64_t after, query_number(request, "after", 0, 0, std::numeric_limits<int64_t>::max()));
    return static_cast<uint64_t>(after);
  }
  if (last_event_id.empty()) return std::nullopt;
  const auto after = parse_number<uint64_t>(last_event_id);
  if (!after) return bad_request("Last-Event-ID", "Last-Event-ID must be a number");
  return after;
}

}  // namespace hyperward::daemon
