// SPDX-License-Identifier: BSD-2-Clause
//
// A filter module as a small class: the C++ face of module.h, which says what a module is, when it is asked, how
// answers combine and what of a guest can be trusted. C++17; a header alone, nothing to link.
//
//   #include <hyperward/module.hpp>
//
//   using namespace hyperward::module;
//
//   namespace {
//   class NoTelnet {
//    public:
//     Answer judge(const View&, const Packet& packet) {
//       return packet.is_tcp() && packet.remote.port == 23 ? deny("telnet is not for us") : allow();
//     }
//   };
//   }  // namespace
//
//   HYPERWARD_MODULE(NoTelnet, "no-telnet", "1.0", "denies telnet");
//
// The class has
//   judge(const View&, const Packet&) -> Answer         asked for one flow, or one packet
//   Class(std::string_view settings), or Class()        settings: the text of a JSON object; Class() takes none
//   counters() const -> std::vector<Counter>            if it counts something
// and may throw: out of its constructor, and the module is refused with what() as the reason; out of judge(), and the
// answer is a fault: the packet meets the guest's default. Nothing thrown leaves the module.
//
// Two versions of a module may be loaded side by side, while one takes over from the other. So all of this is hidden in
// the module that includes it. Build with the flags of `pkg-config --cflags hyperward-module`, which do the same for
// the module's own code: docs/writing-a-module.md.
#ifndef HYPERWARD_MODULE_HPP
#define HYPERWARD_MODULE_HPP

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "hyperward/module.h"

#pragma GCC visibility push(hidden)
namespace hyperward::module {

// The enums of module.h.
enum class Verdict : uint8_t { kAllow = HYPERWARD_ALLOW, kDeny = HYPERWARD_DENY };
enum class Direction : uint8_t { kOut = HYPERWARD_OUT, kIn = HYPERWARD_IN };
enum class Why : uint8_t {
  kNewFlow = HYPERWARD_NEW_FLOW,
  kRulesChanged = HYPERWARD_RULES_CHANGED,
  kOwnerAged = HYPERWARD_OWNER_AGED,
  kExpired = HYPERWARD_EXPIRED,
};
enum class How : uint8_t {
  kCredentials = HYPERWARD_BY_CREDENTIALS,
  kWaitQueue = HYPERWARD_BY_WAIT_QUEUE,
  kIndex = HYPERWARD_BY_INDEX,
  kWalk = HYPERWARD_BY_WALK,
  kListener = HYPERWARD_BY_LISTENER,
  kSocketOnly = HYPERWARD_BY_SOCKET_ONLY,
  kNotFound = HYPERWARD_NOT_FOUND_OUT,
};
enum class Error {
  kUnreadable = HYPERWARD_UNREADABLE,
  kNotFound = HYPERWARD_NOT_FOUND,
  kInconsistent = HYPERWARD_INCONSISTENT,
  kLimit = HYPERWARD_LIMIT,
  kUnsupported = HYPERWARD_UNSUPPORTED,
  kInvalid = HYPERWARD_INVALID,
};

[[nodiscard]] inline const char* to_string(Error error) {
  switch (error) {
    case Error::kUnreadable: return "the guest cannot be read there";
    case Error::kNotFound: return "the guest has no such thing";
    case Error::kInconsistent: return "the guest's memory contradicts itself";
    case Error::kLimit: return "one call may read no more of the guest";
    case Error::kUnsupported: return "this kernel, or this hyperward, has no such thing";
    case Error::kInvalid: return "the arguments are wrong";
  }
  return "an unknown error";
}

// What Result::value() throws.
class Failure : public std::runtime_error {
 public:
  explicit Failure(Error error) : std::runtime_error(to_string(error)), error_(error) {}
  [[nodiscard]] Error error() const { return error_; }

 private:
  Error error_;
};

// A T, or why there is none. `if (result)` and `*result`, or value(), which throws: a fault, unless it is caught.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Error error) : error_(error) {}

  explicit operator bool() const { return value_.has_value(); }
  const T& operator*() const { return *value_; }  // only when there is one
  const T* operator->() const { return &*value_; }
  [[nodiscard]] Error error() const { return error_; }  // only when there is none

  const T& value() const& { return value_ ? *value_ : throw Failure(error_); }
  T value() && { return value_ ? *std::move(value_) : throw Failure(error_); }

 private:
  std::optional<T> value_;
  Error error_{};
};

// ---- Addresses

// IPv4 or IPv6, in network byte order; IPv4 is kept v4-mapped.
class Address {
 public:
  Address() = default;  // ::
  explicit Address(const uint8_t (&bytes)[16]) { std::copy(std::begin(bytes), std::end(bytes), bytes_.begin()); }
  // "10.0.0.1" or "2001:db8::1". Throws std::invalid_argument, with the text.
  explicit Address(const std::string& text) {
    std::array<uint8_t, 16> v4{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (::inet_pton(AF_INET, text.c_str(), v4.data() + 12) == 1)
      bytes_ = v4;
    else if (::inet_pton(AF_INET6, text.c_str(), bytes_.data()) != 1)
      throw std::invalid_argument("'" + text + "' is no IP address");
  }

  [[nodiscard]] bool is_v4() const {
    return std::all_of(bytes_.begin(), bytes_.begin() + 10, [](uint8_t byte) { return byte == 0; }) &&
           bytes_[10] == 0xff && bytes_[11] == 0xff;
  }
  [[nodiscard]] bool is_unspecified() const {  // 0.0.0.0 or ::
    return std::all_of(bytes_.begin() + (is_v4() ? 12 : 0), bytes_.end(), [](uint8_t byte) { return byte == 0; });
  }
  [[nodiscard]] const std::array<uint8_t, 16>& bytes() const { return bytes_; }

  friend bool operator==(const Address& a, const Address& b) { return a.bytes_ == b.bytes_; }
  friend bool operator!=(const Address& a, const Address& b) { return a.bytes_ != b.bytes_; }
  friend bool operator<(const Address& a, const Address& b) { return a.bytes_ < b.bytes_; }

 private:
  std::array<uint8_t, 16> bytes_{};
};

[[nodiscard]] inline std::string to_string(const Address& address) {
  char text[INET6_ADDRSTRLEN] = "";
  const uint8_t* const bytes = address.bytes().data();
  ::inet_ntop(address.is_v4() ? AF_INET : AF_INET6, address.is_v4() ? bytes + 12 : bytes, text, sizeof(text));
  return text;
}

// A prefix. One of IPv6 holds no address of IPv4, not even ::/0; as in rules.
class Network {
 public:
  // "10.0.0.0/8", "fd00::/8", or an address alone. Throws std::invalid_argument, with the text.
  explicit Network(const std::string& text) : base_(text.substr(0, text.find('/'))) {
    bits_ = base_.is_v4() ? 32 : 128;
    if (const size_t slash = text.find('/'); slash != std::string::npos) {
      unsigned bits = 0;
      const char* const end = text.data() + text.size();
      const auto [stop, error] = std::from_chars(text.data() + slash + 1, end, bits);
      if (error != std::errc() || stop != end || bits > bits_)
        throw std::invalid_argument("'" + text + "' is no network");
      bits_ = bits;
    }
    if (base_.is_v4()) bits_ += 96;
  }

  [[nodiscard]] bool contains(const Address& address) const {
    if (address.is_v4() != base_.is_v4()) return false;
    const unsigned whole_bytes = bits_ / 8, rest = bits_ % 8;
    if (!std::equal(base_.bytes().begin(), base_.bytes().begin() + whole_bytes, address.bytes().begin())) return false;
    return rest == 0 || ((base_.bytes()[whole_bytes] ^ address.bytes()[whole_bytes]) >> (8 - rest)) == 0;
  }

 private:
  Address base_;
  unsigned bits_ = 0;  // of the v4-mapped address
};

struct Endpoint {
  Address address;
  uint16_t port = 0;  // in the host's byte order

  friend bool operator==(const Endpoint& a, const Endpoint& b) { return a.port == b.port && a.address == b.address; }
  friend bool operator!=(const Endpoint& a, const Endpoint& b) { return !(a == b); }
  friend bool operator<(const Endpoint& a, const Endpoint& b) {
    return std::tie(a.address, a.port) < std::tie(b.address, b.port);
  }
};

[[nodiscard]] inline std::string to_string(const Endpoint& endpoint) {
  const std::string address = to_string(endpoint.address);
  return (endpoint.address.is_v4() ? address : "[" + address + "]") + ":" + std::to_string(endpoint.port);
}

// ---- What a module is asked about

// The struct as this header knows it. What its maker did not know is 0.
template <typename Raw>
[[nodiscard]] Raw whole(const Raw& raw) {
  Raw copy{};
  std::memcpy(&copy, &raw, std::min<size_t>(raw.size, sizeof(Raw)));
  copy.size = sizeof(Raw);
  return copy;
}

template <size_t kRoom>
[[nodiscard]] std::string text_of(const char (&chars)[kRoom]) {
  return std::string(chars, ::strnlen(chars, kRoom));
}

// Bytes that belong to somebody else.
struct Bytes {
  const uint8_t* data = nullptr;
  size_t size = 0;

  [[nodiscard]] const uint8_t* begin() const { return data; }
  [[nodiscard]] const uint8_t* end() const { return data + size; }
  uint8_t operator[](size_t i) const { return data[i]; }
};

// What is known of the flow from its packets so far. Index 0: from the guest, 1: to the guest.
struct History {
  explicit History(const hyperward_history& raw)
      : verdict(static_cast<Verdict>(raw.verdict)),
        created(raw.created_ns),
        last_seen(raw.last_seen_ns),
        judged(raw.judged_ns),
        packets{raw.packets[0], raw.packets[1]},
        bytes{raw.bytes[0], raw.bytes[1]},
        dropped(raw.dropped) {}

  Verdict verdict;                                      // the last one, which all modules had a part in
  std::chrono::nanoseconds created, last_seen, judged;  // on the clock of Packet::time
  std::array<uint64_t, 2> packets, bytes;               // as on the wire
  uint64_t dropped;                                     // packets, both ways
};

// The packet in hand, and its flow. `local` is the guest's end. Keep no copy of `frame` beyond the call.
struct Packet {
  explicit Packet(const hyperward_packet& raw)
      : direction(static_cast<Direction>(raw.direction)),
        why(static_cast<Why>(raw.why)),
        protocol(raw.protocol),
        tcp_flags(raw.tcp_flags),
        icmp_type(raw.icmp_type),
        icmp_code(raw.icmp_code),
        vlan(raw.vlan),
        local{Address(raw.local_address), raw.local_port},
        remote{Address(raw.remote_address), raw.remote_port},
        time(raw.time_ns),
        frame_bytes(raw.frame_bytes),
        frame{raw.frame, raw.captured_bytes} {
    if (raw.history != nullptr) history.emplace(whole(*raw.history));
  }

  Direction direction;  // of the flow: who began it
  Why why;
  uint8_t protocol;   // of the IP header
  uint8_t tcp_flags;  // of this packet
  uint8_t icmp_type, icmp_code;
  uint16_t vlan;           // 0: none
  Endpoint local, remote;  // ICMP queries: their identifier as the port
  std::chrono::nanoseconds time;
  uint32_t frame_bytes;            // on the wire; 0: no packet is in hand, the flow alone is judged
  Bytes frame;                     // from the Ethernet header on; empty unless the module needs it
  std::optional<History> history;  // none for a new flow

  [[nodiscard]] bool is_tcp() const { return protocol == IPPROTO_TCP; }
  [[nodiscard]] bool is_udp() const { return protocol == IPPROTO_UDP; }
  [[nodiscard]] bool is_icmp() const { return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6; }
};

// Whose flow it is. Addresses are the guest's; 0: not known.
struct Owner {
  explicit Owner(const hyperward_owner& raw)
      : how(static_cast<How>(raw.how)),
        comm(text_of(raw.comm)),
        start_time_ns(raw.start_time_ns),
        fd(raw.fd),
        task(raw.task),
        file(raw.file),
        socket(raw.socket),
        inode(raw.inode),
        network_namespace(raw.network_namespace) {
    if ((raw.known & HYPERWARD_KNOWN_UID) != 0) uid = raw.uid;
    if ((raw.known & HYPERWARD_KNOWN_GID) != 0) gid = raw.gid;
    if ((raw.known & HYPERWARD_KNOWN_PROCESS) != 0) pid = raw.pid;
  }

  How how;
  std::optional<uint32_t> uid, gid;
  std::optional<uint32_t> pid;  // with it the process is known: `comm`, `start_time_ns`, `task`
  std::string comm;             // as `ps -o comm` shows it; the process chooses it
  uint64_t start_time_ns;       // on the guest's monotonic clock
  uint32_t fd;
  uint64_t task, file, socket;  // struct task_struct, struct file, struct sock
  uint64_t inode;
  uint32_t network_namespace;
};

// A process, by its leader.
struct Task {
  explicit Task(const hyperward_task& raw)
      : address(raw.address),
        parent(raw.parent),
        pid(raw.pid),
        parent_pid(raw.parent_pid),
        uid(raw.uid),
        gid(raw.gid),
        kernel_thread(raw.kernel_thread != 0),
        start_time_ns(raw.start_time_ns),
        comm(text_of(raw.comm)) {}

  uint64_t address, parent;  // struct task_struct
  uint32_t pid, parent_pid;
  uint32_t uid, gid;  // real
  bool kernel_thread;
  uint64_t start_time_ns;
  std::string comm;
};

// An open file of a process.
struct File {
  explicit File(const hyperward_file& raw) : address(raw.address), socket(raw.socket), inode(raw.inode), fd(raw.fd) {}

  uint64_t address;  // struct file
  uint64_t socket;   // struct sock; 0: it is no socket
  uint64_t inode;
  uint32_t fd;
};

struct Socket {
  explicit Socket(const hyperward_socket& raw)
      : protocol(raw.protocol),
        state(raw.state),
        local{Address(raw.local_address), raw.local_port},
        remote{Address(raw.remote_address), raw.remote_port},
        uid(raw.uid),
        network_namespace(raw.network_namespace),
        inode(raw.inode) {}

  uint8_t protocol;
  uint8_t state;           // the kernel's: 1 established, 7 not connected, 10 listening, ...
  Endpoint local, remote;  // not connected: `remote` is :: and port 0
  uint32_t uid;
  uint32_t network_namespace;
  uint64_t inode;
};

// ---- What it says

// allow(), or deny("why"), and then what else there is to say. Without more it holds as long as the flow.
class [[nodiscard]] Answer {
 public:
  explicit Answer(Verdict verdict, std::string_view reason = {}) : verdict_(verdict) {
    reason_[reason.copy(reason_.data(), reason_.size() - 1)] = '\0';
  }

  Answer& code(uint32_t code) { return code_ = code, *this; }  // of the reason; below 2^20
  Answer& for_ms(uint32_t lifetime) { return lifetime_ms_ = lifetime, *this; }
  Answer& once() { return for_ms(0); }                // for this packet alone: the next one is asked about
  Answer& logged() { return logged_ = true, *this; }  // the flow belongs into the log

  // Fills what the caller knows of an answer.
  void write(hyperward_answer& out) const {
    hyperward_answer raw = whole(out);
    raw.size = out.size;
    raw.verdict = static_cast<uint8_t>(verdict_);
    raw.log = logged_ ? 1 : 0;
    raw.code = code_;
    raw.lifetime_ms = lifetime_ms_;
    std::copy(reason_.begin(), reason_.end(), raw.reason);
    std::memcpy(&out, &raw, std::min<size_t>(out.size, sizeof(raw)));
  }

 private:
  Verdict verdict_;
  bool logged_ = false;
  uint32_t code_ = 0;
  uint32_t lifetime_ms_ = HYPERWARD_FOREVER;
  std::array<char, HYPERWARD_REASON_BYTES> reason_{};
};

inline Answer allow(std::string_view reason = {}) {
  return Answer(Verdict::kAllow, reason);
}
// `reason`: for logs and events, cut after 63 bytes.
inline Answer deny(std::string_view reason) {
  return Answer(Verdict::kDeny, reason);
}

// `name`: of a-z, 0-9 and _; a literal. `value` only ever rises.
using Counter = hyperward_counter;

// ---- The guest

class View;

// A member of one of the kernel's types, by the names of its source; found once for each boot of the guest. A module
// keeps it among its members: Field loginuid_{"task_struct", "loginuid.val"}.
class Field {
 public:
  // The names must stay: literals.
  Field(const char* type, const char* path) : type_(type), path_(path) {}

 private:
  friend class View;
  const char* type_;
  const char* path_;
  uint64_t boot_ = 0;  // that `found_` is of
  hyperward_field found_{};
};

// The guest and the flow in hand, during one call of judge(). All that one call reads is bounded: Error::kLimit. A
// function that this hyperward does not have yet says Error::kUnsupported.
class View {
 public:
  View(const hyperward_host& host, hyperward_view* view) : host_(host), view_(view) {}
  View(const View&) = delete;
  View& operator=(const View&) = delete;

  // Which boot of the guest this is. Another number: addresses of before mean nothing. 0: the guest cannot be read.
  [[nodiscard]] uint64_t boot() const { return host_.boot(view_); }

  [[nodiscard]] Owner owner() const {
    auto raw = empty<hyperward_owner>();
    host_.owner(view_, &raw);
    return Owner(raw);
  }

  // Every process, oldest first. One may come twice when the guest disturbs the walk.
  Result<std::vector<Task>> tasks() const { return all<Task, hyperward_task>(host_.for_each_task, view_); }
  Result<Task> task_by_pid(uint32_t pid) const { return one<Task, hyperward_task>(host_.task_by_pid, pid); }
  Result<Task> task_at(uint64_t address) const { return one<Task, hyperward_task>(host_.task_at, address); }
  Result<std::vector<File>> files(uint64_t task) const {
    return all<File, hyperward_file>(host_.for_each_file, view_, task);
  }
  Result<Socket> socket_at(uint64_t address) const { return one<Socket, hyperward_socket>(host_.socket_at, address); }

  Result<std::string> executable(uint64_t task) const { return path_of(host_.executable, task); }  // "/usr/bin/curl"
  Result<std::string> cgroup(uint64_t task) const { return path_of(host_.cgroup, task); }  // "/system.slice/..."

  Result<hyperward_field> find(Field& field) const {
    const uint64_t now = boot();
    if (now == 0 || field.boot_ != now) {
      if (const int error = call(host_.field, field.type_, field.path_, &field.found_); error < 0) return failed(error);
      field.boot_ = now;
    }
    return field.found_;
  }
  Result<uint64_t> symbol(const char* name) const {
    uint64_t address = 0;
    if (const int error = call(host_.symbol, name, &address); error < 0) return failed(error);
    return address;
  }

  // The kernel's memory at `address`. The bytes are the guest's: check them.
  template <typename T>
  Result<T> read(uint64_t address) const {
    static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>, "the guest's bytes are no such object");
    T value{};
    if (const int error = call(host_.read, address, &value, sizeof(value)); error < 0) return failed(error);
    return value;
  }
  // `field` of the object at `object`. kUnsupported: in this kernel it is not as long as a T.
  template <typename T>
  Result<T> read(uint64_t object, Field& field) const {
    const auto found = find(field);
    if (!found) return found.error();
    if (found->size_bytes != sizeof(T)) return Error::kUnsupported;
    return read<T>(object + found->offset_bytes);
  }

  // What the module would have said, had it been asked to act on this.
  void remark(Verdict verdict, uint32_t code) const {
    if (host_.remark != nullptr) host_.remark(view_, static_cast<uint8_t>(verdict), code);
  }
  // One line for hyperward's log.
  void log(const std::string& line) const {
    if (host_.log != nullptr) host_.log(line.c_str());
  }

 private:
  static constexpr size_t kPathRoom = 4096;  // PATH_MAX

  template <typename Raw>
  static Raw empty() {
    Raw raw{};
    raw.size = sizeof(raw);
    return raw;
  }

  static Error failed(int error) { return static_cast<Error>(-error); }

  // What the host does not have is a null pointer: its table was made whole.
  template <typename... Parameters, typename... Arguments>
  int call(int (*function)(hyperward_view*, Parameters...), Arguments... arguments) const {
    return function == nullptr ? -HYPERWARD_UNSUPPORTED : function(view_, arguments...);
  }

  template <typename T, typename Raw, typename Key>
  Result<T> one(int (*function)(hyperward_view*, Key, Raw*), Key key) const {
    auto raw = empty<Raw>();
    if (const int error = call(function, key, &raw); error < 0) return failed(error);
    return T(raw);
  }

  template <typename T, typename Raw, typename Function, typename... Arguments>
  static Result<std::vector<T>> all(Function function, Arguments... arguments) {
    struct Walk {
      std::vector<T> found;
      std::exception_ptr thrown;  // kept while the host's frames are below us
      static int visit(void* context, const Raw* raw) noexcept {
        auto& walk = *static_cast<Walk*>(context);
        try {
          walk.found.emplace_back(whole(*raw));
          return 0;
        } catch (...) {
          walk.thrown = std::current_exception();
          return 1;
        }
      }
    } walk;
    if (function == nullptr) return Error::kUnsupported;
    const int error = function(arguments..., Walk::visit, &walk);
    if (walk.thrown != nullptr) std::rethrow_exception(walk.thrown);
    if (error < 0) return failed(error);
    return std::move(walk.found);
  }

  Result<std::string> path_of(int (*function)(hyperward_view*, uint64_t, char*, size_t), uint64_t task) const {
    char path[kPathRoom] = "";
    if (const int error = call(function, task, path, sizeof(path)); error < 0) return failed(error);
    return text_of(path);
  }

  const hyperward_host& host_;
  hyperward_view* view_;
};

// ---- The table

// What a module needs to be asked at all: needs_guest() | needs_frame(128).
struct Needs {
  uint32_t flags = 0;
  uint32_t frame_bytes = 0;
};

constexpr Needs needs_guest() {
  return {HYPERWARD_NEEDS_GUEST, 0};
}
constexpr Needs needs_frame(uint32_t bytes) {
  return {HYPERWARD_NEEDS_FRAME, bytes};
}
constexpr Needs operator|(Needs a, Needs b) {
  return {a.flags | b.flags, a.frame_bytes > b.frame_bytes ? a.frame_bytes : b.frame_bytes};
}

// The functions of a table, over a Class. Here nothing thrown goes further.
template <typename Class>
class Functions {
 public:
  static int create(const hyperward_host* host, const char* settings, void** instance, char* error,
                    size_t room) noexcept {
    const auto refuse = [&](std::string_view why) {
      if (room != 0) error[why.copy(error, room - 1)] = '\0';
      return 1;
    };
    try {
      *instance = make(*host, settings);
      return 0;
    } catch (const std::exception& thrown) {
      return refuse(thrown.what());
    } catch (...) {
      return refuse("it threw something that is no std::exception");
    }
  }

  static void destroy(void* instance) noexcept { delete static_cast<Instance*>(instance); }

  static void judge(void* instance, hyperward_view* view, const hyperward_packet* packet,
                    hyperward_answer* answer) noexcept {
    auto& self = *static_cast<Instance*>(instance);
    try {
      self.module.judge(View(self.host, view), Packet(whole(*packet))).write(*answer);
    } catch (const std::exception& thrown) {
      fault(thrown.what()).write(*answer);
    } catch (...) {
      fault("it threw something that is no std::exception").write(*answer);
    }
  }

  template <typename Counting = Class>
  static auto counters(void* instance, hyperward_counter* out, size_t room) noexcept
      -> decltype(std::declval<const Counting&>().counters(), size_t()) {
    try {
      const std::vector<Counter> counters = static_cast<const Instance*>(instance)->module.counters();
      const size_t count = std::min(counters.size(), room);
      std::copy_n(counters.begin(), count, out);
      return count;
    } catch (...) {
      return 0;
    }
  }

 private:
  struct Instance {
    hyperward_host host;  // whole: what it lacks is a null pointer
    Class module;
  };

  static Instance* make(const hyperward_host& host, std::string_view settings) {
    if constexpr (std::is_constructible_v<Class, std::string_view>) {
      return new Instance{whole(host), Class(settings)};
    } else {
      const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
      std::string bare(settings);
      bare.erase(std::remove_if(bare.begin(), bare.end(), is_space), bare.end());
      if (bare != "{}") throw std::invalid_argument("it takes no settings");
      return new Instance{whole(host), Class()};
    }
  }

  static Answer fault(std::string_view why) { return Answer(Verdict{}, why); }
};

template <typename Class, typename = void>
inline constexpr bool kCounts = false;
template <typename Class>
inline constexpr bool kCounts<Class, std::void_t<decltype(std::declval<const Class&>().counters())>> = true;

// The table of a Class. The strings must stay: literals.
template <typename Class>
constexpr hyperward_module table(const char* name, const char* version, const char* description, Needs needs = {}) {
  hyperward_module table{};
  table.size = sizeof(table);
  table.abi = HYPERWARD_ABI;
  table.name = name;
  table.version = version;
  table.description = description;
  table.needs = needs.flags;
  table.frame_bytes = needs.frame_bytes;
  table.create = Functions<Class>::create;
  table.destroy = Functions<Class>::destroy;
  table.judge = Functions<Class>::judge;
  if constexpr (kCounts<Class>) table.counters = Functions<Class>::template counters<>;
  return table;
}

}  // namespace hyperward::module
#pragma GCC visibility pop

// Makes the one symbol that a module exports: HYPERWARD_MODULE(Class, "name", "1.0", "one line", needs_guest());
#define HYPERWARD_MODULE(Class, ...) \
  HYPERWARD_EXPORT const struct hyperward_module hyperward_module = ::hyperward::module::table<Class>(__VA_ARGS__)

#endif  // HYPERWARD_MODULE_HPP
