// The modules that judge a guest's flows, one after the other: the rules first, then the others in their order.
//
// Who says deny decides, and those behind are not asked; what nobody denies is allowed. So a module can only take away
// from what the rules allow. The shortest of the lifetimes holds. A module that does not say (it crashed, it answered
// nonsense, it needs a guest that cannot be read) makes the question a fault: its packet meets the guest's default, and
// nothing is remembered of it.
//
// A module in a process of its own answers later; the question waits, and goes on from there through collect(). A
// module that is replaced or removed while questions are on their way to it answers those first: none is lost.
//
// Not for several threads at a time. Modules are called on the caller's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "filter/loaded_module.h"
#include "filter/module.h"
#include "filter/rule_chain.h"

namespace hyperward::filter {

// What comes of a question. Who decided is in the decision's rule number: decider.h.
struct Ruling {
  policy::Decision decision;
  std::string reason;                                     // a module's words
  std::chrono::milliseconds lifetime = Answer::kForever;  // 0: for this packet alone
  bool fault = false;                                     // the guest's default shall be met instead
};

class Chain {
 public:
  static constexpr size_t kModulesMax = 16;

  explicit Chain(RuleChain rules);

  [[nodiscard]] const RuleChain& rules() const { return *rules_; }
  void set_rules(RuleChain rules) { *rules_ = std::move(rules); }

  // The modules behind the rules, in their order.
  struct Entry {
    std::string name;
    uint32_t place = 0;  // from 1; stays while it is loaded, and is another one's later
    uint64_t order = 0;  // rises along the chain; a module has the one of the module that it replaces
    std::shared_ptr<Module> module;
  };
  [[nodiscard]] std::span<const Entry> modules() const { return entries_; }
  [[nodiscard]] const Entry* find(std::string_view name) const;  // nullptr: no module has it
  // At the end. kInvalid: the name is taken; kLimit: kModulesMax.
  [[nodiscard]] Result<void> add(std::string name, std::unique_ptr<Module> module);
  // Another module in its place. kNotFound.
  [[nodiscard]] Result<void> replace(std::string_view name, std::unique_ptr<Module> module);
  [[nodiscard]] Result<void> remove(std::string_view name);

  // No module but the rules judges here.
  [[nodiscard]] bool is_rules_alone() const { return entries_.empty(); }

  // Asks one after the other, until one denies or all have been asked. Nothing: a module has kept the question, and the
  // ruling comes out of a later collect() under this ticket. The question's frame must stay until then.
  [[nodiscard]] std::optional<Ruling> ask(uint64_t ticket, const Question& question, GuestView& view);
  // No more is asked for now.
  void flush();
  struct Ruled {
    uint64_t ticket = 0;
    Ruling ruling;
  };
  // What has been ruled meanwhile; asks on where an answer was waited for.
  [[nodiscard]] std::vector<Ruled> collect(GuestView& view);
  // Readable when collect() has something to do.
  [[nodiscard]] int fd() const { return poll_.get(); }
  [[nodiscard]] size_t waiting() const { return waiting_.size(); }

  void guest_changed();

 private:
  // A question on its way, and what has been said so far.
  struct Waiting {
    Question question;
    Ruling ruling;
    uint64_t order = 0;  // of the module that has it, and
    uint32_t place = 0;
    const Module* module = nullptr;
  };

  // Asks those behind `waiting.order`.
  [[nodiscard]] std::optional<Ruling> go_on(uint64_t ticket, Waiting waiting, GuestView& view);
  [[nodiscard]] Result<void> watch(const Module& module);
  void retire(std::shared_ptr<Module> module);
  size_t collect(Module& module, GuestView& view, std::vector<Ruled>& ruled);

  std::unique_ptr<RuleChain> rules_;  // where its module finds it
  std::unique_ptr<LoadedModule> rules_module_;
  std::vector<Entry> entries_;
  uint64_t next_order_ = 1;
  struct Retired {
    std::shared_ptr<Module> module;
    size_t questions = 0;  // that it has still to answer
  };
  std::vector<Retired> retired_;
  std::unordered_map<uint64_t, Waiting> waiting_;
  Fd poll_;
};

}  // namespace hyperward::filter
