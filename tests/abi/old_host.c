#define _GNU_SOURCE
#include "old_host.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "module-1.0.h"

/* Room for `bytes` that ends where a page ends, and nothing follows it. Stays until the program ends. */
static void* at_the_end_of_a_page(size_t bytes) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  char* const pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED || mprotect(pages + page, page, PROT_NONE) != 0) abort();
  return pages + page - bytes;
}

static uint64_t boot(struct hyperward_view* view) {
  (void)view;
  return 1;
}

static void owner(struct hyperward_view* view, struct hyperward_owner* out) {
  (void)view;
  out->known = HYPERWARD_KNOWN_UID;
  out->uid = 1000;
}

struct old_answer ask_in_old_host(const void* table, const char* settings) {
  const struct hyperward_module* const module = table;
  struct hyperward_host* const host = at_the_end_of_a_page(sizeof(*host));
  host->size = sizeof(*host);
  host->abi = HYPERWARD_ABI;
  host->boot = boot;
  host->owner = owner;
  struct hyperward_packet* const packet = at_the_end_of_a_page(sizeof(*packet));
  packet->size = sizeof(*packet);
  packet->direction = HYPERWARD_OUT;
  packet->why = HYPERWARD_NEW_FLOW;
  packet->protocol = 6;
  packet->remote_port = 25;
  struct hyperward_answer* const answer = at_the_end_of_a_page(sizeof(*answer));
  answer->size = sizeof(*answer);
  answer->lifetime_ms = HYPERWARD_FOREVER;

  struct old_answer said = {0};
  char error[256] = "";
  void* instance = NULL;
  if (module->create(host, settings, &instance, error, sizeof(error)) != 0) return said;
  module->judge(instance, NULL, packet, answer);
  module->destroy(instance);
  said.created = 1;
  said.verdict = answer->verdict;
  said.code = answer->code;
  said.lifetime_ms = answer->lifetime_ms;
  memcpy(said.reason, answer->reason, sizeof(said.reason));
  return said;
}
