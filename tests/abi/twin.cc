// One source, two versions: what tells them apart lies in the kinds of variables that a loader may take for one
// another's.
#include <memory>
#include <string>

#include "hyperward/module.hpp"

using namespace hyperward::module;

template <typename T>
struct Shared {
  static inline uint32_t version = VERSION;
};

inline uint32_t& asked() {
  static uint32_t count = VERSION * 100;
  return count;
}

class Twin {
 public:
  Answer judge(const View&, const Packet&) {
    return deny("version " + std::to_string(Shared<int>::version)).code(++asked());
  }
};

HYPERWARD_MODULE(Twin, "twin", "1.0", "says which version it is");
