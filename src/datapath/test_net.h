// A machine of the test's own: its network and mount namespace, with a bridge between two taps.
//
//   guest's frames ── "tap0" ── bridge ── "world0" ── the world's frames
//
// The test holds both taps' other ends, so it sees every frame with its offload header. Everything is gone with the
// process.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "datapath/datapath.h"
#include "datapath/offload.h"
#include "datapath/pins.h"
#include "packet/build.h"

namespace hyperward::datapath::test {

using Bytes = std::vector<std::byte>;

struct Frame {
  OffloadHeader offload;
  Bytes bytes;
};

constexpr int kPass = -1, kDrop = 2, kRedirect = 7;  // TC_ACT_UNSPEC, TC_ACT_SHOT, TC_ACT_REDIRECT

class TestNet {
 public:
  // Leaves the machine's namespaces, once per process. An error says what the machine lacks.
  [[nodiscard]] static Result<TestNet> make();

  static constexpr const char* kTap = "tap0";
  [[nodiscard]] const std::string& pin_root() const { return pin_root_; }  // on a bpffs of the test's own
  [[nodiscard]] Options options() const;

  void guest_sends(const Bytes& frame, const OffloadHeader& offload = {}) const;
  void world_sends(const Bytes& frame, const OffloadHeader& offload = {}) const;
  // The next frame that arrives there, or nothing within the time.
  [[nodiscard]] std::optional<Frame> guest_receives() const;
  [[nodiscard]] std::optional<Frame> world_receives() const;
  // Whether a frame waits there now: for those who would rather ask again than sleep.
  [[nodiscard]] bool world_has_frame() const;
  [[nodiscard]] bool guest_receives_nothing() const;
  [[nodiscard]] bool world_receives_nothing() const;

 private:
  TestNet(Fd guest, Fd world, std::string pin_root)
      : guest_(std::move(guest)), world_(std::move(world)), pin_root_(std::move(pin_root)) {}

  Fd guest_, world_;
  std::string pin_root_;
};

[[nodiscard]] Result<Fd> make_tap(const std::string& name);

// Waits for a held frame to judge.
[[nodiscard]] std::optional<Held> wait_for_held(Datapath& path);

// Runs a pinned program over a frame that is sent nowhere: TC_ACT_*.
[[nodiscard]] int run(const TestNet& net, const char* program, const Bytes& frame, uint32_t mark = 0);
[[nodiscard]] Fd pinned(const TestNet& net, const char* name);
[[nodiscard]] hw_config config_of(const TestNet& net);

// As if next() had handed out the frame for the first time.
[[nodiscard]] Held held(const Bytes& frame, Direction direction = Direction::kOut);

}  // namespace hyperward::datapath::test
