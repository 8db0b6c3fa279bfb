#include "filter/filter.h"

namespace hyperward::filter {

policy::Subject subject_of(const guest::Owner& owner) {
  policy::Subject subject;
  subject.uid = owner.uid;
  subject.gid = owner.gid;
  if (owner.process) {
    subject.pid = owner.process->pid;
    subject.comm = owner.process->comm;
  }
  return subject;
}

Judgement judge(const RuleChain& rules, guest::Guest* guest, Protocol protocol, const Endpoint& local,
                const Endpoint& remote, Began began) {
  Judgement judgement;
  if (guest != nullptr) judgement.owner = guest->owner(protocol, local, remote);

  const bool inbound =
      began == Began::kWorld || (began == Began::kNotSeen && guest != nullptr && guest->listens(protocol, local));
  judgement.flow = {.direction = inbound ? policy::Direction::kIn : policy::Direction::kOut,
                    .protocol = protocol,
                    .local = local,
                    .remote = remote};
  judgement.decision = rules.decide(judgement.flow, subject_of(judgement.owner));
  return judgement;
}

}  // namespace hyperward::filter
