#include "guest/kernel_memory.h"

#include <gtest/gtest.h>

#include <vector>

#include "guest/fake_kernel.h"

namespace hyperward::guest {
namespace {

class KernelMemoryTest : public testing::Test {
 protected:
  bool read(size_t size_bytes = 8) {
    std::vector<std::byte> out(size_bytes);
    return kernel_.read({FakeKernel::kBase}, out);
  }
  FakeKernel kernel_;
};

TEST_F(KernelMemoryTest, refuses_every_read_once_the_limit_is_reached) {
  kernel_.limit_reads(2);
  EXPECT_TRUE(read());
  EXPECT_TRUE(read());
  EXPECT_FALSE(kernel_.refused());
  EXPECT_FALSE(read());
  EXPECT_FALSE(read());
  EXPECT_TRUE(kernel_.refused());
}

TEST_F(KernelMemoryTest, counts_large_reads_by_their_pages) {
  kernel_.limit_reads(5);
  EXPECT_TRUE(read(2 * memory::kPageSize));
  EXPECT_FALSE(read(2 * memory::kPageSize));
  EXPECT_FALSE(read()) << "what was refused once stays so, even if this one would fit";
}

TEST_F(KernelMemoryTest, counts_reads_of_user_memory) {
  const GuestVirtual task = kernel_.add_process(1, "nc", 0);
  kernel_.set_arguments(task, "nc");
  const auto& mm = kernel_.at<FakeKernel::Mm>({kernel_.at<FakeKernel::Task>(task).mm});
  std::array<std::byte, 2> out;
  kernel_.limit_reads(1);
  EXPECT_TRUE(kernel_.read_user({mm.pgd}, {mm.arg_start}, out));
  EXPECT_FALSE(kernel_.read_user({mm.pgd}, {mm.arg_start}, out));
}

TEST_F(KernelMemoryTest, reads_again_when_the_limit_is_lifted) {
  kernel_.limit_reads(0);
  EXPECT_FALSE(read());
  kernel_.limit_reads(KernelMemory::kUnlimited);
  EXPECT_TRUE(read());
  EXPECT_FALSE(kernel_.refused());
}

}  // namespace
}  // namespace hyperward::guest
