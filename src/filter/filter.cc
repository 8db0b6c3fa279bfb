#include "filter/filter.h"

namespace hyperward::filter {

Judgement identify(guest::Guest* guest, Protocol protocol, const Endpoint& local, const Endpoint& remote, Began began) {
  Judgement judgement;
  if (guest != nullptr) judgement.owner = guest->owner(protocol, local, remote);

  const bool inbound =
      began == Began::kWorld || (began == Began::kNotSeen && guest != nullptr && guest->listens(protocol, local));
  judgement.flow = {.direction = inbound ? policy::Direction::kIn : policy::Direction::kOut,
                    .protocol = protocol,
                    .local = local,
                    .remote = remote};
  return judgement;
}

}  // namespace hyperward::filter
