/* A module that was built against the first version of the interface: it denies what goes to port 25, and says so. */
#include "module-1.0.h"

#include <string.h>

static int create(const struct hyperward_host* host, const char* settings, void** instance, char* error, size_t room) {
  (void)settings;
  (void)error;
  (void)room;
  *instance = (void*)host;
  return 0;
}

static void destroy(void* instance) {
  (void)instance;
}

static void judge(void* instance, struct hyperward_view* view, const struct hyperward_packet* packet,
                  struct hyperward_answer* answer) {
  const struct hyperward_host* host = instance;
  struct hyperward_owner owner = {.size = sizeof(owner)};
  host->owner(view, &owner);
  host->remark(view, HYPERWARD_DENY, owner.uid);
  answer->verdict = packet->remote_port == 25 ? HYPERWARD_DENY : HYPERWARD_ALLOW;
  answer->code = owner.uid;
  strcpy(answer->reason, owner.comm);
}

HYPERWARD_EXPORT const struct hyperward_module hyperward_module = {
    .size = sizeof(hyperward_module),
    .abi = HYPERWARD_ABI,
    .name = "old",
    .version = "1.0",
    .description = "was built against an older header",
    .needs = 0,
    .frame_bytes = 0,
    .create = create,
    .destroy = destroy,
    .judge = judge,
};
