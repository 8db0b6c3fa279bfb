// Sources: QEMU's hw/i386/pc_piix.c (pc_init1) and pc_q35.c (pc_q35_init) for the split below 4 GiB, softmmu/memory.c
// (mtree_print_flatview) for the text of `info mtree -f`.
#include "memory/layout.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>
#include <map>

namespace hyperward::memory {
namespace {

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;
constexpr uint64_t kGiB = 1024 * kMiB;
constexpr uint64_t kFourGiB = 4 * kGiB;
// From about here QEMU may move the upper RAM to 1 TiB, off AMD's HyperTransport hole: the arguments do not tell.
constexpr uint64_t kMaxGuessedSize = 1000 * kGiB;

// "512", "4G", "1048576k": a plain number counts in `unit_bytes`.
std::optional<uint64_t> parse_size(std::string_view text, uint64_t unit_bytes) {
  uint64_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  const std::string_view suffix(rest, static_cast<size_t>(text.data() + text.size() - rest));
  if (suffix.size() > 1) return std::nullopt;
  if (!suffix.empty()) {
    switch (std::tolower(static_cast<unsigned char>(suffix[0]))) {
      case 'b': unit_bytes = 1; break;
      case 'k': unit_bytes = kKiB; break;
      case 'm': unit_bytes = kMiB; break;
      case 'g': unit_bytes = kGiB; break;
      case 't': unit_bytes = 1024 * kGiB; break;
      default: return std::nullopt;
    }
  }
  if (number > std::numeric_limits<uint64_t>::max() / unit_bytes) return std::nullopt;
  return number * unit_bytes;
}

// "q35,accel=kvm" with the first key "type" gives {type: q35, accel: kvm}; a bare later word maps to "".
using Properties = std::map<std::string, std::string, std::less<>>;

void add_properties(std::string_view text, std::string_view first_key, Properties& properties) {
  for (bool first = true; !text.empty(); first = false) {
    const std::string_view word = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    const size_t equals = word.find('=');
    if (equals != std::string_view::npos)
      properties.insert_or_assign(std::string(word.substr(0, equals)), std::string(word.substr(equals + 1)));
    else if (first)
      properties.insert_or_assign(std::string(first_key), std::string(word));
    else
      properties.insert_or_assign(std::string(word), std::string());
  }
}

// Calls visit(option, value) for each "-option value"; QEMU takes "--option" as well.
template <typename Visit>
void for_each_option(std::span<const std::string> arguments, Visit visit) {
  for (size_t i = 1; i + 1 < arguments.size(); ++i) {
    std::string_view option = arguments[i];
    if (!option.starts_with('-')) continue;
    option.remove_prefix(option.starts_with("--") ? 2 : 1);
    visit(option, std::string_view(arguments[i + 1]));
  }
}

Properties machine_properties(std::span<const std::string> arguments) {
  Properties machine;
  for_each_option(arguments, [&](std::string_view option, std::string_view value) {
    if (option == "machine" || option == "M") add_properties(value, "type", machine);
  });
  return machine;
}

std::string_view value_or(const Properties& properties, std::string_view key, std::string_view fallback) {
  const auto found = properties.find(key);
  return found == properties.end() ? fallback : std::string_view(found->second);
}

// One line of a flat view: "  0000000000100000-000000001fffffff (prio 0, ram): pc.ram @0000000000100000 KVM".
struct FlatRange {
  uint64_t first = 0;
  uint64_t last = 0;
  std::string_view kind;
  std::string_view name;
  uint64_t offset = 0;
};

bool take_hex(std::string_view& text, uint64_t& value) {
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(rest - text.data()));
  return true;
}

bool take(std::string_view& text, std::string_view expected) {
  if (!text.starts_with(expected)) return false;
  text.remove_prefix(expected.size());
  return true;
}

std::optional<FlatRange> parse_flat_range(std::string_view line) {
  FlatRange range;
  if (!take(line, "  ") || !take_hex(line, range.first) || !take(line, "-") || !take_hex(line, range.last) ||
      !take(line, " (prio "))
    return std::nullopt;
  const size_t comma = line.find(", ");
  const size_t close = line.find("): ");
  if (comma == std::string_view::npos || close == std::string_view::npos || comma > close) return std::nullopt;
  range.kind = line.substr(comma + 2, close - comma - 2);
  range.name = line.substr(close + 3);
  const size_t at = range.name.rfind(" @");
  if (at == std::string_view::npos) {
    range.name = range.name.substr(0, range.name.find(' '));
    return range;
  }
  std::string_view offset = range.name.substr(at + 2);
  if (!take_hex(offset, range.offset)) return std::nullopt;
  range.name = range.name.substr(0, at);
  return range;
}

}  // namespace

Layout::Layout(std::vector<Segment> segments) : segments_(std::move(segments)) {
  for (const Segment& segment : segments_) {
    ranges_.push_back({segment.start, segment.size_bytes});
    end_offset_ = std::max(end_offset_, segment.offset + segment.size_bytes);
  }
}

Layout Layout::flat(uint64_t size_bytes) {
  return Layout({Segment{GuestPhysical{0}, size_bytes, 0}});
}

Result<Layout> Layout::of(std::vector<Segment> segments) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  std::ranges::sort(segments);
  std::vector<Segment> kept;
  for (Segment segment : segments) {
    if (segment.size_bytes > kMax - segment.start.value || segment.size_bytes > kMax - segment.offset)
      return fail(Code::kInvalid, "a memory segment at {:#x} of {:#x} bytes wraps around", segment.start.value,
                  segment.size_bytes);
    if (!kept.empty()) {
      Segment& last = kept.back();
      const uint64_t last_end = last.start.value + last.size_bytes;
      if (segment.start.value < last_end) {
        const uint64_t repeated = std::min(segment.size_bytes, last_end - segment.start.value);
        segment = {segment.start + repeated, segment.size_bytes - repeated, segment.offset + repeated};
      }
      if (segment.start.value == last_end && segment.offset == last.offset + last.size_bytes) {
        last.size_bytes += segment.size_bytes;
        continue;
      }
    }
    if (segment.size_bytes != 0) kept.push_back(segment);
  }
  if (kept.empty()) return fail(Code::kInvalid, "a memory layout without any RAM");
  return Layout(std::move(kept));
}

Result<Layout> Layout::from_mtree(std::string_view text) {
  std::vector<FlatRange> ranges;
  bool is_system_memory = false;  // several flat views are printed; this one is what the processors see
  while (!text.empty() && !(is_system_memory && text.starts_with("FlatView"))) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with("FlatView")) ranges.clear();
    if (line.starts_with(" AS \"memory\"")) is_system_memory = true;
    if (const auto range = parse_flat_range(line)) ranges.push_back(*range);
  }
  const auto lowest = std::ranges::find_if(ranges, [](const FlatRange& range) { return range.first == 0; });
  if (!is_system_memory || lowest == ranges.end())
    return fail(Code::kInvalid,
                "this is no output of `info mtree -f`: no RAM at address 0 of the address space \"memory\"");

  std::vector<Segment> segments;
  for (const FlatRange& range : ranges) {
    const bool is_ram = range.kind == "ram" || range.kind == "rom";  // rom: RAM that shadows firmware
    if (!is_ram || range.name != lowest->name) continue;
    if (range.last < range.first) return fail(Code::kInvalid, "`info mtree -f`: a range ends before it starts");
    segments.push_back({GuestPhysical{range.first}, range.last - range.first + 1, range.offset});
  }
  return of(std::move(segments));
}

Result<uint64_t> ram_size_bytes(std::span<const std::string> arguments) {
  const Properties machine = machine_properties(arguments);
  const std::string_view backend = value_or(machine, "memory-backend", "");
  Properties memory;
  Properties backend_object;
  for_each_option(arguments, [&](std::string_view option, std::string_view value) {
    if (option == "m") add_properties(value, "size", memory);
    if (option != "object" || backend.empty()) return;
    Properties object;
    add_properties(value, "qom-type", object);
    if (value_or(object, "id", "") == backend) backend_object = std::move(object);
  });
  // Without -m the size is the backend's, since QEMU 7.1.
  const bool is_from_backend = !memory.contains("size") && backend_object.contains("size");
  const std::string_view text =
      is_from_backend ? value_or(backend_object, "size", "") : value_or(memory, "size", "128M");
  const auto size = parse_size(text, is_from_backend ? 1 : kMiB);
  if (!size || *size == 0) return fail(Code::kInvalid, "QEMU's RAM size \"{}\" is no size", text);
  return *size;
}

Result<Layout> Layout::from_arguments(std::span<const std::string> arguments) {
  const Properties machine = machine_properties(arguments);
  const std::string_view type = value_or(machine, "type", "pc");
  const bool is_q35 = type.starts_with("q35") || type.starts_with("pc-q35");
  if (!is_q35 && !type.starts_with("pc"))
    return fail(Code::kUnsupported, "the memory layout of machine type \"{}\" is not known; give `info mtree -f`",
                type);
  HW_TRY(const uint64_t size, ram_size_bytes(arguments));
  if (size > kMaxGuessedSize)
    return fail(Code::kUnsupported, "the layout of {} GiB of RAM is not known; give `info mtree -f`", size / kGiB);

  const std::string_view limit_text = value_or(machine, "max-ram-below-4g", is_q35 ? "4G" : "3584M");
  const auto limit = parse_size(limit_text, 1);
  if (!limit || *limit > kFourGiB)
    return fail(Code::kInvalid, "max-ram-below-4g \"{}\" is no size up to 4 GiB", limit_text);
  uint64_t below = *limit;
  if (is_q35)
    below = std::min<uint64_t>(below, size >= 0xb0000000 ? 0x80000000 : 0xb0000000);
  else if (size >= *limit)
    below = std::min<uint64_t>(below, 0xc0000000);

  if (size <= below) return flat(size);
  return of({{GuestPhysical{0}, below, 0}, {GuestPhysical{kFourGiB}, size - below, below}});
}

const Segment* Layout::find(GuestPhysical address) const {
  const auto after = std::ranges::upper_bound(segments_, address, {}, &Segment::start);
  if (after == segments_.begin()) return nullptr;
  const Segment& segment = *(after - 1);
  return address.value - segment.start.value < segment.size_bytes ? &segment : nullptr;
}

void Layout::append_ranges(uint64_t offset, uint64_t size_bytes, std::vector<Range>& out) const {
  for (const Segment& segment : segments_) {
    const uint64_t first = std::max(offset, segment.offset);
    const uint64_t last = std::min(offset + size_bytes, segment.offset + segment.size_bytes);
    if (first < last) out.push_back({segment.start + (first - segment.offset), last - first});
  }
}

}  // namespace hyperward::memory
