// What the guest layer tells of a guest: its processes, its sockets, and who owns a flow.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/net.h"
#include "memory/address.h"

namespace hyperward::guest {

// A process (thread group), by the numbers of the guest's initial pid and user namespaces.
struct Process {
  memory::GuestVirtual task{};  // struct task_struct of the thread group's leader
  uint32_t pid = 0;
  uint32_t parent_pid = 0;
  uint32_t uid = 0;  // real
  uint32_t gid = 0;
  uint32_t effective_uid = 0;
  uint32_t effective_gid = 0;
  char state = '?';               // as /proc/PID/stat has it: R S D T t X Z P I
  std::string comm;               // at most 15 bytes of the guest's choice: see printable()
  std::vector<std::string> args;  // the command line as the process's memory holds it; empty for kernel threads
  uint64_t start_time_ns = 0;     // on the guest's monotonic clock; with pid it names one process for ever
  bool kernel_thread = false;
  uint32_t threads = 0;
};

// What a look at the task list tells of a process; the rest is asked for by its address.
struct TaskInfo {
  memory::GuestVirtual address{};  // struct task_struct of the thread group's leader
  memory::GuestVirtual parent{};   // the parent's, for Guest::task_at(); the idle task, pid 0, is its own
  uint32_t pid = 0;
  uint32_t parent_pid = 0;
  uint32_t uid = 0;  // real
  uint32_t gid = 0;
  std::string comm;            // at most 15 bytes of the guest's choice: see printable()
  uint64_t start_time_ns = 0;  // on the guest's monotonic clock; with pid it names one process for ever
  bool kernel_thread = false;
};

// A file that a process has open.
struct OpenFile {
  uint32_t fd = 0;
  memory::GuestVirtual file{};  // struct file
  uint64_t inode = 0;           // number within its file system
  memory::GuestVirtual sock{};  // struct sock, for Guest::socket(); null: the file is no socket
};

// Names one process among all that this guest ever ran since its boot.
struct ProcessId {
  uint32_t pid = 0;
  std::string comm;
  uint64_t start_time_ns = 0;
  friend bool operator==(const ProcessId& a, const ProcessId& b) {
    return a.pid == b.pid && a.start_time_ns == b.start_time_ns;
  }
};

// The kernel's numbers (include/net/tcp_states.h). UDP sockets are kEstablished (connected) or kClose (not).
enum class TcpState : uint8_t {
  kUnknown = 0,
  kEstablished = 1,
  kSynSent = 2,
  kSynReceived = 3,
  kFinWait1 = 4,
  kFinWait2 = 5,
  kTimeWait = 6,
  kClose = 7,
  kCloseWait = 8,
  kLastAck = 9,
  kListen = 10,
  kClosing = 11,
  kNewSynReceived = 12,  // a request socket: the handshake is under way
};

// As `ss` writes it: "ESTAB", "LISTEN", "TIME-WAIT"; a UDP socket that is not connected is "UNCONN".
[[nodiscard]] std::string to_string(Protocol protocol, TcpState state);

struct SocketHolder {
  uint32_t pid = 0;
  uint32_t fd = 0;
  std::string comm;
};

struct Socket {
  Protocol protocol = Protocol::kTcp;
  bool v6 = false;  // of family AF_INET6, even when it speaks IPv4
  TcpState state = TcpState::kUnknown;
  Endpoint local;
  Endpoint remote;  // unspecified and 0 when there is none
  uint32_t uid = 0;
  uint64_t inode = 0;              // 0: not (or no longer) open in a process
  uint32_t network_namespace = 0;  // inode number of the namespace, as `readlink /proc/PID/ns/net` shows it
  uint32_t receive_queue = 0;      // bytes; for a listener, connections that wait for accept()
  uint32_t send_queue = 0;         // bytes; for a listener, the backlog's limit
  std::vector<SocketHolder> holders;
};

// How an owner was found, best first.
enum class How : uint8_t {
  kCredentials,  // the credentials that opened the socket are this process's own, and its fd table holds it
  kWaitQueue,    // this process waits on the socket, and its fd table holds it
  kIndex,        // known from before, and its fd table still holds it
  kWalk,         // found by looking through every fd table
  kListener,     // no socket of its own yet: the owner is the listening socket's
  kSocketOnly,   // the socket tells the user; the process is not known
  kUnknown,
};

// Why an answer is less than a process.
enum class Reason : uint8_t {
  kNone,
  kProtocol,      // neither TCP nor UDP
  kNoSocket,      // no socket of the guest has these endpoints
  kTimeWait,      // the socket is closed, its connection lingers
  kOrphan,        // closed by its process, the kernel still sends what is left
  kNotAccepted,   // no process has accepted the connection yet
  kKernel,        // opened by the guest's kernel itself
  kAmbiguous,     // several processes (or sockets) answer, and none is more right than the others
  kNotConfirmed,  // no process was found that holds the socket
  kInconsistent,  // the guest's memory kept changing, or contradicts itself
};

// Where in the guest's memory the answer comes from; what is not known is null or 0.
struct Evidence {
  memory::GuestVirtual socket{};  // struct sock
  memory::GuestVirtual file{};    // struct file
  memory::GuestVirtual task{};    // struct task_struct of the thread group's leader
  uint64_t inode = 0;
  Protocol protocol = Protocol::kTcp;
  TcpState state = TcpState::kUnknown;
  uint32_t fd = 0;
  uint32_t network_namespace = 0;
};

struct Owner {
  How how = How::kUnknown;
  Reason reason = Reason::kNoSocket;
  std::optional<uint32_t> uid = std::nullopt;  // of the socket: who opened it
  std::optional<uint32_t> gid = std::nullopt;  // of the credentials that opened it
  std::optional<ProcessId> process = std::nullopt;
  std::vector<SocketHolder> others;  // further processes that hold it, as far as they are known
  Evidence evidence{};
};

[[nodiscard]] const char* to_string(How how);
[[nodiscard]] const char* to_string(Reason reason);
// "uid 1000, nc (pid 412), by credentials; tcp socket 0xffff8880... ESTAB inode 8123 fd 3 netns 4026531840"
[[nodiscard]] std::string to_string(const Owner& owner);

// The guest's bytes for a terminal or a log: printable ASCII and well-formed UTF-8 as they are, all else as \xNN.
[[nodiscard]] std::string printable(std::string_view bytes);

}  // namespace hyperward::guest
