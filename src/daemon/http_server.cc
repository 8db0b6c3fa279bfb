// Each socket has its own threads, and each thread takes a connection, answers one request and closes it. So a socket
// never has more connections than threads, the rest waits in the kernel's backlog, and whoever floods the read socket
// takes nothing from the control socket. Event streams keep a thread each; they may not have all of them.
//
// httplib parses requests and writes answers. It is not asked to listen, since it makes the socket's file by the umask
// and queues connections without end, nor to find the route, since that shall be known before a body is read.
#include "daemon/http_server.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <thread>
#include <vector>

#include "daemon/api.h"
#include "daemon/event_stream.h"
#include "daemon/http_connection.h"
#include "daemon/unix_listener.h"

namespace hyperward::daemon {
namespace {

constexpr int kThreads = 24;
constexpr int kMaxEventStreams = 16;
constexpr std::chrono::milliseconds kPauseWhenShort{100};  // of descriptors or memory

void put(const ApiReply& reply, httplib::Response& response) {
  response.status = reply.status;
  response.set_content(reply.body, reply.content_type);
}

void put(const ApiError& error, httplib::Response& response) {
  put(error.reply(), response);
  if (!error.allow.empty()) response.set_header("Allow", error.allow);
}

ApiRequest to_api(const httplib::Request& request) {
  return {.query = request.params, .body = request.body};
}

// What can be told from the head alone, before any of the body is read.
Answer<ApiMatch> check_head(const httplib::Request& request, Access access) {
  HW_TRY(ApiMatch match, find_route(request.method, request.path, access));
  if (request.has_header("Transfer-Encoding"))
    return std::unexpected(
        ApiError{.status = 411, .code = "bad-request", .message = "a body must tell its length in advance"});
  if (request.has_header("Content-Encoding"))
    return std::unexpected(ApiError{.status = 415, .code = "bad-request", .message = "a body must not be compressed"});
  if (request.get_header_value<uint64_t>("Content-Length") > kMaxBodyBytes)
    return std::unexpected(ApiError{
        .status = 413, .code = "too-large", .message = fmt::format("a body has at most {} bytes", kMaxBodyBytes)});
  return match;
}

// One socket with its threads.
class Door final : public httplib::Server {
 public:
  Door(UnixListener listener, Fd stop, Access access, Operations& operations);
  ~Door() override { close(); }
  void close();

 private:
  void take_connections();
  void serve(Fd client);
  void handle(const httplib::Request& request, httplib::Response& response);
  void stream_events(const ApiRequest& request, const std::string& last_event_id, httplib::Response& response);

  UnixListener listener_;
  Fd stop_;  // readable: it is time to go
  Access access_;
  Operations& operations_;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> event_streams_ = 0;
  std::vector<std::thread> threads_;
};

Door::Door(UnixListener listener, Fd stop, Access access, Operations& operations)
    : listener_(std::move(listener)), stop_(std::move(stop)), access_(access), operations_(operations) {
  svr_sock_ = listener_.fd();  // httplib ends its streams when there is none
  set_payload_max_length(kMaxBodyBytes);
  set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
    const auto match = check_head(request, access_);
    if (match) return HandlerResponse::Unhandled;
    put(match.error(), response);
    return HandlerResponse::Handled;
  });
  set_expect_100_continue_handler([this](const httplib::Request& request, httplib::Response& response) {
    const auto match = check_head(request, access_);
    if (match) return 100;
    put(match.error(), response);
    return match.error().status;
  });
  // What httplib refuses by itself has no body yet.
  set_error_handler(Handler([](const httplib::Request&, httplib::Response& response) {
    if (!response.body.empty()) return;
    put(ApiError{.status = response.status, .code = "bad-request", .message = "this is no proper HTTP request"},
        response);
  }));
  set_exception_handler([](const httplib::Request&, httplib::Response& response, const std::exception_ptr&) {
    put(ApiError{.code = "system", .message = "the request could not be handled"}, response);
  });
  const Handler handler = [this](const auto& request, auto& response) { handle(request, response); };
  const std::string any = R"([\s\S]*)";
  Get(any, handler);
  Post(any, handler);
  Put(any, handler);
  Delete(any, handler);

  threads_.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) threads_.emplace_back([this] { take_connections(); });
}

void Door::close() {
  if (stopping_.exchange(true)) return;
  svr_sock_ = INVALID_SOCKET;
  ::eventfd_write(stop_.get(), 1);
  listener_.close();
  for (std::thread& thread : threads_) thread.join();
}

void Door::take_connections() {
  ::pthread_setname_np(::pthread_self(), access_ == Access::kControl ? "http-control" : "http-read");
  // Signals are for the main thread.
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
  while (!stopping_) {
    Fd client(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (client.valid()) {
      serve(std::move(client));
    } else if (!stopping_ && errno != EINTR && errno != ECONNABORTED) {
      std::this_thread::sleep_for(kPauseWhenShort);
    }
  }
}

void Door::serve(Fd client) {
  HttpConnection connection(std::move(client), stop_.get());
  bool closed = false;
  process_request(connection, /*close_connection=*/true, closed, [&](httplib::Request& request) {
    // Answers go to the same machine, whole and as they are.
    request.ranges.clear();
    request.headers.erase("Accept-Encoding");
    // Any body is JSON, whatever curl -d calls it. Without a length there is none.
    request.headers.erase("Content-Type");
    if (!request.has_header("Content-Length")) request.set_header("Content-Length", "0");
    connection.head_is_done(request.get_header_value<uint64_t>("Content-Length"));
    if (const auto match = check_head(request, access_); match && match->route->handle == nullptr)
      connection.answer_is_endless();
  });
}

void Door::handle(const httplib::Request& request, httplib::Response& response) {
  const auto match = find_route(request.method, request.path, access_);
  if (!match) return put(match.error(), response);
  const ApiRequest asked = to_api(request);
  if (match->route->handle != nullptr) return put(answer(*match, asked, operations_), response);
  if (const auto checked = check_query(*match->route, asked); !checked) return put(checked.error(), response);
  stream_events(asked, request.get_header_value("Last-Event-ID"), response);
}

void Door::stream_events(const ApiRequest& request, const std::string& last_event_id, httplib::Response& response) {
  const auto after = events_after(request, last_event_id);
  if (!after) return put(after.error(), response);
  if (event_streams_++ >= kMaxEventStreams) {
    --event_streams_;
    return put(ApiError{.status = 429,
                        .code = "limit",
                        .message = fmt::format("{} listen to events already: more are not possible", kMaxEventStreams)},
               response);
  }
  const auto guest = request.query.find("guest");
  const auto stream =
      std::make_shared<EventStream>(operations_.events(), *after, guest == request.query.end() ? "" : guest->second);
  response.set_header("Cache-Control", "no-cache");
  response.set_chunked_content_provider(
      "text/event-stream",
      [stream](size_t, httplib::DataSink& sink) {
        const std::string text = stream->next();
        if (!text.empty()) sink.write(text.data(), text.size());
        if (stream->ended()) sink.done();
        return sink.is_writable();
      },
      [this](bool) { --event_streams_; });
}

Result<std::unique_ptr<Door>> open_door(const std::filesystem::path& path, const std::optional<std::string>& group,
                                        Access access, Operations& operations) {
  HW_TRY(UnixListener listener, UnixListener::open(path, group));
  Fd stop(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop.valid()) return fail_errno(errno, "make an eventfd");
  return std::make_unique<Door>(std::move(listener), std::move(stop), access, operations);
}

}  // namespace

struct HttpServer::Impl {
  std::vector<std::unique_ptr<Door>> doors;
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::start(const ControlSockets& sockets, Operations& operations) {
  auto impl = std::make_unique<Impl>();
  HW_TRY(auto control, open_door(sockets.control, sockets.control_group, Access::kControl, operations));
  impl->doors.push_back(std::move(control));
  if (!sockets.read.empty()) {
    HW_TRY(auto read, open_door(sockets.read, sockets.read_group, Access::kRead, operations));
    impl->doors.push_back(std::move(read));
  }
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

void HttpServer::stop() {
  for (const auto& door : impl_->doors) door->close();
}

}  // namespace hyperward::daemon
