#include "filter/module_info.h"

#include <algorithm>
#include <cstring>

namespace hyperward::filter {
namespace {

constexpr size_t kWordsMaxBytes = 256;  // of a version or a description

bool is_of_names(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= kModuleNameMaxBytes &&
         std::ranges::all_of(text, [](unsigned char c) { return is_of_names(c) || c == '-'; });
}

}  // namespace

bool is_counter_name(std::string_view text) {
  return !text.empty() && text.size() <= kModuleNameMaxBytes && std::ranges::all_of(text, is_of_names);
}

std::string words(const char* text) {
  return text == nullptr ? std::string() : std::string(text, ::strnlen(text, kWordsMaxBytes));
}

// The table is as old as the module: only what lies within its size is looked at.
Result<ModuleInfo> info_of(const hyperward_module& table) {
  if (!HYPERWARD_HAS(&table, judge)) return fail(Code::kInvalid, "its table is {} bytes short", table.size);
  if (table.abi != HYPERWARD_ABI)
    return fail(Code::kInvalid, "it was built for version {} of the module interface, this is version {}", table.abi,
                HYPERWARD_ABI);
  if (table.create == nullptr || table.destroy == nullptr || table.judge == nullptr)
    return fail(Code::kInvalid, "its table lacks create, destroy or judge");
  return checked({.name = words(table.name),
                  .version = words(table.version),
                  .description = words(table.description),
                  .needs = table.needs,
                  .frame_bytes = table.frame_bytes});
}

Result<ModuleInfo> checked(ModuleInfo info) {
  if (!is_name(info.name))
    return fail(Code::kInvalid, "its name must be of a-z, 0-9, _ and -, {} at most", kModuleNameMaxBytes);
  if (info.version.size() > kWordsMaxBytes || info.description.size() > kWordsMaxBytes)
    return fail(Code::kInvalid, "module {} says too much of itself", info.name);
  if ((info.needs & ~(HYPERWARD_NEEDS_FRAME | HYPERWARD_NEEDS_GUEST)) != 0)
    return fail(Code::kInvalid, "module {} needs what this version of hyperward does not have", info.name);
  if ((info.needs & HYPERWARD_NEEDS_FRAME) == 0) {
    info.frame_bytes = 0;
  } else if (info.frame_bytes == 0 || info.frame_bytes > HYPERWARD_FRAME_MAX) {
    return fail(Code::kInvalid, "module {} needs {} bytes of a frame, 1 to {} can be had", info.name, info.frame_bytes,
                HYPERWARD_FRAME_MAX);
  }
  return info;
}

}  // namespace hyperward::filter
