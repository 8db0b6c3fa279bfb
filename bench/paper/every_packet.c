/* A filter module that allows everything, for the packet in hand alone: so nothing is remembered of a flow, and every
 * packet of the guest is held, attributed and judged. It costs nothing itself: what is measured with it is the way. */
#include "hyperward/module.h"

static int create(const struct hyperward_host* host, const char* settings, void** instance, char* error, size_t room) {
  (void)host, (void)settings, (void)error, (void)room;
  *instance = NULL;
  return 0;
}

static void destroy(void* instance) {
  (void)instance;
}

static void judge(void* instance, struct hyperward_view* view, const struct hyperward_packet* packet,
                  struct hyperward_answer* answer) {
  (void)instance, (void)view, (void)packet;
  answer->verdict = HYPERWARD_ALLOW;
  answer->lifetime_ms = 0;
}

HYPERWARD_EXPORT const struct hyperward_module hyperward_module = {
    .size = sizeof(struct hyperward_module),
    .abi = HYPERWARD_ABI,
    .name = "every-packet",
    .version = "1.0",
    .description = "allows each packet alone, so that every one is judged",
    .create = create,
    .destroy = destroy,
    .judge = judge,
};
