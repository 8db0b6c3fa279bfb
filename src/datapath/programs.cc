#include "datapath/programs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <string>
#include <utility>

#include "guard.skel.h"

namespace hyperward::datapath {
namespace {

// What libbpf had to say last, for our error's sentence. libbpf takes one printer for the whole process.
thread_local std::string last_complaint;

int keep_complaint(libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN) return 0;
  std::array<char, 512> text{};
  const int size = std::vsnprintf(text.data(), text.size(), format, arguments);
  std::string line(text.data());
  while (!line.empty() && line.back() == '\n') line.pop_back();
  // The verifier's log comes in one piece, longer than anybody reads; the reason is in the lines around it.
  if (size > 0 && line.find("PROG LOAD LOG") == std::string::npos) last_complaint = line;
  return 0;
}

struct NamedMap {
  const char* name;
  Fd Maps::* fd;
  uint32_t key_bytes, value_bytes;
};

constexpr std::array kMaps{
    NamedMap{"config", &Maps::config, sizeof(uint32_t), sizeof(hw_config)},
    NamedMap{"flows", &Maps::flows, sizeof(hw_flow_key), sizeof(hw_flow)},
    NamedMap{"inbound", &Maps::inbound, sizeof(hw_flow_key), sizeof(hw_inbound)},
    NamedMap{"fragments", &Maps::fragments, sizeof(hw_fragment_key), sizeof(hw_fragment)},
    NamedMap{"counters", &Maps::counters, sizeof(uint32_t), sizeof(uint64_t)},
};

struct NamedProgram {
  const char* name;
  Fd Programs::* fd;
};

constexpr std::array kPrograms{
    NamedProgram{"from_guest", &Programs::from_guest}, NamedProgram{"to_guest", &Programs::to_guest},
    NamedProgram{"hold_gate", &Programs::hold_gate},   NamedProgram{"from_hold", &Programs::from_hold},
    NamedProgram{"judge", &Programs::judge},
};

bool has_shape(const Fd& map, const NamedMap& expected) {
  bpf_map_info info{};
  uint32_t size = sizeof(info);
  return ::bpf_obj_get_info_by_fd(map.get(), &info, &size) == 0 && info.key_size == expected.key_bytes &&
         info.value_size == expected.value_bytes;
}

struct Destroy {
  void operator()(guard_bpf* skeleton) const { guard_bpf::destroy(skeleton); }
};

// The skeleton closes its descriptors when it goes: keep one of our own.
Result<Fd> keep(int fd) {
  Fd own(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!own.valid()) return fail_errno(errno, "keep a BPF object");
  return own;
}

}  // namespace

std::optional<Maps> pinned_maps(const PinDirectory& pins) {
  Maps maps;
  for (const NamedMap& map : kMaps) {
    auto fd = pins.get(map.name);
    if (!fd || !has_shape(*fd, map)) return std::nullopt;
    maps.*map.fd = std::move(*fd);
  }
  auto config = SharedConfig::map(maps.config);
  if (!config || (*config)->abi_version != HW_ABI_VERSION) return std::nullopt;
  return maps;
}

std::optional<SharedConfig> pinned_config(const PinDirectory& pins) {
  const auto map = pins.get("config");
  if (!map) return std::nullopt;
  auto config = SharedConfig::map(*map);
  if (!config) return std::nullopt;
  return *std::move(config);
}

Result<void> pin(const PinDirectory& pins, const Maps& maps) {
  for (const NamedMap& map : kMaps) HW_OK(pins.pin((maps.*map.fd).get(), map.name));
  return {};
}

Result<void> pin(const PinDirectory& pins, const Programs& programs) {
  for (const NamedProgram& program : kPrograms) HW_OK(pins.pin((programs.*program.fd).get(), program.name));
  return {};
}

Result<Loaded> load(std::optional<Maps> existing, uint32_t max_flows) {
  ::libbpf_set_print(keep_complaint);
  last_complaint.clear();
  const std::unique_ptr<guard_bpf, Destroy> skeleton(guard_bpf::open());
  if (!skeleton) return fail_errno(errno, "open the BPF programs: " + last_complaint);
  bpf_object* object = skeleton->obj;

  if (existing) {
    for (const NamedMap& map : kMaps) {
      const int error =
          ::bpf_map__reuse_fd(::bpf_object__find_map_by_name(object, map.name), ((*existing).*map.fd).get());
      if (error != 0) return fail_errno(-error, fmt::format("take over the map {}: {}", map.name, last_complaint));
    }
  } else {
    ::bpf_map__set_max_entries(skeleton->maps.flows, max_flows);
  }
  if (const int error = guard_bpf::load(skeleton.get()); error != 0)
    return fail_errno(-error, "load the BPF programs: " + last_complaint);

  Loaded loaded;
  for (const NamedMap& map : kMaps) {
    HW_TRY(loaded.maps.*map.fd, keep(::bpf_map__fd(::bpf_object__find_map_by_name(object, map.name))));
  }
  for (const NamedProgram& program : kPrograms) {
    HW_TRY(loaded.programs.*program.fd,
           keep(::bpf_program__fd(::bpf_object__find_program_by_name(object, program.name))));
  }
  return loaded;
}

Result<SharedConfig> SharedConfig::map(const Fd& config_map) {
  void* at = ::mmap(nullptr, sizeof(hw_config), PROT_READ | PROT_WRITE, MAP_SHARED, config_map.get(), 0);
  if (at == MAP_FAILED) return fail_errno(errno, "map the configuration of the BPF programs");
  return SharedConfig(static_cast<hw_config*>(at));
}

SharedConfig::SharedConfig(SharedConfig&& other) noexcept : config_(std::exchange(other.config_, nullptr)) {}

SharedConfig& SharedConfig::operator=(SharedConfig&& other) noexcept {
  std::swap(config_, other.config_);
  return *this;
}

SharedConfig::~SharedConfig() {
  if (config_ != nullptr) ::munmap(config_, sizeof(hw_config));
}

}  // namespace hyperward::datapath
