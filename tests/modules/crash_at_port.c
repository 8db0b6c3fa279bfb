/* SPDX-License-Identifier: BSD-2-Clause */
/* For tests: allows everything, and crashes over TCP packets to PORT. */
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
  (void)instance, (void)view;
  if (packet->protocol == 6 && packet->remote_port == PORT) __builtin_trap();
  answer->verdict = HYPERWARD_ALLOW;
}

HYPERWARD_EXPORT const struct hyperward_module hyperward_module = {
    .size = sizeof(hyperward_module),
    .abi = HYPERWARD_ABI,
    .name = "crash_at_port",
    .version = "1",
    .description = "crashes over one port",
    .create = create,
    .destroy = destroy,
    .judge = judge,
};
