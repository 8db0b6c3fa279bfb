// For tests: validates JSON against the part of JSON Schema (2020-12) that docs/openapi.json uses. A keyword that it
// does not know is an error, so that nothing in the document goes unchecked.
#pragma once

#include <regex.h>

#include <algorithm>
#include <string>

#include <nlohmann/json.hpp>

#include "base/time.h"

namespace hyperward::daemon {

class JsonSchema {
 public:
  using Json = nlohmann::json;

  // References are resolved in `document`, which must outlive this.
  explicit JsonSchema(const Json& document) : document_(document) {}

  // "": it is valid. Otherwise what is wrong, and where.
  [[nodiscard]] std::string mistake(const Json& schema, const Json& value, const std::string& where = "$") const {
    for (const auto& [keyword, wanted] : schema.items()) {
      const std::string found = mistake_of(keyword, wanted, schema, value, where);
      if (!found.empty()) return found;
    }
    return "";
  }

 private:
  // Of the expressions that ours use, POSIX's extended ones and ECMA's are the same.
  static bool matches(const std::string& text, const std::string& pattern) {
    regex_t compiled;
    if (::regcomp(&compiled, pattern.c_str(), REG_EXTENDED | REG_NOSUB) != 0) return false;
    const bool found = ::regexec(&compiled, text.c_str(), 0, nullptr, 0) == 0;
    ::regfree(&compiled);
    return found;
  }

  static bool is_type(const std::string& type, const Json& value) {
    if (type == "object") return value.is_object();
    if (type == "array") return value.is_array();
    if (type == "string") return value.is_string();
    if (type == "integer") return value.is_number_integer();
    if (type == "number") return value.is_number();
    if (type == "boolean") return value.is_boolean();
    return type == "null" && value.is_null();
  }

  static bool has_type(const Json& types, const Json& value) {
    if (types.is_string()) return is_type(types, value);
    return std::any_of(types.begin(), types.end(), [&](const Json& type) { return is_type(type, value); });
  }

  [[nodiscard]] std::string mistake_of(const std::string& keyword, const Json& wanted, const Json& schema,
                                       const Json& value, const std::string& where) const {
    if (keyword == "description" || keyword == "examples" || keyword == "default") return "";
    if (keyword == "$ref") {
      const std::string reference = wanted;
      return mistake(document_.at(Json::json_pointer(reference.substr(1))), value, where);
    }
    if (keyword == "type") return has_type(wanted, value) ? "" : where + " is no " + wanted.dump();
    if (keyword == "enum")
      return std::find(wanted.begin(), wanted.end(), value) != wanted.end() ? ""
                                                                            : where + " is none of " + wanted.dump();
    if (keyword == "minimum")
      return value.is_number() && value < wanted ? where + " is less than " + wanted.dump() : "";
    if (keyword == "maximum") return value.is_number() && value > wanted ? where + " is over " + wanted.dump() : "";
    if (keyword == "pattern")
      return !value.is_string() || matches(value.get<std::string>(), wanted.get<std::string>())
                 ? ""
                 : where + " is not like " + wanted.dump();
    if (keyword == "format") {
      if (wanted != "date-time") return where + ": unknown format " + wanted.dump();
      return !value.is_string() || from_rfc3339(value.get<std::string>()) ? "" : where + " is no time";
    }
    if (keyword == "required") {
      for (const std::string name : wanted)
        if (value.is_object() && !value.contains(name)) return where + " lacks " + name;
      return "";
    }
    if (keyword == "properties") {
      for (const auto& [name, property] : wanted.items()) {
        if (!value.is_object() || !value.contains(name)) continue;
        if (const std::string found = mistake(property, value[name], where + "." + name); !found.empty()) return found;
      }
      return "";
    }
    if (keyword == "additionalProperties") {
      if (!value.is_object()) return "";
      for (const auto& [name, member] : value.items()) {
        if (schema.contains("properties") && schema["properties"].contains(name)) continue;
        if (wanted == false) return where + " has an unknown " + name;
        if (const std::string found = mistake(wanted, member, where + "." + name); !found.empty()) return found;
      }
      return "";
    }
    if (keyword == "items") {
      for (size_t i = 0; value.is_array() && i < value.size(); ++i) {
        const std::string found = mistake(wanted, value[i], where + "[" + std::to_string(i) + "]");
        if (!found.empty()) return found;
      }
      return "";
    }
    if (keyword == "allOf" || keyword == "anyOf" || keyword == "oneOf") {
      size_t valid = 0;
      std::string first;
      for (const Json& each : wanted) {
        const std::string found = mistake(each, value, where);
        if (found.empty()) ++valid;
        if (first.empty()) first = found;
      }
      const bool enough = keyword == "allOf" ? valid == wanted.size() : keyword == "anyOf" ? valid > 0 : valid == 1;
      return enough ? "" : first.empty() ? where + " fits more than one of " + wanted.dump() : first;
    }
    return where + ": the schema has an unknown keyword " + keyword;
  }

  const Json& document_;
};

}  // namespace hyperward::daemon
