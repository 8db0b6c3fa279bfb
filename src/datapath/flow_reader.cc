#include "datapath/flow_reader.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <vector>

#include "datapath/flow_table.h"

namespace hyperward::datapath {
namespace {

Result<Fd> open_pin(const std::string& path) {
  struct bpf_obj_get_opts options{};
  options.sz = sizeof(options);
  options.file_flags = BPF_F_RDONLY;
  Fd fd(::bpf_obj_get_opts(path.c_str(), &options));
  if (!fd.valid()) return fail_errno(errno, fmt::format("open {}", path));
  return fd;
}

}  // namespace

Result<FlowReader> FlowReader::open(const std::string& pins) {
  HW_TRY(Fd flows, open_pin(pins + "/flows"));
  HW_TRY(Fd counters, open_pin(pins + "/counters"));
  bpf_map_info info{};
  uint32_t size = sizeof(info);
  if (::bpf_obj_get_info_by_fd(flows.get(), &info, &size) != 0) return fail_errno(errno, "ask for the flows' map");
  if (info.key_size != sizeof(hw_flow_key) || info.value_size != sizeof(hw_flow))
    return fail(Code::kUnsupported, "{} is of another version of hyperward", pins);
  return FlowReader(std::move(flows), std::move(counters), info.max_entries);
}

Result<void> FlowReader::for_each_flow(const std::function<bool(const FlowRecord&)>& visit) const {
  hw_flow_key key{};
  hw_flow_key next{};
  // A key that is removed while we stand on it starts the walk over: twice the table's size is enough for any walk.
  const uint64_t steps_max = 2 * uint64_t{max_flows_};
  bool begun = false;
  for (uint64_t step = 0; step < steps_max; ++step) {
    if (::bpf_map_get_next_key(flows_.get(), begun ? &key : nullptr, &next) != 0) {
      if (errno == ENOENT) return {};
      return fail_errno(errno, "walk the flows");
    }
    begun = true;
    key = next;
    FlowRecord record{.key = from_abi(key)};
    if (::bpf_map_lookup_elem(flows_.get(), &key, &record.flow) != 0) continue;  // gone meanwhile
    if (!visit(record)) return {};
  }
  return {};
}

Result<Counters> FlowReader::counters() const {
  return read_counters(counters_);
}

Result<Counters> read_counters(const Fd& counters_map) {
  const int cpus = ::libbpf_num_possible_cpus();
  if (cpus < 1) return fail_errno(-cpus, "count the CPUs");
  std::vector<uint64_t> per_cpu(static_cast<size_t>(cpus));
  Counters counters;
  for (uint32_t i = 0; i < HW_COUNTERS; ++i) {
    if (::bpf_map_lookup_elem(counters_map.get(), &i, per_cpu.data()) != 0)
      return fail_errno(errno, "read the counters");
    for (const uint64_t value : per_cpu) counters.values[i] += value;
  }
  return counters;
}

}  // namespace hyperward::datapath
