// An alert of an IDS that may be about any of several guests.
//
// It is offered to all of them at once and looked at by each on its own thread; the first that has one of its ends
// takes it. So a guest that is slow, or stuck, holds up nobody else's alerts, nor the one who offers.
#pragma once

#include <atomic>
#include <future>
#include <optional>
#include <utility>

#include "daemon/store.h"
#include "detect/ids_alert.h"

namespace hyperward::daemon {

class IdsOffer {
 public:
  // What came of it.
  struct Taken {
    StoredAlert alert;
    std::optional<StoredResponse> response = std::nullopt;
  };
  using Answer = std::future<std::optional<Taken>>;

  explicit IdsOffer(detect::IdsAlert alert) : alert_(std::move(alert)) {}
  IdsOffer(const IdsOffer&) = delete;
  IdsOffer& operator=(const IdsOffer&) = delete;
  // The last one that looked at it has let go.
  ~IdsOffer() {
    if (!is_taken_) answer_.set_value(std::nullopt);
  }

  [[nodiscard]] const detect::IdsAlert& alert() const { return alert_; }
  // Ready when it was taken, or when all have let go of it: nothing, then. Once, and before it is offered.
  [[nodiscard]] Answer answer() { return answer_.get_future(); }

  [[nodiscard]] bool is_taken() const { return is_taken_; }
  // True for one guest alone, which then has to answer.
  [[nodiscard]] bool take() { return !is_taken_.exchange(true); }
  void answer_with(std::optional<Taken> taken) { answer_.set_value(std::move(taken)); }

 private:
  const detect::IdsAlert alert_;
  std::atomic<bool> is_taken_ = false;
  std::promise<std::optional<Taken>> answer_;
};

}  // namespace hyperward::daemon
