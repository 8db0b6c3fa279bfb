// The accounts: what each owner has done of late.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <unordered_map>
#include <vector>

#include "detect/contacts.h"
#include "detect/finding.h"
#include "detect/meter.h"
#include "detect/reports.h"
#include "detect/targets.h"
#include "packet/packet.h"

namespace hyperward::detect {

struct AccountKey {
  enum class Who : uint8_t { kUnknown, kUser, kProcess };

  Who who = Who::kUnknown;
  uint32_t id = 0;             // uid or pid
  uint64_t start_time_ns = 0;  // of a process

  friend bool operator==(const AccountKey&, const AccountKey&) = default;
};

struct AccountHash {
  packet::FlowHash hash;
  [[nodiscard]] size_t operator()(const AccountKey& key) const noexcept;
};

// Meters of the login services that one account uses. The fullest bucket makes room: it has the least to tell.
class Logins {
 public:
  static constexpr size_t kMaxServices = 32;

  [[nodiscard]] Meter& at(const Endpoint& remote, Time now, double burst, std::chrono::nanoseconds interval);
  [[nodiscard]] size_t bytes() const { return services_.capacity() * sizeof(Service); }

 private:
  struct Service {
    Endpoint remote;
    Meter meter{};
  };
  std::vector<Service> services_;
};

struct Account {
  AccountKey key;
  Culprit culprit{};  // as of the last flow
  Contacts contacts{};
  Targets targets{};
  Meter mail{};
  Logins logins{};
  Reports reports{};
  Time last{};             // flow
  bool unsettled = false;  // something may still follow from it without a further flow

  [[nodiscard]] size_t bytes() const;
};

class Accounts {
 public:
  static constexpr size_t kEvictionCandidates = 8;

  Accounts(size_t max, AccountHash hash) : max_(max), known_(0, hash) {}

  // Makes it when there is none, and room for it. References hold until their account makes room for another.
  Account& touch(const AccountKey& key);
  [[nodiscard]] Account* find(const AccountKey& key);
  [[nodiscard]] std::list<Account>& all() { return accounts_; }
  [[nodiscard]] size_t size() const { return accounts_.size(); }
  [[nodiscard]] size_t bytes() const;

 private:
  void make_room();

  size_t max_;
  std::list<Account> accounts_;  // used last: in front
  std::unordered_map<AccountKey, std::list<Account>::iterator, AccountHash> known_;
};

}  // namespace hyperward::detect
