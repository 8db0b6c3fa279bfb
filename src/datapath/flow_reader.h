// The flows of an attachment, from any process and while another one guards it, or none does: reads the pins, changes
// nothing.
#pragma once

#include <functional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "datapath/datapath.h"

namespace hyperward::datapath {

class FlowReader {
 public:
  // `pins` as Datapath::pins() tells it. kNotFound: nothing is attached there any more.
  [[nodiscard]] static Result<FlowReader> open(const std::string& pins);

  // As Datapath's: in no order, until `visit` returns false; flows that come or go meanwhile may be missed.
  [[nodiscard]] Result<void> for_each_flow(const std::function<bool(const FlowRecord&)>& visit) const;
  // The programs' own; those of the guarding process's are 0 here.
  [[nodiscard]] Result<Counters> counters() const;

 private:
  FlowReader(Fd flows, Fd counters, uint32_t max_flows)
      : flows_(std::move(flows)), counters_(std::move(counters)), max_flows_(max_flows) {}

  Fd flows_, counters_;
  uint32_t max_flows_;
};

// Sums a per-CPU map of counters.
[[nodiscard]] Result<Counters> read_counters(const Fd& counters_map);

}  // namespace hyperward::datapath
