#include "filter/question.h"

#include <algorithm>
#include <cstring>

namespace hyperward::filter {
namespace {

uint64_t now_ns() {
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

IpAddress address_from(const uint8_t (&bytes)[16]) {
  std::array<uint8_t, 16> copy;
  std::ranges::copy(bytes, copy.begin());
  return IpAddress::v6(copy);
}

}  // namespace

hyperward_owner to_abi(const guest::Owner& owner) {
  hyperward_owner abi{};
  abi.size = sizeof(abi);
  abi.how = static_cast<uint8_t>(owner.how);
  abi.reason = static_cast<uint8_t>(owner.reason);
  abi.fd = owner.evidence.fd;
  abi.task = owner.evidence.task.value;
  abi.file = owner.evidence.file.value;
  abi.socket = owner.evidence.socket.value;
  abi.inode = owner.evidence.inode;
  abi.network_namespace = owner.evidence.network_namespace;
  if (owner.uid) {
    abi.known |= HYPERWARD_KNOWN_UID;
    abi.uid = *owner.uid;
  }
  if (owner.gid) {
    abi.known |= HYPERWARD_KNOWN_GID;
    abi.gid = *owner.gid;
  }
  if (owner.process) {
    abi.known |= HYPERWARD_KNOWN_PROCESS;
    abi.pid = owner.process->pid;
    abi.start_time_ns = owner.process->start_time_ns;
    owner.process->comm.copy(abi.comm, sizeof(abi.comm) - 1);
  }
  return abi;
}

Question question_of(const packet::FlowKey& flow, policy::Direction direction, hyperward_why why,
                     const guest::Owner& owner, const packet::Packet* packet, std::span<const std::byte> frame) {
  Question question;
  hyperward_packet& abi = question.packet;
  abi.size = sizeof(abi);
  abi.direction = direction == policy::Direction::kIn ? HYPERWARD_IN : HYPERWARD_OUT;
  abi.why = static_cast<uint8_t>(why);
  abi.protocol = static_cast<uint8_t>(flow.protocol);
  std::ranges::copy(flow.source.address.bytes(), abi.local_address);
  std::ranges::copy(flow.destination.address.bytes(), abi.remote_address);
  abi.local_port = flow.source.port;
  abi.remote_port = flow.destination.port;
  abi.vlan = flow.vlan_id;
  abi.time_ns = now_ns();
  abi.frame_bytes = static_cast<uint32_t>(frame.size());
  if (packet != nullptr) {
    abi.tcp_flags = packet->tcp.flags;
    abi.icmp_type = packet->icmp.type;
    abi.icmp_code = packet->icmp.code;
  }
  question.owner = to_abi(owner);
  question.frame = frame;
  return question;
}

policy::Flow flow_of(const hyperward_packet& packet) {
  return {.direction = packet.direction == HYPERWARD_IN ? policy::Direction::kIn : policy::Direction::kOut,
          .protocol = static_cast<Protocol>(packet.protocol),
          .local = {address_from(packet.local_address), packet.local_port},
          .remote = {address_from(packet.remote_address), packet.remote_port}};
}

policy::Subject subject_of(const hyperward_owner& owner) {
  policy::Subject subject;
  if ((owner.known & HYPERWARD_KNOWN_UID) != 0) subject.uid = owner.uid;
  if ((owner.known & HYPERWARD_KNOWN_GID) != 0) subject.gid = owner.gid;
  if ((owner.known & HYPERWARD_KNOWN_PROCESS) != 0) {
    subject.pid = owner.pid;
    subject.comm = std::string_view(owner.comm, ::strnlen(owner.comm, sizeof(owner.comm)));
  }
  return subject;
}

void Answer::remark(const Remark& remark) {
  if (remark_count_ == remarks_.size()) {
    ++remarks_left_out;
    return;
  }
  remarks_[remark_count_++] = remark;
}

Result<Answer> answer_from(const hyperward_answer& raw) {
  const std::string_view reason(raw.reason, ::strnlen(raw.reason, sizeof(raw.reason)));
  if (raw.verdict != HYPERWARD_ALLOW && raw.verdict != HYPERWARD_DENY) {
    if (reason.empty()) return fail(Code::kInvalid, "it answered {}, which is no verdict", raw.verdict);
    return fail(Code::kInvalid, "it failed: {}", guest::printable(reason));
  }
  Answer answer;
  answer.verdict = raw.verdict == HYPERWARD_ALLOW ? policy::Verdict::kAllow : policy::Verdict::kDeny;
  answer.log = raw.log != 0;
  answer.code = raw.code;
  answer.lifetime = std::chrono::milliseconds(raw.lifetime_ms);
  answer.reason = reason;
  return answer;
}

}  // namespace hyperward::filter
