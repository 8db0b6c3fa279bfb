// A filter module of a guest, wherever it runs: in this process (LoadedModule) or in one of its own (ModuleProcess).
//
// hyperward/module.h is what its author sees. Here a module is asked, and answers at once or later. What it answers
// wrongly, or never, is a fault: the packet meets the guest's default.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "filter/guest_view.h"
#include "filter/question.h"
#include "hyperward/module.h"

namespace hyperward::filter {

constexpr size_t kModuleNameMaxBytes = 32;

// What a module's table says of it; checked.
struct ModuleInfo {
  std::string name, version, description;
  uint32_t needs = 0;  // HYPERWARD_NEEDS_...
  uint32_t frame_bytes = 0;

  [[nodiscard]] bool needs_guest() const { return (needs & HYPERWARD_NEEDS_GUEST) != 0; }
};

struct ModuleCounter {
  std::string name;  // a-z, 0-9 and _
  uint64_t value = 0;
};

// How it fares, since the module was loaded.
struct ModuleStatus {
  uint64_t asked = 0, denied = 0, faults = 0;
  uint64_t restarts = 0;                // of its process
  pid_t pid = 0;                        // of its process; 0: it runs in this one, or does not run at the moment
  bool running = true;                  // false: its process has ended and is started again soon
  std::string last_fault;               // a sentence; "" when there was none
  std::vector<ModuleCounter> counters;  // its own
};

class Module {
 public:
  Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;
  virtual ~Module() = default;

  [[nodiscard]] virtual const ModuleInfo& info() const = 0;

  // Answers, or keeps the question and answers under its ticket through collect(). The error of an answer is a fault.
  // Tickets are the caller's, each used once. What the view shows is the guest of this moment.
  using Said = Result<Answer>;
  [[nodiscard]] virtual std::optional<Said> ask(uint64_t ticket, const Question& question, GuestView& view) = 0;

  // No more is asked for now: what waits to make a batch full shall go.
  virtual void flush() {}

  struct Answered {
    uint64_t ticket = 0;
    Said said;
  };
  // Appends what has been answered meanwhile, and a fault for each that never will. Whoever kept a question is heard of
  // once, in the end.
  virtual void collect(std::vector<Answered>& answered) { static_cast<void>(answered); }
  // Readable when collect() has something to do; -1: never.
  [[nodiscard]] virtual int fd() const { return -1; }

  // The guest's kernel was found (another boot), or has gone.
  virtual void guest_changed() {}

  [[nodiscard]] virtual ModuleStatus status() const = 0;
};

}  // namespace hyperward::filter
