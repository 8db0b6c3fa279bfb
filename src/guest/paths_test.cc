#include "guest/paths.h"

#include <gtest/gtest.h>

#include "guest/fake_kernel.h"
#include "guest/fake_paths.h"

namespace hyperward::guest {
namespace {

// A process that runs /usr/bin/nc.
class PathsTest : public testing::Test {
 protected:
  PathsTest() { run(paths_.root_mount, nc_); }

  void run(GuestVirtual mount, GuestVirtual dentry) { paths_.set_executable(task_, mount, dentry); }
  Result<std::string> executable() {
    return Paths(kernel_, paths_.layout, tasks_).executable(tasks_.read(task_).value());
  }
  Code error() {
    const auto path = executable();
    EXPECT_FALSE(path) << *path;
    return path ? Code::kSystem : path.error().code;
  }

  FakeKernel kernel_;
  FakePaths paths_{kernel_};
  Tasks tasks_{kernel_, kernel_.layout, kernel_.roots};
  GuestVirtual task_ = paths_.add_process(7, "nc");
  GuestVirtual usr_ = paths_.add_dentry(paths_.root, "usr");
  GuestVirtual bin_ = paths_.add_dentry(usr_, "bin");
  GuestVirtual nc_ = paths_.add_dentry(bin_, "nc");
};

TEST_F(PathsTest, names_the_file_from_the_root) {
  EXPECT_EQ(executable().value(), "/usr/bin/nc");
}

TEST_F(PathsTest, goes_on_below_a_mount) {
  const GuestVirtual disk = paths_.add_dentry({}, "/");
  const GuestVirtual usr_mount = paths_.add_mount(disk, paths_.root_mount, usr_);
  const GuestVirtual tools = paths_.add_dentry(disk, "tools");
  const GuestVirtual bind = paths_.add_mount(nc_, usr_mount, tools);  // of a file, on a file
  run(bind, nc_);
  EXPECT_EQ(executable().value(), "/usr/tools");
  run(usr_mount, tools);
  EXPECT_EQ(executable().value(), "/usr/tools");
}

TEST_F(PathsTest, crosses_mounts_on_the_same_place) {
  const GuestVirtual above = paths_.add_dentry({}, "/");
  const GuestVirtual mount = paths_.add_mount(above, paths_.root_mount, paths_.root);
  run(mount, paths_.add_dentry(above, "init"));
  EXPECT_EQ(executable().value(), "/init");
}

TEST_F(PathsTest, begins_at_the_root_of_the_first_process) {
  auto& fs = kernel_.at<FakePaths::Fs>({kernel_.at<FakeKernel::Task>(paths_.first).fs});
  fs.root_dentry = usr_.value;
  EXPECT_EQ(executable().value(), "/bin/nc");
}

TEST_F(PathsTest, shows_the_root_as_a_slash) {
  run(paths_.root_mount, paths_.root);
  EXPECT_EQ(executable().value(), "/");
}

TEST_F(PathsTest, says_that_a_file_was_deleted) {
  paths_.at_dentry(nc_).hash_link = 0;
  EXPECT_EQ(executable().value(), "/usr/bin/nc (deleted)");
}

TEST_F(PathsTest, names_a_file_that_never_was_in_a_directory) {
  const GuestVirtual memfd = paths_.add_dentry({}, "memfd:x");
  paths_.at_dentry(memfd).hash_link = 0;
  run(paths_.add_mount(paths_.add_dentry({}, "/"), {}, {}), memfd);
  EXPECT_EQ(executable().value(), "/memfd:x (deleted)");
}

TEST_F(PathsTest, finds_none_of_a_kernel_thread) {
  kernel_.at<FakeKernel::Task>(task_).flags = 0x00200000;  // even one that uses a process's memory
  EXPECT_EQ(error(), Code::kNotFound);
}

TEST_F(PathsTest, finds_none_of_a_process_that_has_exited) {
  kernel_.at<FakeKernel::Task>(task_).mm = 0;
  EXPECT_EQ(error(), Code::kNotFound);
}

TEST_F(PathsTest, finds_none_for_a_file_outside_of_its_mount) {
  run(paths_.add_mount(bin_, paths_.root_mount, usr_), paths_.add_dentry(usr_, "escaped"));
  EXPECT_EQ(error(), Code::kNotFound);
}

TEST_F(PathsTest, refuses_names_that_no_file_has) {
  for (const std::string& name : {std::string(), std::string("a/b"), std::string("a\0b", 3), std::string(256, 'x')}) {
    run(paths_.root_mount, paths_.add_dentry(bin_, name));
    EXPECT_EQ(error(), Code::kInconsistent) << name;
  }
  paths_.at_dentry(bin_).name_length = UINT32_MAX;
  EXPECT_EQ(error(), Code::kInconsistent);
}

TEST_F(PathsTest, ends_on_directories_that_are_a_cycle) {
  paths_.at_dentry(usr_).parent = bin_.value;
  EXPECT_EQ(error(), Code::kLimit);
}

TEST_F(PathsTest, ends_on_mounts_that_are_a_cycle) {
  const GuestVirtual disk = paths_.add_dentry({}, "/");
  const GuestVirtual one = paths_.add_mount(disk, paths_.root_mount, paths_.root);
  const GuestVirtual other = paths_.add_mount(disk, one, disk);
  paths_.at_mount(one).parent = other.value;
  paths_.at_mount(one).mountpoint = disk.value;
  run(one, disk);
  EXPECT_EQ(error(), Code::kLimit);
}

TEST_F(PathsTest, fails_where_pointers_lead_nowhere) {
  paths_.at_dentry(bin_).name = 0x1234;
  EXPECT_EQ(error(), Code::kUnreadable);
  paths_.at_dentry(nc_).parent = UINT64_MAX;
  EXPECT_EQ(error(), Code::kUnreadable);
  run({8}, nc_);
  EXPECT_EQ(error(), Code::kUnreadable);
  kernel_.at<FakeKernel::Task>(task_).mm = 0x1234;
  EXPECT_EQ(error(), Code::kNotFound);
}

TEST_F(PathsTest, accepts_the_longest_path_and_none_longer) {
  GuestVirtual dentry = paths_.root;
  for (int i = 0; i < 15; ++i) dentry = paths_.add_dentry(dentry, std::string(255, 'd'));
  dentry = paths_.add_dentry(dentry, std::string(252, 'd'));
  run(paths_.root_mount, paths_.add_dentry(dentry, "f"));
  EXPECT_EQ(executable().value().size(), PathText::kMaxBytes);
  run(paths_.root_mount, paths_.add_dentry(dentry, "ff"));
  EXPECT_EQ(error(), Code::kLimit);
}

// A guest that renames something each time we look.
class RestlessKernel final : public KernelMemory {
 public:
  RestlessKernel(FakeKernel& kernel, uint32_t& count, int changes)
      : kernel_(kernel), count_(count), changes_left_(changes) {}
  void forget() const override {
    if (changes_left_ > 0) count_ += 2;
    --changes_left_;
  }

 protected:
  bool do_read(GuestVirtual address, std::span<std::byte> out) const override { return kernel_.read(address, out); }
  bool do_read_user(GuestVirtual page_tables, GuestVirtual address, std::span<std::byte> out) const override {
    return kernel_.read_user(page_tables, address, out);
  }

 private:
  FakeKernel& kernel_;
  uint32_t& count_;
  mutable int changes_left_;
};

TEST_F(PathsTest, begins_again_when_names_change_and_not_for_ever) {
  auto& count = kernel_.at<uint32_t>(paths_.layout.rename_count);
  const auto after = [&](int changes) {
    const RestlessKernel memory(kernel_, count, changes);
    const Tasks tasks(memory, kernel_.layout, kernel_.roots);
    return Paths(memory, paths_.layout, tasks).executable(tasks.read(task_).value());
  };
  EXPECT_EQ(after(Paths::kMaxAttempts - 1).value(), "/usr/bin/nc");
  EXPECT_EQ(after(Paths::kMaxAttempts).error().code, Code::kInconsistent);
}

TEST_F(PathsTest, reads_a_guest_that_stopped_in_the_middle_of_a_change) {
  kernel_.at<uint32_t>(paths_.layout.mount_count) = 1;
  EXPECT_EQ(executable().value(), "/usr/bin/nc");
}

TEST_F(PathsTest, needs_no_counts) {
  paths_.layout.rename_count = paths_.layout.mount_count = {};
  EXPECT_EQ(executable().value(), "/usr/bin/nc");
}

}  // namespace
}  // namespace hyperward::guest
