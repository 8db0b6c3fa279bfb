// For tests of commands that ask the daemon: a server of FakeOperations, and what a command line prints.
#pragma once

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cli/commands.h"
#include "daemon/fake_operations.h"
#include "daemon/http_server.h"
#include "daemon/test_directory.h"

namespace hyperward::cli {

class ControlTest : public testing::Test {
 protected:
  void SetUp() override { serve(operations); }

  void serve(daemon::Operations& by) {
    server.reset();
    auto started = daemon::HttpServer::start({.control = socket, .read = {}}, by);
    ASSERT_TRUE(started) << started.error().message;
    server = *std::move(started);
  }

  // What the command prints; its error, when it has one, is the last line.
  std::string run(std::vector<std::string> words) const {
    CLI::App app;
    Chosen chosen;
    add_commands(app, chosen);
    words.insert(words.end(), {"--socket", socket.string()});
    std::reverse(words.begin(), words.end());  // as CLI11 wants them
    try {
      app.parse(words);
    } catch (const CLI::ParseError& error) {
      return error.what();
    }
    testing::internal::CaptureStdout();
    const auto done = chosen.action();
    std::string printed = testing::internal::GetCapturedStdout();
    if (!done) printed += done.error().message;
    return printed;
  }

  daemon::FakeOperations operations;
  daemon::TestDirectory directory;
  std::filesystem::path socket = directory.path() / "s";
  std::unique_ptr<daemon::HttpServer> server;
};

}  // namespace hyperward::cli
