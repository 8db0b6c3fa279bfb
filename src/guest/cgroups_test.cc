#include "guest/cgroups.h"

#include <gtest/gtest.h>

#include "guest/fake_kernel.h"
#include "guest/fake_paths.h"

namespace hyperward::guest {
namespace {

class CgroupsTest : public testing::Test {
 protected:
  CgroupsTest() { paths_.set_group(task_, cron_); }

  Result<std::string> path() { return Cgroups(kernel_, paths_.cgroup_layout).path(tasks_.read(task_).value()); }
  Code error() {
    const auto text = path();
    EXPECT_FALSE(text) << *text;
    return text ? Code::kSystem : text.error().code;
  }

  FakeKernel kernel_;
  FakePaths paths_{kernel_};
  Tasks tasks_{kernel_, kernel_.layout, kernel_.roots};
  GuestVirtual task_ = paths_.add_process(7, "cron");
  GuestVirtual slice_ = paths_.add_group(paths_.group_root, "system.slice");
  GuestVirtual cron_ = paths_.add_group(slice_, "cron.service");
};

TEST_F(CgroupsTest, names_the_group_from_the_root) {
  EXPECT_EQ(path().value(), "/system.slice/cron.service");
}

TEST_F(CgroupsTest, shows_the_root_as_a_slash) {
  paths_.set_group(task_, paths_.group_root);
  EXPECT_EQ(path().value(), "/");
}

TEST_F(CgroupsTest, reads_a_name_of_the_longest_kind) {
  paths_.set_group(task_, paths_.add_group(slice_, std::string(255, 'n')));
  EXPECT_EQ(path().value(), "/system.slice/" + std::string(255, 'n'));
}

TEST_F(CgroupsTest, refuses_names_that_no_group_has) {
  for (const std::string& name : {std::string(), std::string("a/b"), std::string(256, 'x')}) {
    paths_.set_group(task_, paths_.add_group(slice_, name));
    EXPECT_EQ(error(), Code::kInconsistent) << name;
  }
}

TEST_F(CgroupsTest, ends_on_groups_that_are_a_cycle) {
  paths_.at_group(slice_).parent = cron_.value;
  EXPECT_EQ(error(), Code::kLimit);
}

TEST_F(CgroupsTest, fails_where_pointers_lead_nowhere) {
  paths_.at_group(slice_).name = 0x1234;
  EXPECT_EQ(error(), Code::kUnreadable);
  paths_.at_group(cron_).parent = UINT64_MAX;
  EXPECT_EQ(error(), Code::kUnreadable);
  kernel_.at<FakeKernel::Task>(task_).cgroups = 0;
  EXPECT_EQ(error(), Code::kUnreadable);
}

}  // namespace
}  // namespace hyperward::guest
