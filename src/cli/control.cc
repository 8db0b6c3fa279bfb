#include "cli/control.h"

#include <unistd.h>

#include <cstdlib>

#include "guest/types.h"

namespace hyperward::cli {

using nlohmann::json;

Result<std::vector<std::string>> guests_meant(const Client& client, const std::string& named) {
  if (!named.empty()) return std::vector{named};
  HW_TRY(const json all, client.get("/v1/guests"));
  std::vector<std::string> guests;
  for (const json& guest : all) guests.push_back(member(guest, "name").get<std::string>());
  return guests;
}

json member(const json& object, const char* name) {
  return object.is_object() && object.contains(name) ? object[name] : json();
}

std::string cell(const json& object, const char* name) {
  const json value = member(object, name);
  if (value.is_null()) return "-";
  if (value.is_string()) return guest::printable(value.get_ref<const std::string&>());
  return value.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);  // escapes all that is special
}

std::string painted(Colour colour, const std::string& text) {
  static const bool on_terminal = ::isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
  return on_terminal ? fmt::format("\x1b[{}m{}\x1b[0m", static_cast<int>(colour), text) : text;
}

}  // namespace hyperward::cli
