#include "detect/contacts.h"

#include <algorithm>

namespace hyperward::detect {

Endpoint destination_of(const packet::FlowKey& key) {
  return {key.destination.address, packet::has_ports(key.protocol) ? key.destination.port : uint16_t{0}};
}

bool Pattern::matches(const packet::FlowKey& key) const {
  return (!protocol || *protocol == key.protocol) && (!port || *port == destination_of(key).port) &&
         (!address || *address == key.destination.address);
}

bool Contacts::has_room(uint64_t process, const Limits& limits) const {
  if (contacts_.size() >= limits.capacity) return false;
  if (process == 0 || contacts_.size() < limits.of_one_process) return true;
  const auto of_process = std::count_if(contacts_.begin(), contacts_.end(),
                                        [&](const Contact& contact) { return contact.process == process; });
  return static_cast<size_t>(of_process) < limits.of_one_process;
}

void Contacts::add(const packet::FlowKey& key, uint64_t process, Time now, const Limits& limits,
                   const Answered& answered) {
  std::erase_if(contacts_, [&](const Contact& contact) { return now - contact.last > limits.window; });
  const Endpoint destination = destination_of(key);
  const auto known = std::find_if(contacts_.begin(), contacts_.end(), [&](const Contact& contact) {
    return contact.key.protocol == key.protocol && destination_of(contact.key) == destination;
  });
  if (known != contacts_.end()) {
    known->latest = key;
    known->last = now;
    return;
  }

  if (!has_room(process, limits) && now >= next_clearing_) {
    next_clearing_ = now + kAskEvery;
    drop_answered({}, answered);
  }
  if (!has_room(process, limits)) {
    if (contacts_.size() < limits.capacity) return;  // the process has its share
    // Half of them stay old, so that a scan too fast for the list is seen in it.
    if (now - contacts_[contacts_.size() / 2].first < limits.grace) return;
    contacts_.erase(contacts_.begin());
    if (!has_room(process, limits)) return;
  }
  contacts_.push_back({.key = key, .latest = key, .process = process, .first = now, .last = now});
}

Contacts::Tally Contacts::tally(const Pattern& pattern, Time now, std::chrono::milliseconds window,
                                std::chrono::milliseconds grace) const {
  Tally tally;
  for (const Contact& contact : contacts_) {
    if (now - contact.last > window || !pattern.matches(contact.key)) continue;
    if (tally.count++ == 0) tally.first = contact.first;
    if (now - contact.first >= grace) ++tally.old;
  }
  return tally;
}

void Contacts::drop_answered(const Pattern& pattern, const Answered& answered) {
  std::erase_if(contacts_, [&](const Contact& contact) {
    if (!pattern.matches(contact.key)) return false;
    return answered(contact.key) || (contact.latest != contact.key && answered(contact.latest));
  });
}

void Contacts::drop(const Pattern& pattern) {
  std::erase_if(contacts_, [&](const Contact& contact) { return pattern.matches(contact.key); });
}

std::vector<packet::FlowKey> Contacts::keys() const {
  std::vector<packet::FlowKey> keys;
  keys.reserve(contacts_.size());
  for (const Contact& contact : contacts_) keys.push_back(contact.key);
  return keys;
}

}  // namespace hyperward::detect
