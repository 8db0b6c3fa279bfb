#include "filter/recording.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <sstream>
#include <type_traits>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "filter/module_ring.h"

namespace hyperward::filter {
namespace {

using nlohmann::json;

constexpr uint64_t kFileMaxBytes = 64 << 20;

// -- the structs of hyperward/module.h, field by field ---------------------------------------------------------

template <typename Packet, typename Visit>
void packet_fields(Packet& packet, Visit visit) {
  visit("direction", packet.direction);
  visit("why", packet.why);
  visit("protocol", packet.protocol);
  visit("tcp_flags", packet.tcp_flags);
  visit("local_address", packet.local_address);
  visit("remote_address", packet.remote_address);
  visit("local_port", packet.local_port);
  visit("remote_port", packet.remote_port);
  visit("vlan", packet.vlan);
  visit("icmp_type", packet.icmp_type);
  visit("icmp_code", packet.icmp_code);
  visit("time_ns", packet.time_ns);
  visit("frame_bytes", packet.frame_bytes);
}

template <typename Owner, typename Visit>
void owner_fields(Owner& owner, Visit visit) {
  visit("how", owner.how);
  visit("reason", owner.reason);
  visit("known", owner.known);
  visit("uid", owner.uid);
  visit("gid", owner.gid);
  visit("pid", owner.pid);
  visit("fd", owner.fd);
  visit("start_time_ns", owner.start_time_ns);
  visit("task", owner.task);
  visit("file", owner.file);
  visit("socket", owner.socket);
  visit("inode", owner.inode);
  visit("network_namespace", owner.network_namespace);
  visit("comm", owner.comm);
}

template <typename History, typename Visit>
void history_fields(History& history, Visit visit) {
  visit("verdict", history.verdict);
  visit("created_ns", history.created_ns);
  visit("last_seen_ns", history.last_seen_ns);
  visit("judged_ns", history.judged_ns);
  visit("packets_out", history.packets[0]);
  visit("packets_in", history.packets[1]);
  visit("bytes_out", history.bytes[0]);
  visit("bytes_in", history.bytes[1]);
  visit("dropped", history.dropped);
}

// -- bytes -----------------------------------------------------------------------------------------------------

std::string to_hex(std::span<const std::byte> bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const std::byte byte : bytes) fmt::format_to(std::back_inserter(text), "{:02x}", static_cast<unsigned>(byte));
  return text;
}

std::optional<unsigned> digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10;
  return std::nullopt;
}

std::optional<std::vector<std::byte>> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::vector<std::byte> bytes;
  bytes.reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); i += 2) {
    const auto high = digit(text[i]), low = digit(text[i + 1]);
    if (!high || !low) return std::nullopt;
    bytes.push_back(static_cast<std::byte>(*high << 4 | *low));
  }
  return bytes;
}

// -- writing ---------------------------------------------------------------------------------------------------

struct Writer {
  json& out;

  template <typename T>
  void operator()(const char* name, const T& value) const {
    if constexpr (std::is_array_v<T>) {
      out[name] = to_hex(std::as_bytes(std::span(value)));
    } else {
      out[name] = value;
    }
  }
};

json to_json(const Question& question) {
  json out{{"packet", json::object()}, {"owner", json::object()}, {"frame", to_hex(question.frame)}};
  packet_fields(question.packet, Writer{out["packet"]});
  owner_fields(question.owner, Writer{out["owner"]});
  if (question.history) history_fields(*question.history, Writer{out["history"]});
  return out;
}

std::string line_of(const json& object) {
  return object.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

// -- reading ---------------------------------------------------------------------------------------------------

// Reads every field of an object; remembers the first that is not there or does not fit.
struct Reader {
  const json& in;
  std::string& mistake;

  template <typename T>
  void operator()(const char* name, T& value) const {
    const auto found = in.find(name);
    if (found != in.end() && read(*found, value)) return;
    if (mistake.empty()) mistake = name;
  }

 private:
  template <typename T>
  static bool read(const json& from, T& value) {
    if constexpr (std::is_array_v<T>) {
      const auto bytes = from.is_string() ? from_hex(from.get_ref<const std::string&>()) : std::nullopt;
      const auto room = std::as_writable_bytes(std::span(value));
      if (!bytes || bytes->size() != room.size()) return false;
      std::ranges::copy(*bytes, room.begin());
      return true;
    } else {
      if (!from.is_number_unsigned() || from.get<uint64_t>() > std::numeric_limits<T>::max()) return false;
      value = static_cast<T>(from.get<uint64_t>());
      return true;
    }
  }
};

Result<Recording::Asked> asked_from(const json& line) {
  Recording::Asked asked;
  Question& question = asked.question;
  if (!line.is_object() || !line.contains("packet") || !line.contains("owner") || !line.contains("frame"))
    return fail(Code::kInvalid, "it is no question");
  std::string mistake;
  question.packet.size = sizeof(question.packet);
  question.owner.size = sizeof(question.owner);
  packet_fields(question.packet, Reader{line["packet"], mistake});
  owner_fields(question.owner, Reader{line["owner"], mistake});
  if (line.contains("history")) {
    question.history.emplace();
    question.history->size = sizeof(*question.history);
    history_fields(*question.history, Reader{line["history"], mistake});
  }
  auto frame = line["frame"].is_string() ? from_hex(line["frame"].get_ref<const std::string&>()) : std::nullopt;
  if (!frame || frame->size() > HYPERWARD_FRAME_MAX) mistake = "frame";
  if (!mistake.empty()) return fail(Code::kInvalid, "its '{}' is missing or wrong", mistake);
  asked.frame = *std::move(frame);
  question.frame = asked.frame;  // the buffer moves with it
  return asked;
}

Result<Recording> head_from(const std::string& text) {
  const json head = json::parse(text, nullptr, false);
  if (!head.is_object() || !head.contains("recording")) return fail(Code::kInvalid, "line 1: it is no recording");
  if (head["recording"] != Recording::kFormat)
    return fail(Code::kInvalid, "line 1: its format is {}, this is {}", head["recording"].dump(), Recording::kFormat);
  Recording recording;
  for (const auto& [name, into] : {std::pair("module", &recording.module), std::pair("version", &recording.version),
                                   std::pair("settings", &recording.settings)}) {
    if (!head.contains(name) || !head[name].is_string())
      return fail(Code::kInvalid, "line 1: its '{}' is missing or wrong", name);
    *into = head[name].get<std::string>();
  }
  return recording;
}

// -- files -----------------------------------------------------------------------------------------------------

// The oldest of this module's go; their names tell their age.
void keep_newest(const std::filesystem::path& folder, const std::string& prefix) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (entry->path().filename().native().starts_with(prefix)) files.push_back(entry->path());
  std::ranges::sort(files);
  for (size_t i = 0; i + kRecordingsKept < files.size(); ++i) std::filesystem::remove(files[i], error);
}

Result<void> write_new(const std::filesystem::path& file, std::string_view text) {
  const Fd out(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!out.valid()) return fail_errno(errno, fmt::format("make {}", file.native()));
  while (!text.empty()) {
    const ssize_t written = ::write(out.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return fail_errno(errno, fmt::format("write {}", file.native()));
    text.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

}  // namespace

std::string to_text(const ModuleInfo& module, const std::string& settings, std::span<const Question> questions) {
  std::string text = line_of({{"recording", Recording::kFormat},
                              {"module", module.name},
                              {"version", module.version},
                              {"settings", settings}});
  for (const Question& question : questions) text += line_of(to_json(question));
  return text;
}

Result<Recording> parse_recording(std::string_view text) {
  std::istringstream lines{std::string(text)};
  std::string line;
  std::getline(lines, line);
  HW_TRY(Recording recording, head_from(line));
  for (size_t number = 2; std::getline(lines, line); ++number) {
    if (recording.asked.size() == Recording::kQuestionsMax)
      return fail(Code::kLimit, "it has more than {} questions", Recording::kQuestionsMax);
    auto asked = asked_from(json::parse(line, nullptr, false));
    if (!asked) return within(std::move(asked).error(), "line {}", number);
    recording.asked.push_back(*std::move(asked));
  }
  return recording;
}

Result<Recording> read_recording(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail_errno(errno, fmt::format("open {}", file.native()));
  std::error_code error;
  const uint64_t size_bytes = std::filesystem::file_size(file, error);
  if (error || size_bytes > kFileMaxBytes)
    return fail(Code::kLimit, "{} is no file of {} MiB at most", file.native(), kFileMaxBytes >> 20);
  std::string text(size_bytes, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  auto recording = parse_recording(text);
  if (!recording) return within(std::move(recording).error(), "read {}", file.native());
  return recording;
}

Result<std::filesystem::path> record(const std::filesystem::path& folder, const ModuleInfo& module,
                                     const std::string& settings, const ring::AskingEnd& ring, size_t count) {
  std::vector<Question> questions;
  questions.reserve(count);
  for (size_t i = 0; i < count; ++i) questions.push_back(ring.asked(i).question);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const std::string prefix = module.name + "-";
  auto file = folder / fmt::format("{}{}.jsonl", prefix, std::chrono::nanoseconds(now).count());
  HW_OK(write_new(file, to_text(module, settings, questions)));
  keep_newest(folder, prefix);
  return file;
}

}  // namespace hyperward::filter
