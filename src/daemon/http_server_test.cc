#include "daemon/http_server.h"

#include <sys/stat.h>

#include <chrono>
#include <fstream>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/fake_operations.h"
#include "daemon/http_exchange.h"
#include "daemon/test_directory.h"

namespace hyperward::daemon {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using namespace std::chrono_literals;

constexpr const char* kRules = "/v1/guests/web/rules";
constexpr const char* kModules = "/v1/guests/web/modules";

json error_json(std::string_view code, std::string_view message, std::string_view field = "") {
  json error = {{"code", code}, {"message", message}};
  if (!field.empty()) error["field"] = field;
  return {{"error", error}};
}

class HttpServerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto started = HttpServer::start({.control = control, .read = read}, operations);
    ASSERT_TRUE(started) << started.error().message;
    server = *std::move(started);
  }

  Fd listen_to_events(std::string_view target = "/v1/events", std::string_view headers = "") const {
    Fd fd = connect_to(control);
    const std::string request = fmt::format("GET {} HTTP/1.1\r\n{}\r\n", target, headers);
    EXPECT_EQ(::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
    return fd;
  }

  FakeOperations operations;
  TestDirectory directory;
  std::filesystem::path control = directory.path() / "control", read = directory.path() / "read";
  std::unique_ptr<HttpServer> server;
};

TEST_F(HttpServerTest, passes_paths_queries_and_bodies_on) {
  EXPECT_EQ(exchange(control, "GET", "/v1/guests/web/flows?denied=true&limit=5").status, 200);
  EXPECT_EQ(exchange(control, "POST", kRules, R"({"rule":"deny from user alice for 30m"})").status, 201);
  EXPECT_EQ(exchange(control, "PUT", "/v1/guests/web/rules/7", R"({"rule":"allow from any"})").status, 200);
  EXPECT_EQ(exchange(control, "DELETE", "/v1/guests/web/rules/7").status, 200);
  EXPECT_EQ(exchange(control, "GET", "/v1/alerts?guest=my%20web&after=3&limit=2").status, 200);
  EXPECT_EQ(exchange(control, "POST", "/v1/responses/3/undo").status, 200);
  EXPECT_EQ(exchange(control, "POST", "/v1/alerts?guest=web", R"({"a":1})").status, 200);
  EXPECT_THAT(operations.asked(),
              ElementsAre("flows web denied 5", "add_rule web: deny from user alice for 30m",
                          "replace_rule web 7: allow from any", "remove_rule web 7", "alerts 'my web' after 3 limit 2",
                          "undo 3", R"(take_ids_line 'web' {"a":1})"));
}

TEST_F(HttpServerTest, passes_modules_on) {
  EXPECT_EQ(exchange(control, "GET", kModules).status, 200);
  EXPECT_EQ(exchange(control, "POST", kModules, R"({"file":"/m/rate.so","run":"daemon","batch":8})").status, 201);
  EXPECT_EQ(exchange(control, "PUT", "/v1/guests/web/modules/rate", R"({"settings":{"a":1}})").status, 200);
  EXPECT_EQ(exchange(control, "PUT", "/v1/guests/web/modules/rate", "{}").status, 200);
  EXPECT_EQ(exchange(control, "DELETE", "/v1/guests/web/modules/rate").status, 200);
  EXPECT_THAT(operations.asked(),
              ElementsAre("modules web",
                          R"(load_module web: {"batch":8,"batch_wait_us":0,"deadline_ms":200,"file":"/m/rate.so",)"
                          R"("memory_mb":256,"name":"rate","run":"daemon","settings":{}})",
                          R"(swap_module web rate: {"settings":{"a":1}})", "swap_module web rate: {}",
                          "unload_module web rate"));
}

TEST_F(HttpServerTest, names_the_key_of_a_module_that_is_wrong) {
  const std::pair<const char*, const char*> mistakes[] = {{"{}", "file"},
                                                          {R"({"file":1})", "file"},
                                                          {R"({"file":"a.so","run":"thread"})", "run"},
                                                          {R"({"file":"a.so","batch":0})", "batch"},
                                                          {R"({"file":"a.so","settings":"x"})", "settings"},
                                                          {R"({"file":"a.so","name":"two words"})", "name"},
                                                          {R"({"file":"a.so","fiel":"b"})", "fiel"}};
  for (const auto& [body, field] : mistakes) {
    const HttpReply reply = exchange(control, "POST", kModules, body);
    EXPECT_EQ(reply.status, 400) << body;
    EXPECT_EQ(reply.json()["error"]["field"], field) << body;
  }
  for (const auto& [body, field] :
       {std::pair(R"({"name":"b"})", "name"), std::pair(R"({"deadline_ms":0})", "deadline_ms")})
    EXPECT_EQ(exchange(control, "PUT", "/v1/guests/web/modules/rate", body).json()["error"]["field"], field) << body;
  EXPECT_EQ(exchange(control, "PUT", "/v1/guests/web/modules/rate", "[]").status, 400);
  EXPECT_THAT(operations.asked(), ElementsAre());
}

TEST_F(HttpServerTest, gives_each_error_its_status) {
  const std::pair<Code, int> statuses[] = {{Code::kInvalid, 422},    {Code::kNotFound, 404},   {Code::kLimit, 429},
                                           {Code::kPermission, 403}, {Code::kUnreadable, 500}, {Code::kSystem, 500}};
  for (const auto& [code, status] : statuses) {
    operations.fail_with(Error{code, "because"});
    EXPECT_EQ(exchange(control, "GET", "/v1/status").status, status);
  }
  operations.fail_with(Error{Code::kInvalid, "1:6: expected an owner"});
  EXPECT_EQ(exchange(control, "POST", kRules, R"({"rule":"deny from"})").json(),
            error_json("invalid", "1:6: expected an owner", "rule"));
}

TEST_F(HttpServerTest, names_the_field_that_is_wrong) {
  const std::pair<const char*, json> mistakes[] = {
      {"", error_json("bad-request", "the body is no JSON")},
      {"[]", error_json("bad-request", "the body must be a JSON object")},
      {"{}", error_json("bad-request", "rule is missing", "rule")},
      {R"({"rule":1})", error_json("bad-request", "rule must be a string", "rule")},
      {R"({"rule":"a","for":"1h"})", error_json("bad-request", "unknown field 'for'; known are: rule", "for")},
      {R"({"rule":"a\nb"})", error_json("bad-request", "rule must be one line of 1 to 65536 bytes", "rule")}};
  for (const auto& [body, expected] : mistakes) {
    const HttpReply reply = exchange(control, "POST", kRules, body);
    EXPECT_EQ(reply.status, 400) << body;
    EXPECT_EQ(reply.json(), expected) << body;
  }
  EXPECT_THAT(operations.asked(), ElementsAre());
}

TEST_F(HttpServerTest, names_the_parameter_that_is_wrong) {
  const std::pair<const char*, const char*> mistakes[] = {{"/v1/alerts?limit=0", "limit"},
                                                          {"/v1/alerts?limit=x", "limit"},
                                                          {"/v1/alerts?after=-1", "after"},
                                                          {"/v1/status?a=1", "a"},
                                                          {"/v1/guests/web/flows?denied=1", "denied"},
                                                          {"/v1/events?after=x", "after"},
                                                          {"/v1/events?x=", "x"},
                                                          {"/v1/alerts?guest=a&guest=b", "guest"}};
  for (const auto& [target, field] : mistakes) {
    const HttpReply reply = exchange(control, "GET", target);
    EXPECT_EQ(reply.status, 400) << target;
    EXPECT_EQ(reply.json()["error"]["field"], field) << target;
  }
}

TEST_F(HttpServerTest, knows_no_other_paths) {
  for (const char* path : {"/", "/v1", "/v1/status/", "/v1/guests//rules", "/v1/responses/x", "/v1/responses/0",
                           "/v1/guests/a%2fb", "/v1/guests/a%0ab", "*"})
    EXPECT_EQ(exchange(control, "GET", path).status, 404) << path;
  EXPECT_EQ(exchange(control, "GET", "/v1/guests/" + std::string(7000, 'x')).status, 404);
  EXPECT_EQ(exchange(control, "GET", "/v2").json(), error_json("not-found", "the API has no such path"));
}

TEST_F(HttpServerTest, says_which_methods_there_are) {
  const HttpReply reply = exchange(control, "PATCH", kRules);
  EXPECT_EQ(reply.status, 405);
  EXPECT_THAT(reply.head, HasSubstr("Allow: GET, HEAD, POST\r\n"));
  EXPECT_EQ(exchange(control, "OPTIONS", "/v1/status").status, 405);
}

TEST_F(HttpServerTest, answers_head_without_a_body) {
  const HttpReply reply = exchange(control, "HEAD", "/v1/status");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, "");
  EXPECT_EQ(exchange(control, "HEAD", "/v1/events").status, 200);
}

TEST_F(HttpServerTest, only_looks_on_the_read_socket) {
  EXPECT_EQ(exchange(read, "GET", "/v1/guests/web").status, 200);
  EXPECT_EQ(exchange(read, "HEAD", "/v1/guests/web").status, 200);
  for (const char* method : {"POST", "PUT", "DELETE", "PATCH"}) EXPECT_EQ(exchange(read, method, kRules).status, 403);
  EXPECT_EQ(exchange(read, "DELETE", "/v1/guests/web/rules/1").status, 403);
  EXPECT_EQ(exchange(read, "POST", kModules, R"({"file":"a.so"})").status, 403);
  EXPECT_EQ(exchange(read, "POST", "/v1/reload").status, 403);
  EXPECT_THAT(operations.asked(), ElementsAre("guest web", "guest web"));
}

TEST_F(HttpServerTest, serves_metrics_as_prometheus_wants_them) {
  const HttpReply reply = exchange(read, "GET", "/metrics");
  EXPECT_THAT(reply.head, HasSubstr("Content-Type: text/plain; version=0.0.4"));
  EXPECT_EQ(reply.body, "hyperward_up 1\n");
}

TEST_F(HttpServerTest, refuses_a_long_body_before_it_comes) {
  const std::string head = fmt::format("POST {} HTTP/1.1\r\n", kRules);
  EXPECT_EQ(exchange_raw(control, head + "Content-Length: 1048577\r\n\r\n").status, 413);
  EXPECT_EQ(exchange_raw(control, head + "Content-Length: 99999999999999999999\r\n\r\n").status, 413);
  EXPECT_EQ(exchange_raw(control, head + "Expect: 100-continue\r\nContent-Length: 1048577\r\n\r\n").status, 413);
  EXPECT_EQ(exchange_raw(control, head + "Transfer-Encoding: chunked\r\n\r\nffffffff\r\n").status, 411);
  EXPECT_EQ(exchange_raw(control, head + "Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc").status, 415);
}

TEST_F(HttpServerTest, takes_a_body_as_long_as_it_may_be) {
  const std::string text = R"({"a":")" + std::string((1UL << 20) - 8, 'x') + R"("})";
  EXPECT_EQ(exchange(control, "POST", "/v1/alerts", text).status, 200);
}

TEST_F(HttpServerTest, takes_a_request_without_a_length_as_one_without_a_body) {
  EXPECT_EQ(exchange_raw(control, "POST /v1/reload HTTP/1.1\r\n\r\n").status, 200);
}

TEST_F(HttpServerTest, survives_what_is_no_http) {
  std::string ranges = "GET /v1/status HTTP/1.1\r\nRange: bytes=0-1";
  while (ranges.size() < 8000) ranges += ",0-1";
  const std::string requests[] = {"",
                                  "\r\n\r\n",
                                  "GET\r\n\r\n",
                                  "GET /v1/status HTTP/9\r\n\r\n",
                                  std::string(1UL << 20, 'x'),
                                  "GET /v1/status HTTP/1.1\r\nX: " + std::string(1UL << 20, 'x'),
                                  "POST /v1/alerts HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                                  "GET /v1/status?%00%zz=%u12&&&= HTTP/1.1\r\n\r\n",
                                  ranges + "\r\n\r\n"};
  for (const std::string& request : requests) {
    const Fd fd = connect_to(control);
    std::ignore = ::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    ::shutdown(fd.get(), SHUT_WR);
    std::ignore = read_until(fd);
  }
  EXPECT_EQ(exchange(control, "GET", "/v1/status").status, 200);
}

TEST_F(HttpServerTest, sends_events_as_they_happen) {
  const Fd fd = listen_to_events();
  EXPECT_THAT(read_until(fd, "\r\n\r\n"), HasSubstr("Content-Type: text/event-stream"));
  std::this_thread::sleep_for(50ms);
  operations.events().publish("alert", "web", {{"id", 9}});
  EXPECT_THAT(read_until(fd, "\n\n"), HasSubstr("id: 1\nevent: alert\ndata: {\"data\":{\"id\":9},"));
}

TEST_F(HttpServerTest, continues_after_the_last_event_that_was_heard) {
  for (int i = 0; i < 3; ++i) operations.events().publish("alert", "web", json::object());
  EXPECT_THAT(read_until(listen_to_events("/v1/events", "Last-Event-ID: 2\r\n"), "\n\n"), HasSubstr("id: 3\n"));
  EXPECT_THAT(read_until(listen_to_events("/v1/events?after=1", "Last-Event-ID: 2\r\n"), "\n\n"), HasSubstr("id: 2\n"));
}

TEST_F(HttpServerTest, answers_others_while_listeners_are_many) {
  std::vector<Fd> listeners;
  std::string last;
  for (int i = 0; i < 17; ++i) {
    listeners.push_back(listen_to_events());
    last = read_until(listeners.back(), "\r\n\r\n");
    EXPECT_THAT(last, HasSubstr(i < 16 ? "HTTP/1.1 200" : "HTTP/1.1 429"));
  }
  EXPECT_EQ(exchange(control, "GET", "/v1/status").status, 200);
  EXPECT_EQ(exchange(read, "GET", "/v1/status").status, 200);

  // A listener that goes makes room for another.
  listeners.erase(listeners.begin());
  const auto deadline = std::chrono::steady_clock::now() + 5s;
  do {
    last = read_until(listen_to_events(), "\r\n\r\n");
  } while (last.find(" 200 ") == std::string::npos && std::chrono::steady_clock::now() < deadline);
  EXPECT_THAT(last, HasSubstr("HTTP/1.1 200"));
}

TEST_F(HttpServerTest, stops_at_once_whoever_is_connected) {
  const Fd listener = listen_to_events(), silent = connect_to(control), slow = listen_to_events("/v1/status", "X: ");
  ASSERT_THAT(read_until(listener, "\r\n\r\n"), HasSubstr(" 200 "));
  const auto before = std::chrono::steady_clock::now();
  server->stop();
  EXPECT_LT(std::chrono::steady_clock::now() - before, 2s);
  EXPECT_FALSE(connect_to(control).valid());
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  server->stop();
}

TEST_F(HttpServerTest, ends_event_streams_when_the_events_end) {
  const Fd fd = listen_to_events();
  ASSERT_THAT(read_until(fd, "\r\n\r\n"), HasSubstr(" 200 "));
  operations.events().close();
  EXPECT_TRUE(read_until(fd).ends_with("0\r\n\r\n"));
}

TEST_F(HttpServerTest, may_be_opened_by_owner_and_group_alone) {
  for (const auto& path : {control, read}) {
    struct stat status{};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0660U);
  }
}

TEST_F(HttpServerTest, does_not_start_beside_another) {
  const auto second = HttpServer::start({.control = control, .read = {}}, operations);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kInvalid);
  EXPECT_EQ(exchange(control, "GET", "/v1/status").status, 200);
}

TEST_F(HttpServerTest, serves_many_clients_at_a_time) {
  std::vector<std::thread> clients;
  std::atomic<int> served = 0;
  for (int i = 0; i < 40; ++i)
    clients.emplace_back([&] {
      for (int j = 0; j < 10; ++j)
        if (exchange(control, "GET", "/v1/guests/web").status == 200) ++served;
    });
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(served, 400);
}

}  // namespace
}  // namespace hyperward::daemon
