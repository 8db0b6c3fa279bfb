#include "filter/rules_module.h"

#include <cstring>

#include <nlohmann/json.hpp>

#include "filter/guest_view.h"
#include "filter/question.h"

namespace hyperward::filter {
namespace {

using nlohmann::json;

int refuse(char* error, size_t room, const std::string& why) {
  const size_t length = why.copy(error, room - 1);
  error[length] = '\0';
  return 1;
}

policy::Names names_from(const json& settings) {
  policy::Names names;
  const auto read = [&](const char* key, auto& ids) {
    if (!settings.contains(key) || !settings[key].is_object()) return;
    for (const auto& [name, id] : settings[key].items())
      if (id.is_number_unsigned()) ids[name] = id.template get<uint32_t>();
  };
  read("users", names.users);
  read("groups", names.groups);
  return names;
}

int create(const hyperward_host*, const char* text, void** instance, char* error, size_t room) {
  const json settings = json::parse(text, nullptr, false);
  if (!settings.is_object() || !settings.contains("rules") || !settings["rules"].is_string())
    return refuse(error, room, "settings must be an object with the text of the \"rules\"");
  auto rules = policy::compile(settings["rules"].get_ref<const std::string&>(), names_from(settings));
  if (!rules) return refuse(error, room, policy::to_string(rules.error().front()));
  *instance = new RuleChain(*std::move(rules));
  return 0;
}

void destroy(void* instance) {
  delete static_cast<const RuleChain*>(instance);
}

void judge(void* instance, hyperward_view* view, const hyperward_packet* packet, hyperward_answer* answer) {
  const auto& rules = *static_cast<const RuleChain*>(instance);
  const hyperward_host& host = GuestView::host();
  hyperward_owner owner{};
  owner.size = sizeof(owner);
  host.owner(view, &owner);
  const policy::Decision decision = rules.decide(flow_of(*packet), subject_of(owner));

  for (const policy::Audited& audited : decision.audited()) host.remark(view, to_abi(audited.verdict), audited.line);
  answer->verdict = to_abi(decision.verdict);
  answer->log = decision.log ? 1 : 0;
  answer->code = decision.rule;
}

}  // namespace

const hyperward_module& rules_module() {
  static constexpr hyperward_module kTable{
      .size = sizeof(hyperward_module),
      .abi = HYPERWARD_ABI,
      .name = "rules",
      .version = "1",
      .description = "the rules of who may reach what",
      .needs = 0,
      .frame_bytes = 0,
      .create = create,
      .destroy = destroy,
      .judge = judge,
      .counters = nullptr,
  };
  return kTable;
}

}  // namespace hyperward::filter
