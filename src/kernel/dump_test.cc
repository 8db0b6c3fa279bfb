// Real kernels. HYPERWARD_DUMPS names a folder with NAME.raw (or NAME.elf), the guest's memory, and NAME.kallsyms, its
// /proc/kallsyms as root; tests/guest boots kernels to make them from.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "kernel/kernel.h"
#include "memory/cached_memory.h"
#include "memory/open.h"

namespace hyperward::kernel {
namespace {

std::vector<std::filesystem::path> dumps() {
  std::vector<std::filesystem::path> paths;
  const char* folder = std::getenv("HYPERWARD_DUMPS");
  if (folder == nullptr) return paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".raw" || entry.path().extension() == ".elf") paths.push_back(entry.path());
  std::ranges::sort(paths);
  return paths;
}

#define SKIP_WITHOUT_DUMPS() \
  if (dumps().empty()) GTEST_SKIP() << "no real kernel was tested: HYPERWARD_DUMPS names no folder with dumps"

TEST(Dump, has_the_symbols_that_the_guest_itself_lists) {
  SKIP_WITHOUT_DUMPS();
  for (const std::filesystem::path& path : dumps()) {
    SCOPED_TRACE(path.string());
    const auto memory = memory::open_dump(path);
    ASSERT_TRUE(memory) << memory.error().message;
    const auto kernel = Kernel::attach(**memory);
    ASSERT_TRUE(kernel) << kernel.error().message;

    std::ifstream list(std::filesystem::path(path).replace_extension(".kallsyms"));
    ASSERT_TRUE(list) << "no list of symbols beside it";
    size_t count = 0;
    size_t wrong = 0;
    (*kernel)->for_each_symbol([&](std::string_view name, GuestVirtual address, char type) {
      ++count;
      std::string line;
      std::getline(list, line);
      if (line != fmt::format("{:016x} {} {}", address.value, type, name) && wrong++ == 0)
        ADD_FAILURE() << "the guest lists \"" << line << "\", not " << name;
    });
    EXPECT_EQ(wrong, 0U) << "of " << count;
    // Modules follow, in brackets.
    std::string next;
    EXPECT_TRUE(!std::getline(list, next) || next.find('[') != std::string::npos) << next;
    EXPECT_GT(count, 50000U);
  }
}

TEST(Dump, has_the_first_task_by_its_type) {
  SKIP_WITHOUT_DUMPS();
  for (const std::filesystem::path& path : dumps()) {
    SCOPED_TRACE(path.string());
    const auto memory = memory::open_dump(path);
    ASSERT_TRUE(memory) << memory.error().message;
    const memory::CachedMemory cached(**memory);  // as for a guest that is read by system calls
    const auto kernel = Kernel::attach(cached);
    ASSERT_TRUE(kernel) << kernel.error().message;
    const auto comm = (*kernel)->types().field("task_struct", "comm");
    const auto next = (*kernel)->types().field("task_struct", "tasks.next");
    const auto init_task = (*kernel)->symbol("init_task");
    ASSERT_TRUE(comm && next && init_task);
    const auto name = (*kernel)->read<std::array<char, 16>>(*init_task + comm->offset_bytes);
    ASSERT_TRUE(name);
    EXPECT_STREQ(name->data(), "swapper/0");
    const auto second = (*kernel)->read<GuestVirtual>(*init_task + next->offset_bytes);
    ASSERT_TRUE(second);
    EXPECT_TRUE((*kernel)->read<uint64_t>(*second));
  }
}

}  // namespace
}  // namespace hyperward::kernel
