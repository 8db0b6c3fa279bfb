// Messages between the daemon and a module's process, beside the rings: rare ones, that carry descriptors.
//
//   daemon ──▶ setup                                      what to load, and how much it may take
//          ◀── hello                                      what was loaded, or why not
//          ──▶ guest {boot, segments} + its RAM           whenever it has changed; without RAM: it cannot be read
//          ──▶ ring {frame_bytes} + memory, two eventfds  from now on questions come
//
// One message is one JSON object in one packet of a SOCK_SEQPACKET pair, bounded. The module's end is hostile once
// hello is sent, and before that in its constructors: the daemon takes no descriptors from it, checks what hello says
// as it checks a module's table, and reads nothing after that.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/fd.h"
#include "base/result.h"
#include "filter/module.h"
#include "memory/ram_handle.h"

namespace hyperward::filter {

struct Setup {
  std::filesystem::path file;  // "": the built-in rules
  std::string settings;
  uint64_t memory_bytes = 0;  // that the module may take
  uint64_t ram_bytes = 0;     // of the guest, that may be mapped beside it
  int64_t spin_us = 0;        // after the last question, before it sleeps
};

struct Hello {
  ModuleInfo info;
  int landlock_abi = 0;  // 0: this kernel has no Landlock
};

struct GuestMessage {
  uint64_t boot = 0;
  memory::RamHandle ram = {};  // without descriptors: the guest cannot be read
};

struct RingMessage {
  uint32_t frame_bytes = 0;
  Fd memory, questions_wake, answers_wake;
};

// One end.
class ModuleChannel {
 public:
  explicit ModuleChannel(Fd socket) : socket_(std::move(socket)) {}
  // The daemon's end, and the descriptor that its process inherits as the other.
  [[nodiscard]] static Result<std::pair<ModuleChannel, Fd>> make();

  [[nodiscard]] int fd() const { return socket_.get(); }

  // The daemon's. None of them waits: kLimit when the other end does not take its messages.
  [[nodiscard]] Result<void> send(const Setup& setup) const;
  [[nodiscard]] Result<void> send(const GuestMessage& guest) const;
  [[nodiscard]] Result<void> send(const RingMessage& ring) const;
  // kNotFound: the other end is gone, or nothing has come yet. An error that it tells is its own.
  [[nodiscard]] Result<Hello> receive_hello() const;

  // The process's. They wait.
  [[nodiscard]] Result<void> send(const Result<Hello>& hello) const;
  [[nodiscard]] Result<Setup> receive_setup() const;
  [[nodiscard]] Result<std::variant<GuestMessage, RingMessage>> receive() const;

 private:
  [[nodiscard]] Result<void> send(const nlohmann::json& body, std::initializer_list<int> fds) const;
  [[nodiscard]] Result<nlohmann::json> receive(size_t max_bytes, std::vector<Fd>* fds) const;

  Fd socket_;
};

}  // namespace hyperward::filter
