#include "filter/chain.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "filter/rules_module.h"

namespace hyperward::filter {
namespace {

// What one module has said, added to what others have said before it. False: no one else need be asked.
bool combine(const Module::Said& said, uint32_t place, Ruling& ruling) {
  ruling.fault = !said.has_value();
  if (ruling.fault) return false;
  // The rules have numbers of their own, which are no codes.
  const auto rule = [&](uint32_t code) { return place == 0 ? code : of_module(place, code); };
  for (const Remark& remark : said->remarks()) ruling.decision.remember({rule(remark.code), remark.verdict});
  ruling.decision.audited_left_out += said->remarks_left_out;
  ruling.lifetime = std::min(ruling.lifetime, said->lifetime);
  ruling.decision.log = ruling.decision.log || said->log;
  if (place != 0 && said->verdict == policy::Verdict::kAllow) return true;
  ruling.decision.verdict = said->verdict;
  ruling.decision.rule = rule(said->code);
  ruling.reason = said->reason;
  return said->verdict == policy::Verdict::kAllow;
}

// A code that does not fit beside a flow would be shown as another module's.
Module::Said checked(Module::Said said) {
  if (said && said->code > kModuleCodeMax)
    return fail(Code::kInvalid, "it answered the code {}, which is over {}", said->code, kModuleCodeMax);
  return said;
}

}  // namespace

Chain::Chain(RuleChain rules)
    : rules_(std::make_unique<RuleChain>(std::move(rules))),
      rules_module_(LoadedModule::around(rules_module(), rules_.get())),
      poll_(::epoll_create1(EPOLL_CLOEXEC)) {
  HW_CHECK(poll_.valid());
}

const Chain::Entry* Chain::find(std::string_view name) const {
  const auto found = std::ranges::find(entries_, name, &Entry::name);
  return found == entries_.end() ? nullptr : &*found;
}

Result<void> Chain::add(std::string name, std::unique_ptr<Module> module) {
  if (find(name) != nullptr) return fail(Code::kInvalid, "there is a module '{}' already", name);
  if (entries_.size() == kModulesMax) return fail(Code::kLimit, "there are {} modules already", kModulesMax);
  HW_OK(watch(*module));
  uint32_t place = 1;
  while (std::ranges::find(entries_, place, &Entry::place) != entries_.end()) ++place;
  entries_.push_back({std::move(name), place, next_order_++, std::move(module)});
  return {};
}

Result<void> Chain::replace(std::string_view name, std::unique_ptr<Module> module) {
  const auto entry = std::ranges::find(entries_, name, &Entry::name);
  if (entry == entries_.end()) return fail(Code::kNotFound, "there is no module '{}'", name);
  HW_OK(watch(*module));
  retire(std::exchange(entry->module, std::move(module)));
  return {};
}

Result<void> Chain::remove(std::string_view name) {
  const auto entry = std::ranges::find(entries_, name, &Entry::name);
  if (entry == entries_.end()) return fail(Code::kNotFound, "there is no module '{}'", name);
  retire(std::move(entry->module));
  entries_.erase(entry);
  return {};
}

Result<void> Chain::watch(const Module& module) {
  if (module.fd() < 0) return {};
  epoll_event event{.events = EPOLLIN, .data = {.fd = module.fd()}};
  if (::epoll_ctl(poll_.get(), EPOLL_CTL_ADD, module.fd(), &event) != 0)
    return fail_errno(errno, "wait for a module's answers");
  return {};
}

// It stays until it has answered what it was asked: its descriptor, closed with it, is watched no more then.
void Chain::retire(std::shared_ptr<Module> module) {
  module->flush();
  const auto questions = static_cast<size_t>(
      std::ranges::count_if(waiting_, [&](const auto& waiting) { return waiting.second.module == module.get(); }));
  if (questions > 0) retired_.push_back({std::move(module), questions});
}

std::optional<Ruling> Chain::ask(uint64_t ticket, const Question& question, GuestView& view) {
  Waiting waiting{.question = question, .ruling = {}};
  if (!combine(rules_module_->judge(question, view), 0, waiting.ruling) || entries_.empty()) return waiting.ruling;
  return go_on(ticket, std::move(waiting), view);
}

std::optional<Ruling> Chain::go_on(uint64_t ticket, Waiting waiting, GuestView& view) {
  for (const Entry& entry : entries_) {
    if (entry.order <= waiting.order) continue;
    waiting.order = entry.order;
    waiting.place = entry.place;
    waiting.module = entry.module.get();
    if (entry.module->info().needs_guest() && view.guest() == nullptr) {
      waiting.ruling.fault = true;
      break;
    }
    const auto said = entry.module->ask(ticket, waiting.question, view);
    if (!said) {
      waiting_.insert_or_assign(ticket, std::move(waiting));
      return std::nullopt;
    }
    if (!combine(checked(*said), entry.place, waiting.ruling)) break;
  }
  return std::move(waiting.ruling);
}

void Chain::flush() {
  for (const Entry& entry : entries_) entry.module->flush();
}

std::vector<Chain::Ruled> Chain::collect(GuestView& view) {
  std::vector<Ruled> ruled;
  for (Retired& retired : retired_) retired.questions -= collect(*retired.module, view, ruled);
  std::erase_if(retired_, [](const Retired& retired) { return retired.questions == 0; });
  for (size_t i = 0; i < entries_.size(); ++i) collect(*entries_[i].module, view, ruled);
  return ruled;
}

// How many questions it has answered.
size_t Chain::collect(Module& module, GuestView& view, std::vector<Ruled>& ruled) {
  std::vector<Module::Answered> answered;
  module.collect(answered);
  for (Module::Answered& one : answered) {
    auto found = waiting_.extract(one.ticket);
    HW_CHECK(!found.empty());  // a module answers what it was asked, and once: its word is checked where it comes in
    Waiting& waiting = found.mapped();
    if (combine(checked(std::move(one.said)), waiting.place, waiting.ruling)) {
      if (auto ruling = go_on(one.ticket, std::move(waiting), view)) ruled.push_back({one.ticket, *std::move(ruling)});
    } else {
      ruled.push_back({one.ticket, std::move(waiting.ruling)});
    }
  }
  return answered.size();
}

void Chain::guest_changed() {
  for (const Entry& entry : entries_) entry.module->guest_changed();
}

}  // namespace hyperward::filter
