#include "cli/client.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/fake_operations.h"
#include "daemon/http_server.h"
#include "daemon/test_directory.h"

namespace hyperward::cli {
namespace {

using nlohmann::json;
using testing::ElementsAre;

class ClientTest : public testing::Test {
 protected:
  void SetUp() override {
    auto started = daemon::HttpServer::start({.control = control, .read = read}, operations);
    ASSERT_TRUE(started) << started.error().message;
    server = *std::move(started);
  }

  daemon::FakeOperations operations;
  daemon::TestDirectory directory;
  std::filesystem::path control = directory.path() / "control", read = directory.path() / "read";
  std::unique_ptr<daemon::HttpServer> server;
  Client client{{.control = control}};
};

TEST_F(ClientTest, asks_and_tells) {
  EXPECT_TRUE(client.get("/v1/status"));
  EXPECT_TRUE(client.post("/v1/guests/my%20web/rules", R"({"rule":"deny in"})"));
  EXPECT_TRUE(client.put("/v1/guests/web/rules/5", R"({"rule":"allow in"})"));
  EXPECT_TRUE(client.remove("/v1/guests/web/rules/5"));
  EXPECT_TRUE(client.post("/v1/responses/3/undo"));
  EXPECT_THAT(operations.asked(), ElementsAre("status", "add_rule my web: deny in", "replace_rule web 5: allow in",
                                              "remove_rule web 5", "undo 3"));
}

TEST_F(ClientTest, passes_on_what_the_daemon_says) {
  operations.fail_with(Error{Code::kInvalid, "1:6: expected an owner\n  deny from\n      ^ \x1b[2J"});
  const auto added = client.post("/v1/guests/web/rules", R"({"rule":"deny from"})");
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, Code::kInvalid);
  EXPECT_EQ(added.error().message, "1:6: expected an owner\n  deny from\n      ^ \\x1b[2J");
}

TEST_F(ClientTest, says_that_no_daemon_runs) {
  server->stop();
  for (const auto& answer : {client.get("/v1/status"), client.post("/v1/reload")}) {
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().message, "no hyperward daemon runs: nobody listens on " + control.string());
  }
}

TEST_F(ClientTest, reads_from_the_other_socket_when_it_may_not_control) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may open every socket";
  ASSERT_EQ(::chmod(control.c_str(), 0), 0);
  const auto refused = client.get("/v1/status");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kPermission);

  const Client reader({.control = control, .read = read});
  EXPECT_TRUE(reader.get("/v1/status"));
  EXPECT_FALSE(reader.post("/v1/reload"));
}

TEST_F(ClientTest, takes_each_event_once_however_it_is_cut) {
  operations.events().publish("alert", "web", {{"text", std::string(300'000, 'x')}});
  operations.events().publish("response", "web", {{"id", 3}});
  std::vector<std::string> types;
  const auto read_all = client.events("/v1/events?after=0", [&](const std::string& type, const json& event) {
    types.push_back(type);
    if (event["id"] == 2) operations.events().close();
    return Result<void>();
  });
  EXPECT_THAT(types, ElementsAre("alert", "response"));
  ASSERT_FALSE(read_all);
  EXPECT_EQ(read_all.error().message, "the daemon has ended the stream of events");
}

TEST_F(ClientTest, ends_a_stream_when_the_caller_fails) {
  operations.events().publish("alert", "web", json::object());
  const auto read_one = client.events("/v1/events?after=0", [](const std::string&, const json&) -> Result<void> {
    return fail(Code::kLimit, "enough");
  });
  ASSERT_FALSE(read_one);
  EXPECT_EQ(read_one.error().message, "enough");
}

TEST_F(ClientTest, says_why_a_stream_is_refused) {
  const auto refused =
      client.events("/v1/events?afterwards=0", [](const auto&, const auto&) { return Result<void>(); });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "unknown parameter 'afterwards'; known are: guest, after");
}

TEST(UrlEncoded, leaves_nothing_that_a_url_would_understand) {
  EXPECT_EQ(url_encoded("web-1.example_~"), "web-1.example_~");
  EXPECT_EQ(url_encoded("a/b?c=d&e#f%20 \n\xff"), "a%2Fb%3Fc%3Dd%26e%23f%2520%20%0A%FF");
}

}  // namespace
}  // namespace hyperward::cli
