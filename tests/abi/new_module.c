/* A module of today: it answers which of the functions and fields that came after the first version it was given. */
#include <string.h>

#include "hyperward/module.h"

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
  answer->verdict = HYPERWARD_DENY;
  answer->code = owner.uid;
  strcpy(answer->reason, "given:");
  if (HYPERWARD_HAS(packet, history)) strcat(answer->reason, " history");
  if (HYPERWARD_HAS(host, log)) strcat(answer->reason, " log");
}

static size_t counters(void* instance, struct hyperward_counter* out, size_t room) {
  (void)instance;
  if (room == 0) return 0;
  out[0].name = "one";
  out[0].value = 1;
  return 1;
}

HYPERWARD_EXPORT const struct hyperward_module hyperward_module = {
    .size = sizeof(hyperward_module),
    .abi = HYPERWARD_ABI,
    .name = "new",
    .version = "1.0",
    .description = "knows what the first version did not have",
    .needs = 0,
    .frame_bytes = 0,
    .create = create,
    .destroy = destroy,
    .judge = judge,
    .counters = counters,
};
