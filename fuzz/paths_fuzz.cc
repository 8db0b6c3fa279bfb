// Any bytes over a guest's dentries, mounts, control groups and task list: 16-bit place, 64-bit word, and again.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "guest/fake_kernel.h"
#include "guest/fake_paths.h"

using namespace hyperward;         // NOLINT(google-build-using-namespace)
using namespace hyperward::guest;  // NOLINT(google-build-using-namespace)

namespace {

constexpr size_t kArenaBytes = size_t{1} << 16;
constexpr size_t kPlaceBytes = 2;
constexpr size_t kChangeBytes = kPlaceBytes + 8;

// A small guest as it is before any change; what is made of it lies in its bytes alone.
struct Scene {
  FakeKernel kernel{kArenaBytes};
  FakePaths paths{kernel};
  Tasks tasks{kernel, kernel.layout, kernel.roots};
  GuestVirtual task = paths.add_process(7, "nc");

  Scene() {
    const GuestVirtual usr = paths.add_dentry(paths.root, "usr");
    const GuestVirtual disk = paths.add_dentry({}, "/");
    paths.set_executable(task, paths.add_mount(disk, paths.root_mount, usr), paths.add_dentry(disk, "nc"));
    const GuestVirtual slice = paths.add_group(paths.group_root, "system.slice");
    paths.set_group(task, paths.add_group(slice, "nc.service"));
  }
};

void check(const Result<std::string>& path) {
  HW_CHECK(!path || (path->starts_with('/') && path->size() <= PathText::kMaxBytes + sizeof " (deleted)" &&
                     path->find('\0') == std::string::npos));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Scene scene;
  static const std::vector<std::byte> untouched(scene.kernel.bytes().begin(), scene.kernel.bytes().end());
  std::ranges::copy(untouched, scene.kernel.bytes().begin());
  for (; size >= kChangeBytes; data += kChangeBytes, size -= kChangeBytes) {
    uint16_t place = 0;
    std::memcpy(&place, data, kPlaceBytes);
    std::memcpy(scene.kernel.bytes().data() + (place & ~uint16_t{7}), data + kPlaceBytes, 8);
  }
  static_cast<void>(scene.tasks.for_each([](const Task& task) { return task.tgid > Tasks::kMaxPid; }));
  if (const auto task = scene.tasks.read(scene.task)) {
    check(Paths(scene.kernel, scene.paths.layout, scene.tasks).executable(*task));
    check(Cgroups(scene.kernel, scene.paths.cgroup_layout).path(*task));
  }
  return 0;
}
