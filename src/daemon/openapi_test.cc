// Holds docs/openapi.json and the server against one another.
#include <algorithm>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/api.h"
#include "daemon/fake_operations.h"
#include "daemon/http_exchange.h"
#include "daemon/http_server.h"
#include "daemon/json_schema.h"
#include "daemon/openapi_document.h"
#include "daemon/test_directory.h"

namespace hyperward::daemon {
namespace {

using nlohmann::json;

class OpenapiTest : public testing::Test {
 protected:
  void SetUp() override {
    auto started = HttpServer::start({.control = socket, .read = {}}, operations);
    ASSERT_TRUE(started) << started.error().message;
    server = *std::move(started);
  }

  // Calls visit(path, method, operation) for each operation of the document.
  template <typename Visit>
  void for_each_operation(Visit visit) const {
    for (const auto& [path, methods] : document["paths"].items()) {
      for (const auto& [method, operation] : methods.items()) {
        std::string upper = method;
        std::transform(upper.begin(), upper.end(), upper.begin(), ::toupper);
        visit(path, upper, operation);
      }
    }
  }

  // What a parameter is, wherever it is written.
  const json& resolved(const json& value) const {
    if (!value.contains("$ref")) return value;
    return document.at(json::json_pointer(value["$ref"].get<std::string>().substr(1)));
  }

  static std::string filled_in(std::string path) {
    if (const size_t at = path.find("{name}"); at != std::string::npos) path.replace(at, 6, "web");
    if (const size_t at = path.find("{module}"); at != std::string::npos) path.replace(at, 8, "rate");
    if (const size_t at = path.find("{id}"); at != std::string::npos) path.replace(at, 4, "5");
    return path;
  }

  static std::string body_for(const std::string& path, const std::string& method) {
    if (path == "/v1/alerts" && method == "POST")
      return R"({"protocol":"tcp","source":"10.9.0.2:4","destination":"203.0.113.9:25","text":"t","severity":1})";
    if (path == "/v1/guests/{name}/modules" && method == "POST")
      return R"({"name":"rate","file":"/m/rate.so","run":"daemon","settings":{"a":1},"batch":256,"batch_wait_us":0,
        "deadline_ms":1,"memory_mb":16})";
    if (path == "/v1/guests/{name}/modules/{module}" && method == "PUT") return R"({"settings":{},"batch":1})";
    return method == "POST" || method == "PUT" ? R"({"rule":"deny from user alice"})" : "";
  }

  const json document = json::parse(openapi_document());
  const JsonSchema schemas{document};
  FakeOperations operations;
  TestDirectory directory;
  std::filesystem::path socket = directory.path() / "s";
  std::unique_ptr<HttpServer> server;
};

TEST_F(OpenapiTest, describes_exactly_the_servers_routes) {
  std::set<std::string> described, served;
  for_each_operation([&](const auto& path, const auto& method, const json&) { described.insert(method + " " + path); });
  for (const ApiRoute& route : api_routes()) served.insert(fmt::format("{} {}", route.method, route.path));
  EXPECT_EQ(described, served);
}

TEST_F(OpenapiTest, describes_exactly_the_parameters_that_each_route_takes) {
  for_each_operation([&](const auto& path, const auto& method, const json& operation) {
    std::set<std::string> described;
    for (const json& parameter : operation.value("parameters", json::array()))
      if (resolved(parameter)["in"] == "query") described.insert(resolved(parameter)["name"]);
    for (const ApiRoute& route : api_routes()) {
      if (route.path != path || route.method != method) continue;
      EXPECT_EQ(described, std::set<std::string>(route.query.begin(), route.query.end())) << method << " " << path;
    }
  });
}

TEST_F(OpenapiTest, answers_are_as_described) {
  for_each_operation([&](const auto& path, const auto& method, const json& operation) {
    const json& described = operation["responses"].begin().value();
    if (!described["content"].contains("application/json")) return;
    const HttpReply reply = exchange(socket, method, filled_in(path), body_for(path, method));
    EXPECT_EQ(fmt::format("{}", reply.status), operation["responses"].begin().key()) << method << " " << path;
    EXPECT_EQ(schemas.mistake(described["content"]["application/json"]["schema"], reply.json()), "")
        << method << " " << path << ": " << reply.body;
  });
}

TEST_F(OpenapiTest, bodies_of_these_tests_are_as_described) {
  for_each_operation([&](const auto& path, const auto& method, const json& operation) {
    if (!operation.contains("requestBody")) return;
    EXPECT_EQ(schemas.mistake(operation["requestBody"]["content"]["application/json"]["schema"],
                              json::parse(body_for(path, method))),
              "");
  });
}

TEST_F(OpenapiTest, errors_are_as_described) {
  const json& schema = document["components"]["schemas"]["Error"];
  for (const Code code : {Code::kInvalid, Code::kNotFound, Code::kUnreadable, Code::kInconsistent, Code::kLimit,
                          Code::kUnsupported, Code::kPermission, Code::kSystem}) {
    operations.fail_with(Error{code, "no"});
    EXPECT_EQ(schemas.mistake(schema, exchange(socket, "GET", "/v1/status").json()), "");
  }
  for (const auto& reply : {exchange(socket, "GET", "/nowhere"), exchange(socket, "PUT", "/v1/status"),
                            exchange(socket, "POST", "/v1/guests/web/rules", "{"), exchange_raw(socket, "x\r\n\r\n")})
    EXPECT_EQ(schemas.mistake(schema, reply.json()), "") << reply.body;
}

TEST_F(OpenapiTest, events_are_as_described) {
  const json& event = document["components"]["schemas"]["Event"];
  const Event published{
      .id = 1, .type = "alert", .guest = "web", .time = "2025-03-01T12:00:00.000Z", .data = {{"id", 9}}};
  EXPECT_EQ(schemas.mistake(event, to_json(published)), "");
}

}  // namespace
}  // namespace hyperward::daemon
