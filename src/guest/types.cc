#include "guest/types.h"

#include <fmt/format.h>

#include <iterator>

namespace hyperward::guest {
namespace {

// Bytes of the well-formed UTF-8 sequence that `text` begins with (RFC 3629), 0 when it begins with none. Control
// characters, C1 ones too, count as none.
size_t printable_bytes(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto continues = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const unsigned first = byte(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
  if (first >= 0xc2 && first <= 0xdf) return continues(1) && (first != 0xc2 || byte(1) >= 0xa0) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    if (!continues(1) || !continues(2)) return 0;
    const bool overlong = first == 0xe0 && byte(1) < 0xa0;
    const bool surrogate = first == 0xed && byte(1) > 0x9f;
    // Line and paragraph separators, and the marks that turn the direction of text.
    const unsigned code = (first & 0xf) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    const bool layout = (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
                        (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
    return overlong || surrogate || layout ? 0 : 3;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    if (!continues(1) || !continues(2) || !continues(3)) return 0;
    return (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f) ? 0 : 4;
  }
  return 0;
}

}  // namespace

std::string printable(std::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    const size_t length = bytes.front() == '\\' ? 0 : printable_bytes(bytes);
    if (length == 0) {
      fmt::format_to(std::back_inserter(text), "\\x{:02x}", static_cast<unsigned char>(bytes.front()));
      bytes.remove_prefix(1);
    } else {
      text += bytes.substr(0, length);
      bytes.remove_prefix(length);
    }
  }
  return text;
}

std::string to_string(Protocol protocol, TcpState state) {
  if (protocol != Protocol::kTcp && state == TcpState::kClose) return "UNCONN";
  switch (state) {
    case TcpState::kEstablished: return "ESTAB";
    case TcpState::kSynSent: return "SYN-SENT";
    case TcpState::kSynReceived:
    case TcpState::kNewSynReceived: return "SYN-RECV";
    case TcpState::kFinWait1: return "FIN-WAIT-1";
    case TcpState::kFinWait2: return "FIN-WAIT-2";
    case TcpState::kTimeWait: return "TIME-WAIT";
    case TcpState::kClose: return "CLOSED";
    case TcpState::kCloseWait: return "CLOSE-WAIT";
    case TcpState::kLastAck: return "LAST-ACK";
    case TcpState::kListen: return "LISTEN";
    case TcpState::kClosing: return "CLOSING";
    case TcpState::kUnknown: break;
  }
  return "UNKNOWN";
}

const char* to_string(How how) {
  switch (how) {
    case How::kCredentials: return "credentials";
    case How::kWaitQueue: return "wait queue";
    case How::kIndex: return "index";
    case How::kWalk: return "walk";
    case How::kListener: return "listener";
    case How::kSocketOnly: return "socket";
    case How::kUnknown: break;
  }
  return "unknown";
}

const char* to_string(Reason reason) {
  switch (reason) {
    case Reason::kNone: break;
    case Reason::kProtocol: return "neither TCP nor UDP";
    case Reason::kNoSocket: return "no socket of the guest has these endpoints";
    case Reason::kTimeWait: return "its socket is closed, the connection lingers in TIME-WAIT";
    case Reason::kOrphan: return "its process has closed the socket, the kernel still sends what is left";
    case Reason::kNotAccepted: return "no process has accepted the connection yet";
    case Reason::kKernel: return "the guest's kernel opened the socket itself";
    case Reason::kAmbiguous: return "several answers, none more right than the others";
    case Reason::kNotConfirmed: return "no process was found that holds the socket";
    case Reason::kInconsistent: return "the guest's memory kept changing or contradicts itself";
  }
  return "";
}

std::string to_string(const Owner& owner) {
  std::string text = owner.uid ? fmt::format("uid {}", *owner.uid) : std::string("unknown");
  if (owner.process) text += fmt::format(", {} (pid {})", printable(owner.process->comm), owner.process->pid);
  text += fmt::format(", by {}", to_string(owner.how));
  if (owner.reason != Reason::kNone) text += fmt::format(": {}", to_string(owner.reason));
  const Evidence& evidence = owner.evidence;
  if (!evidence.socket.is_null())
    text += fmt::format("; {} socket {:#x} {}", to_string(evidence.protocol), evidence.socket.value,
                        to_string(evidence.protocol, evidence.state));
  if (evidence.inode != 0) text += fmt::format(" inode {}", evidence.inode);
  if (owner.process) text += fmt::format(" fd {}", evidence.fd);
  if (evidence.network_namespace != 0) text += fmt::format(" netns {}", evidence.network_namespace);
  return text;
}

}  // namespace hyperward::guest
