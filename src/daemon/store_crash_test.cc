// Kills a process while it changes the store, again and again, and looks at what is left.
//
// What the process does next follows from its dice and from a Model of what the store holds, so this side can follow
// with dice and a model of its own: one step for each change that was acknowledged. What is found in the file must then
// be this model, or this model one step on (the change that was under way), and nothing between or beside them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <map>
#include <random>
#include <thread>

#include "base/fd.h"
#include "daemon/store.h"
#include "daemon/test_directory.h"

namespace hyperward::daemon {
namespace {

using namespace std::chrono_literals;

constexpr int kKills = 100;
constexpr int kKillsPerDatabase = 10;  // then a new one, so that its making is cut short too
constexpr uint32_t kMaxAcknowledged = 12;
constexpr auto kMostTime = 17s;  // on a slow disk fewer kills must do

class Dice {
 public:
  explicit Dice(uint32_t seed) : engine_(seed) {}
  uint32_t below(uint32_t limit) { return std::uniform_int_distribution<uint32_t>(0, limit - 1)(engine_); }
  bool one_in(uint32_t n) { return below(n) == 0; }

 private:
  std::mt19937 engine_;
};

enum class Kind : uint8_t {
  kAddRule,
  kReplaceRule,
  kRemoveRule,
  kAddAlert,
  kRespond,
  kAdvise,
  kUndo,
  kExpire,
  kReopen
};
constexpr uint32_t kKinds = 9;

struct Change {
  Kind kind{};
  int64_t id = 0;  // of the rule, or of the response, that it is about
  StoredRule rule;
  StoredAlert alert;
  StoredResponse response;
  WallTime now{};
};

// What a change was answered: the ids that it gave, or how many rules have expired. Short enough for one write.
struct Answer {
  int64_t rule = 0, alert = 0, response = 0, expired = 0;
  bool operator==(const Answer&) const = default;
};

struct Model {
  std::map<int64_t, StoredRule> rules;
  std::map<int64_t, StoredAlert> alerts;
  std::map<int64_t, StoredResponse> responses;
  Answer last;  // given so far
  WallTime now{1'700'000'000s};

  [[nodiscard]] bool same_rows(const Model& other) const {
    return rules == other.rules && alerts == other.alerts && responses == other.responses;
  }
};

template <typename Row>
int64_t any_id(Dice& dice, const std::map<int64_t, Row>& rows) {
  return std::next(rows.begin(), dice.below(static_cast<uint32_t>(rows.size())))->first;
}

Change random_change(Dice& dice, const Model& model) {
  Change change{.kind = static_cast<Kind>(dice.below(kKinds)), .rule = {}, .alert = {}, .response = {}};
  if (dice.one_in(3)) change.kind = Kind::kRespond;  // the one with most parts
  std::vector<int64_t> in_force;
  for (const auto& [id, rule] : model.rules)
    if (rule.response != 0) in_force.push_back(rule.response);
  const bool about_rule = change.kind == Kind::kReplaceRule || change.kind == Kind::kRemoveRule;
  if ((about_rule && model.rules.empty()) || (change.kind == Kind::kUndo && in_force.empty()))
    change.kind = Kind::kRespond;
  else if (about_rule)
    change.id = any_id(dice, model.rules);
  else if (change.kind == Kind::kUndo)
    change.id = in_force[dice.below(static_cast<uint32_t>(in_force.size()))];

  change.now = model.now + 1s;
  const std::string guest = dice.one_in(2) ? "web" : "mail";
  const std::string text =
      fmt::format("deny out to tcp port {} # {}", dice.below(65536), std::string(dice.below(9000), 'x'));
  const auto until = dice.one_in(4) ? std::nullopt : std::optional(change.now + 1s * dice.below(20));
  change.rule = {.guest = guest, .text = text, .created = change.now, .expires = until};
  change.alert = {.guest = guest, .time = change.now, .kind = "mail-burst", .summary = text, .details = "{}"};
  change.response = {
      .guest = guest, .time = change.now, .action = "deny-port", .rule_text = text, .why = "because", .until = until};
  return change;
}

Result<Answer> apply(const Change& change, std::unique_ptr<Store>& store, const std::filesystem::path& file) {
  Answer answer;
  switch (change.kind) {
    case Kind::kAddRule: {
      HW_TRY(const StoredRule rule, store->add_rule(change.rule));
      answer.rule = rule.id;
      break;
    }
    case Kind::kReplaceRule: HW_OK(store->replace_rule(change.id, change.rule.text, change.rule.expires)); break;
    case Kind::kRemoveRule: HW_OK(store->remove_rule(change.id, change.now)); break;
    case Kind::kAddAlert: {
      HW_TRY(const StoredAlert alert, store->add_alert(change.alert));
      answer.alert = alert.id;
      break;
    }
    case Kind::kRespond:
    case Kind::kAdvise: {
      const auto rule = change.kind == Kind::kRespond ? std::optional(change.rule) : std::nullopt;
      HW_TRY(const Store::Answered answered, store->add_response(change.alert, change.response, rule));
      answer.alert = answered.alert.id;
      answer.response = answered.response.id;
      answer.rule = answered.response.rule;
      break;
    }
    case Kind::kUndo: HW_OK(store->undo(change.id, change.now)); break;
    case Kind::kExpire: {
      HW_TRY(const std::vector<StoredRule> expired, store->expire(change.now));
      answer.expired = static_cast<int64_t>(expired.size());
      break;
    }
    case Kind::kReopen: {  // closing moves everything from the log into the file
      store.reset();
      HW_TRY(store, Store::open(file));
      break;
    }
  }
  return answer;
}

void end(Model& model, int64_t rule, ResponseState state, WallTime now) {
  if (const int64_t response = model.rules.at(rule).response; response != 0) {
    model.responses.at(response).state = state;
    model.responses.at(response).ended = now;
  }
  model.rules.erase(rule);
}

void respond(Model& model, const Change& change, Answer& answer) {
  answer.alert = ++model.last.alert;
  answer.response = ++model.last.response;
  model.alerts[answer.alert] = change.alert;
  model.alerts[answer.alert].id = answer.alert;
  StoredResponse response = change.response;
  response.id = answer.response;
  response.alert = answer.alert;
  response.state = ResponseState::kAdvised;
  if (change.kind == Kind::kRespond) {
    answer.rule = ++model.last.rule;
    response.rule = answer.rule;
    response.state = ResponseState::kInForce;
    StoredRule rule = change.rule;
    rule.id = answer.rule;
    rule.response = answer.response;
    model.rules[rule.id] = rule;
  }
  model.responses[response.id] = response;
}

void replace(Model& model, const Change& change) {
  StoredRule& rule = model.rules.at(change.id);
  rule.text = change.rule.text;
  rule.expires = change.rule.expires;
  if (rule.response == 0) return;
  model.responses.at(rule.response).rule_text = rule.text;
  model.responses.at(rule.response).until = rule.expires;
}

Answer apply(const Change& change, Model& model) {
  Answer answer;
  model.now = change.now;
  switch (change.kind) {
    case Kind::kAddRule:
      answer.rule = ++model.last.rule;
      model.rules[answer.rule] = change.rule;
      model.rules[answer.rule].id = answer.rule;
      break;
    case Kind::kReplaceRule: replace(model, change); break;
    case Kind::kRemoveRule: end(model, change.id, ResponseState::kUndone, change.now); break;
    case Kind::kAddAlert:
      answer.alert = ++model.last.alert;
      model.alerts[answer.alert] = change.alert;
      model.alerts[answer.alert].id = answer.alert;
      break;
    case Kind::kRespond:
    case Kind::kAdvise: respond(model, change, answer); break;
    case Kind::kUndo: end(model, model.responses.at(change.id).rule, ResponseState::kUndone, change.now); break;
    case Kind::kExpire: {
      std::vector<int64_t> due;
      for (const auto& [id, rule] : model.rules)
        if (rule.expires && *rule.expires <= change.now) due.push_back(id);
      for (const int64_t id : due) end(model, id, ResponseState::kExpired, change.now);
      answer.expired = static_cast<int64_t>(due.size());
      break;
    }
    case Kind::kReopen: break;
  }
  return answer;
}

// The process that is killed: changes the store for ever, and writes each answer once it has it.
[[noreturn]] void change_for_ever(const std::filesystem::path& file, Dice dice, Model model, int acknowledge) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const auto give_up = [](const Error& error) {
    fmt::print(stderr, "the process to be killed: {}\n", error.message);
    ::_exit(1);
  };
  auto store = Store::open(file);
  if (!store) give_up(store.error());
  while (true) {
    const Change change = random_change(dice, model);
    const auto answer = apply(change, *store, file);
    if (!answer) give_up(answer.error());
    apply(change, model);
    if (::write(acknowledge, &*answer, sizeof(*answer)) != sizeof(*answer)) ::_exit(1);
  }
}

// Everything that was acknowledged up to the kill, which comes a random moment after `count` of them.
std::vector<Answer> run_and_kill(const std::filesystem::path& file, const Dice& dice, const Model& model,
                                 uint32_t count, std::chrono::microseconds moment) {
  std::array<int, 2> ends{};
  HW_CHECK(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const Fd reading(ends[0]);
  Fd writing(ends[1]);
  const pid_t child = ::fork();
  HW_CHECK(child >= 0);
  if (child == 0) change_for_ever(file, dice, model, writing.get());
  writing = Fd();  // else reading would never end

  std::vector<Answer> answers;
  Answer answer;
  const auto read_one = [&] { return ::read(reading.get(), &answer, sizeof(answer)) == sizeof(answer); };
  while (answers.size() < count && read_one()) answers.push_back(answer);
  std::this_thread::sleep_for(moment);
  ::kill(child, SIGKILL);
  int status = 0;
  HW_CHECK(::waitpid(child, &status, 0) == child);
  EXPECT_TRUE(WIFSIGNALED(status)) << "the process ended by itself";
  while (read_one()) answers.push_back(answer);
  return answers;
}

Model contents(const Store& store) {
  Model found;
  const auto rules = store.rules("");
  const auto alerts = store.alerts({.limit = Store::kMaxRows});
  const auto responses = store.responses({.limit = Store::kMaxRows});
  HW_CHECK(rules && alerts && responses && alerts->size() < Store::kMaxRows);
  for (const StoredRule& rule : *rules) found.rules[rule.id] = rule;
  for (const StoredAlert& alert : *alerts) found.alerts[alert.id] = alert;
  for (const StoredResponse& response : *responses) found.responses[response.id] = response;
  return found;
}

// The same once more without the model: the parts of a response agree, whatever was meant to be there.
void expect_whole(const Model& found) {
  for (const auto& [id, response] : found.responses) {
    EXPECT_TRUE(found.alerts.contains(response.alert)) << "response " << id;
    const auto rule = found.rules.find(response.rule);
    EXPECT_EQ(rule != found.rules.end(), response.state == ResponseState::kInForce) << "response " << id;
    if (rule == found.rules.end()) continue;
    EXPECT_EQ(rule->second.response, id);
    EXPECT_EQ(rule->second.text, response.rule_text);
    EXPECT_EQ(rule->second.expires, response.until);
  }
  for (const auto& [id, rule] : found.rules)
    EXPECT_TRUE(rule.response == 0 || found.responses.contains(rule.response)) << "rule " << id;
}

TEST(StoreCrash, keeps_what_it_acknowledged_and_nothing_by_half) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  const TestDirectory directory;
  const auto began = std::chrono::steady_clock::now();
  Dice moments(seed);
  Dice dice(seed + 1);
  Model model;
  std::filesystem::path file;
  int kills = 0, under_way = 0;
  size_t acknowledged = 0;
  for (; kills < kKills && std::chrono::steady_clock::now() - began < kMostTime; ++kills) {
    if (kills % kKillsPerDatabase == 0) {
      file = directory.path() / fmt::format("{}", kills) / "test.db";
      model = Model();
    }
    const uint32_t count = moments.below(kMaxAcknowledged + 1);
    const auto moment = std::chrono::microseconds(moments.below(count == 0 ? 30'000 : 8'000));
    const std::vector<Answer> answers = run_and_kill(file, dice, model, count, moment);
    for (const Answer& answer : answers) ASSERT_EQ(apply(random_change(dice, model), model), answer);
    acknowledged += answers.size();

    const auto store = Store::open(file);
    ASSERT_TRUE(store) << store.error().message;
    const Model found = contents(**store);
    ASSERT_NO_FATAL_FAILURE(expect_whole(found));
    // What was under way may have changed the contents, or not; either way the same dice go on from here.
    Model next = model;
    apply(random_change(dice, next), next);
    if (found.same_rows(model)) continue;
    ASSERT_TRUE(found.same_rows(next)) << "kill " << kills << ": neither what was acknowledged nor one change more";
    model = std::move(next);
    ++under_way;
  }
  fmt::print("seed {}: {} kills, {} changes acknowledged, {} that were under way found done\n", seed, kills,
             acknowledged, under_way);
}

}  // namespace
}  // namespace hyperward::daemon
