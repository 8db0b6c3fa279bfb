/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For tests: denies TCP connections that the guest begins to one port, {"port": 7777} of its settings or PORT of its
 * compilation, and logs them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "hyperward/module.h"

#ifndef PORT
#define PORT 0
#endif
#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

struct instance {
  int port;
  uint64_t passed;
};

static int create(const struct hyperward_host* host, const char* settings, void** instance, char* error, size_t room) {
  (void)host;
  int port = PORT;
  if (sscanf(settings, "{\"port\":%d}", &port) != 1 && port == 0) {
    snprintf(error, room, "it wants a port");
    return 1;
  }
  struct instance* const made = calloc(1, sizeof(*made));
  if (made == NULL) return 1;
  made->port = port;
  *instance = made;
  return 0;
}

static void destroy(void* instance) {
  free(instance);
}

static void judge(void* instance, struct hyperward_view* view, const struct hyperward_packet* packet,
                  struct hyperward_answer* answer) {
  (void)view;
  struct instance* const it = instance;
  const int denied = packet->protocol == 6 && packet->direction == HYPERWARD_OUT && packet->remote_port == it->port;
  answer->verdict = denied ? HYPERWARD_DENY : HYPERWARD_ALLOW;
  it->passed += !denied;
  if (!denied) return;
  answer->code = 1;
  answer->log = 1;
  snprintf(answer->reason, sizeof(answer->reason), "port %d", it->port);
}

static size_t counters(void* instance, struct hyperward_counter* out, size_t room) {
  if (room == 0) return 0;
  out[0] = (struct hyperward_counter){.name = "passed", .value = ((struct instance*)instance)->passed};
  return 1;
}

HYPERWARD_EXPORT const struct hyperward_module hyperward_module = {
    .size = sizeof(hyperward_module),
    .abi = HYPERWARD_ABI,
    .name = "deny_port",
    .version = TEXT(PORT),
    .description = "denies one port",
    .create = create,
    .destroy = destroy,
    .judge = judge,
    .counters = counters,
};
