// A module whose constructor, while it is loaded, already does what it should not.
#include <sys/socket.h>

#include "hyperward/module.h"

namespace {

const int kSocket = ::socket(AF_INET, SOCK_STREAM, 0);

int create(const hyperward_host*, const char*, void** instance, char*, size_t) {
  *instance = nullptr;
  return 0;
}
void destroy(void*) {}
void judge(void*, hyperward_view*, const hyperward_packet*, hyperward_answer* answer) {
  answer->verdict = kSocket < 0 ? HYPERWARD_DENY : HYPERWARD_ALLOW;
}

}  // namespace

HYPERWARD_EXPORT const hyperward_module hyperward_module = {
    .size = sizeof(struct hyperward_module),
    .abi = HYPERWARD_ABI,
    .name = "early",
    .version = "1",
    .description = "",
    .needs = 0,
    .frame_bytes = 0,
    .create = create,
    .destroy = destroy,
    .judge = judge,
    .counters = nullptr,
};
