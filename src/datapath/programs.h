// The BPF programs and their maps, loaded. What they do: guard.bpf.c.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "base/fd.h"
#include "base/result.h"
#include "datapath/flow_abi.h"
#include "datapath/pins.h"

namespace hyperward::datapath {

struct Maps {
  Fd config, flows, inbound, fragments, counters;
};

struct Programs {
  Fd from_guest, to_guest, hold_gate, from_hold, judge;
};

// What an earlier attachment has left, when it is of our ABI version and whole.
[[nodiscard]] std::optional<Maps> pinned_maps(const PinDirectory& pins);
[[nodiscard]] Result<void> pin(const PinDirectory& pins, const Maps& maps);
[[nodiscard]] Result<void> pin(const PinDirectory& pins, const Programs& programs);

struct Loaded {
  Maps maps;
  Programs programs;
};

// Loads the programs on `existing` maps, or on new ones with room for `max_flows`.
[[nodiscard]] Result<Loaded> load(std::optional<Maps> existing, uint32_t max_flows);

// The configuration of one attachment, shared with the programs.
class SharedConfig {
 public:
  [[nodiscard]] static Result<SharedConfig> map(const Fd& config_map);

  SharedConfig(SharedConfig&& other) noexcept;
  SharedConfig& operator=(SharedConfig&& other) noexcept;
  ~SharedConfig();

  // The programs read while we write: share() what may change while they run, and read it by shared().
  hw_config* operator->() const { return config_; }
  hw_config& operator*() const { return *config_; }

 private:
  explicit SharedConfig(hw_config* config) : config_(config) {}
  hw_config* config_;
};

// The configuration that an earlier attachment has left, of whatever version: to be read up to made_clsact.
[[nodiscard]] std::optional<SharedConfig> pinned_config(const PinDirectory& pins);

template <typename T>
void share(T& field, T value) {
  std::atomic_ref<T>(field).store(value, std::memory_order_relaxed);
}

template <typename T>
T shared(T& field) {
  return std::atomic_ref<T>(field).load(std::memory_order_relaxed);
}

}  // namespace hyperward::datapath
