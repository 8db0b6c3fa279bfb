#include "datapath/flow_table.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <tuple>

namespace hyperward::datapath {
namespace {

constexpr uint32_t kBatchEntries = 256;
constexpr uint32_t kVictimsSeen = 64;            // among so many, the least worth keeping makes room
constexpr uint32_t kBucketEntriesMax = 1 << 16;  // a batch takes whole buckets; ours never hold so many

IpAddress address_of(const uint8_t (&bytes)[16]) {
  std::array<uint8_t, 16> address{};
  std::copy(std::begin(bytes), std::end(bytes), address.begin());
  return IpAddress::v6(address);
}

// Lower: sooner to be given up.
int worth(const hw_flow& flow, bool is_expired) {
  if (is_expired) return 0;
  if (flow.verdict != HW_ALLOW) return 1;  // worth a judgement, no connection
  switch (flow.state) {
    case HW_STATE_TCP_CLOSED: return 1;
    case HW_STATE_JUDGED:
    case HW_STATE_TCP_OPENING:
    case HW_STATE_UDP_ONE_WAY:
    case HW_STATE_ICMP: return 2;
    case HW_STATE_TCP_CLOSING:
    case HW_STATE_UDP_TWO_WAY:
    case HW_STATE_OTHER: return 3;
    default: return 4;
  }
}

bool half_open(const hw_flow& flow) {
  return flow.verdict == HW_ALLOW && flow.state == HW_STATE_TCP_OPENING;
}

}  // namespace

hw_flow_key to_abi(const packet::FlowKey& key) {
  hw_flow_key abi{};
  std::memcpy(abi.local, key.source.address.bytes().data(), sizeof(abi.local));
  std::memcpy(abi.remote, key.destination.address.bytes().data(), sizeof(abi.remote));
  abi.local_port = htons(key.source.port);
  abi.remote_port = htons(key.destination.port);
  abi.vlan = key.vlan_id;
  abi.protocol = static_cast<uint8_t>(key.protocol);
  return abi;
}

packet::FlowKey from_abi(const hw_flow_key& key) {
  return {.vlan_id = key.vlan,
          .protocol = Protocol{key.protocol},
          .source = {address_of(key.local), ntohs(key.local_port)},
          .destination = {address_of(key.remote), ntohs(key.remote_port)}};
}

uint64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

std::optional<hw_flow> FlowTable::find(const hw_flow_key& key) const {
  hw_flow flow{};
  if (::bpf_map_lookup_elem(map_, &key, &flow) != 0) return std::nullopt;
  return flow;
}

Result<void> FlowTable::insert(const hw_flow_key& key, const hw_flow& flow, bool is_half_open) {
  if (is_half_open && ++half_open_ > max_half_open_) HW_OK(make_room());
  if (::bpf_map_update_elem(map_, &key, &flow, BPF_ANY) == 0) return {};
  if (errno == E2BIG) {
    HW_OK(make_room());
    if (::bpf_map_update_elem(map_, &key, &flow, BPF_ANY) == 0) return {};
  }
  return fail_errno(errno, fmt::format("store the flow {}", to_string(from_abi(key))));
}

Result<void> FlowTable::erase(const hw_flow_key& key) {
  if (::bpf_map_delete_elem(map_, &key) == 0) return {};
  return fail_errno(errno, fmt::format("forget the flow {}", to_string(from_abi(key))));
}

Result<void> FlowTable::advance(Walk& walk, uint32_t entries) const {
  for (;; entries *= 2) {
    walk.keys.resize(std::max<size_t>(walk.keys.size(), entries));
    walk.flows.resize(walk.keys.size());
    uint32_t position = 0;
    walk.count = entries;
    struct bpf_map_batch_opts options{};
    options.sz = sizeof(options);
    const int error = ::bpf_map_lookup_batch(map_, walk.begun ? &walk.position : nullptr, &position, walk.keys.data(),
                                             walk.flows.data(), &walk.count, &options);
    if (error == -ENOSPC && entries < kBucketEntriesMax) continue;  // the next bucket alone is larger
    if (error != 0 && error != -ENOENT) return fail_errno(-error, "read the table of flows");
    walk.ended = error == -ENOENT;
    walk.begun = !walk.ended;
    walk.position = position;
    return {};
  }
}

Result<void> FlowTable::for_each(const std::function<bool(const FlowRecord&)>& visit) const {
  Walk walk;
  do {
    HW_OK(advance(walk, kBatchEntries));
    for (uint32_t i = 0; i < walk.count; ++i)
      if (!visit(FlowRecord{from_abi(walk.keys[i]), walk.flows[i]})) return {};
  } while (!walk.ended);
  return {};
}

Result<size_t> FlowTable::sweep(uint64_t now, size_t budget, const Datapath::Seen& shown) {
  size_t removed = 0;
  for (size_t seen = 0; seen < budget;) {
    HW_OK(advance(sweep_, kBatchEntries));
    seen += std::max<uint32_t>(sweep_.count, 1);
    for (uint32_t i = 0; i < sweep_.count; ++i) {
      const hw_flow& flow = sweep_.flows[i];
      if (!expired(flow, now)) {
        if (half_open(flow)) ++half_open_counted_;
        ++counted_;
        if (shown) shown(FlowRecord{from_abi(sweep_.keys[i]), flow}, false);
        continue;
      }
      if (::bpf_map_delete_elem(map_, &sweep_.keys[i]) != 0) continue;
      ++removed;
      if (shown) shown(FlowRecord{from_abi(sweep_.keys[i]), flow}, true);
    }
    if (sweep_.ended) {
      half_open_ = std::exchange(half_open_counted_, 0);
      count_ = std::exchange(counted_, 0);
      break;
    }
  }
  return removed;
}

Result<void> FlowTable::make_room() {
  const uint64_t now = now_ns();
  std::optional<hw_flow_key> victim;
  std::pair<int, uint64_t> least{};
  // A part of the table may be empty: go on to the end, and once more from the start.
  for (uint32_t seen = 0, ends = 0; seen < kVictimsSeen && ends < 2;) {
    HW_OK(advance(victims_, kVictimsSeen));
    seen += victims_.count;
    ends += victims_.ended ? 1 : 0;
    for (uint32_t i = 0; i < victims_.count; ++i) {
      const hw_flow& flow = victims_.flows[i];
      const std::pair<int, uint64_t> value{worth(flow, expired(flow, now)), flow.last_seen_ns};
      if (victim && value >= least) continue;
      victim = victims_.keys[i];
      least = value;
    }
  }
  if (!victim) return {};
  if (half_open_ > 0) --half_open_;
  if (::bpf_map_delete_elem(map_, &*victim) != 0 && errno != ENOENT) return fail_errno(errno, "give up a flow");
  return {};
}

bool FlowTable::expired(const hw_flow& flow, uint64_t now) const {
  const hw_config& config = **config_;
  const auto older_than = [&](uint64_t time, uint64_t limit) {
    return static_cast<int64_t>(now - time) > static_cast<int64_t>(limit);
  };
  if (flow.verdict != HW_ALLOW) return older_than(flow.judged_ns, config.timeout_ns[HW_STATE_DENIED]);
  return flow.state >= HW_STATES || older_than(flow.last_seen_ns, config.timeout_ns[flow.state]);
}

bool FlowTable::owner_aged(const hw_flow& flow, Protocol protocol, uint64_t now) const {
  const uint64_t limit = (*config_)->judge_again_ns;
  return protocol != Protocol::kTcp && limit != 0 &&
         static_cast<int64_t>(now - flow.judged_ns) > static_cast<int64_t>(limit);
}

}  // namespace hyperward::datapath
