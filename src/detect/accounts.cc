#include "detect/accounts.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>

namespace hyperward::detect {

size_t AccountHash::operator()(const AccountKey& key) const noexcept {
  std::array<uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), &key.start_time_ns, sizeof(key.start_time_ns));
  std::memcpy(bytes.data() + sizeof(key.start_time_ns), &key.id, sizeof(key.id));
  bytes.back() = static_cast<uint8_t>(key.who);
  return hash({.source = {IpAddress::v6(bytes), 0}, .destination = {}});
}

Meter& Logins::at(const Endpoint& remote, Time now, double burst, std::chrono::nanoseconds interval) {
  const auto known = std::find_if(services_.begin(), services_.end(),
                                  [&](const Service& service) { return service.remote == remote; });
  if (known != services_.end()) return known->meter;
  if (services_.size() < kMaxServices) return services_.emplace_back(Service{.remote = remote}).meter;

  const auto level = [&](const Service& service) { return service.meter.own.level(now, burst, interval); };
  const auto fullest = std::max_element(services_.begin(), services_.end(),
                                        [&](const Service& a, const Service& b) { return level(a) < level(b); });
  *fullest = {.remote = remote};
  return fullest->meter;
}

size_t Account::bytes() const {
  constexpr size_t kNodes = 8 * sizeof(void*);  // of list and map, with what the heap wants
  return sizeof(Account) + sizeof(AccountKey) + kNodes + contacts.bytes() + targets.bytes() + logins.bytes() +
         reports.bytes();
}

Account* Accounts::find(const AccountKey& key) {
  const auto known = known_.find(key);
  return known == known_.end() ? nullptr : &*known->second;
}

Account& Accounts::touch(const AccountKey& key) {
  if (const auto known = known_.find(key); known != known_.end()) {
    accounts_.splice(accounts_.begin(), accounts_, known->second);
    return accounts_.front();
  }
  if (accounts_.size() >= max_) make_room();
  accounts_.push_front({.key = key});
  known_.emplace(key, accounts_.begin());
  return accounts_.front();
}

// Of those idle longest, the one of which the least is held: a crowd of processes with one connection each does not
// push out the one among them that scans.
void Accounts::make_room() {
  auto least = std::prev(accounts_.end());
  auto candidate = least;
  for (size_t i = 1; i < kEvictionCandidates && candidate != accounts_.begin(); ++i) {
    --candidate;
    if (candidate->contacts.size() < least->contacts.size()) least = candidate;
  }
  known_.erase(least->key);
  accounts_.erase(least);
}

size_t Accounts::bytes() const {
  size_t bytes = known_.bucket_count() * sizeof(void*);
  for (const Account& account : accounts_) bytes += account.bytes();
  return bytes;
}

}  // namespace hyperward::detect
