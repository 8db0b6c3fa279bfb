// The map of flows from user space: look-up, replacement, expiry.
//
// The guest decides how many flows there are, so the table makes room for a new flow by giving up another, as
// conntrack's early_drop does: an attacker in the guest who opens flows without end costs other processes a judgement
// now and then, never their connection. What is given up is judged anew with its next packet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "datapath/datapath.h"
#include "datapath/flow_abi.h"
#include "datapath/programs.h"
#include "packet/packet.h"

namespace hyperward::datapath {

[[nodiscard]] hw_flow_key to_abi(const packet::FlowKey& key);  // its source becomes the local end
[[nodiscard]] packet::FlowKey from_abi(const hw_flow_key& key);

[[nodiscard]] uint64_t now_ns();  // CLOCK_MONOTONIC

class FlowTable {
 public:
  // Borrows both.
  FlowTable(const Fd& flows, const SharedConfig& config, uint32_t max_half_open)
      : map_(flows.get()), config_(&config), max_half_open_(max_half_open) {}

  [[nodiscard]] std::optional<hw_flow> find(const hw_flow_key& key) const;
  // Replaces what has the key; makes room when the table, or its share of half-open flows, is full.
  [[nodiscard]] Result<void> insert(const hw_flow_key& key, const hw_flow& flow, bool half_open);
  [[nodiscard]] Result<void> erase(const hw_flow_key& key);
  [[nodiscard]] Result<void> for_each(const std::function<bool(const FlowRecord&)>& visit) const;
  [[nodiscard]] Result<size_t> sweep(uint64_t now, size_t budget, const Datapath::Seen& shown);

  [[nodiscard]] size_t count() const { return count_; }  // as of the last whole sweep

  // What the programs think of the flow, at `now`.
  [[nodiscard]] bool expired(const hw_flow& flow, uint64_t now) const;  // by its state's timeout
  [[nodiscard]] bool owner_aged(const hw_flow& flow, Protocol protocol, uint64_t now) const;

 private:
  // A walk over the table, some buckets at a time.
  struct Walk {
    std::vector<hw_flow_key> keys;
    std::vector<hw_flow> flows;
    uint32_t position = 0;  // libbpf's batch token: a bucket
    bool begun = false;
    uint32_t count = 0;  // of the entries at hand
    bool ended = false;  // they are the last
  };
  [[nodiscard]] Result<void> advance(Walk& walk, uint32_t entries) const;
  [[nodiscard]] Result<void> make_room();

  int map_;
  const SharedConfig* config_;
  uint32_t max_half_open_;
  uint32_t half_open_ = 0;          // as of the last whole sweep, and those added since
  uint32_t half_open_counted_ = 0;  // by the sweep that is under way
  size_t count_ = 0, counted_ = 0;  // of all flows, likewise
  Walk sweep_, victims_;
};

}  // namespace hyperward::datapath
