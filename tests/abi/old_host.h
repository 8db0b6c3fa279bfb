/* A host that was built against the first version of the interface. */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct old_answer {
  int created; /* 1: the module accepted its settings, and the rest is what it said */
  uint8_t verdict;
  uint32_t code, lifetime_ms;
  char reason[64];
};

/* Asks the module whose table this is about one flow, of user 1000. What lies behind the structs that it is given is
 * unmapped: a module that reads beyond their sizes does not survive it. */
struct old_answer ask_in_old_host(const void* table, const char* settings);

#ifdef __cplusplus
}
#endif
