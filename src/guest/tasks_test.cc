#include "guest/tasks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "guest/fake_kernel.h"

namespace hyperward::guest {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class TasksTest : public testing::Test {
 protected:
  std::vector<uint32_t> pids() {
    std::vector<uint32_t> pids;
    const auto tasks = tasks_.all();
    EXPECT_TRUE(tasks) << tasks.error().message;
    if (tasks)
      for (const Task& task : *tasks) pids.push_back(task.tgid);
    return pids;
  }
  Process describe(GuestVirtual task) { return tasks_.describe(tasks_.read(task).value()); }

  FakeKernel kernel_;
  Tasks tasks_{kernel_, kernel_.layout, kernel_.roots};
};

TEST_F(TasksTest, lists_every_process_oldest_first) {
  kernel_.add_process(1, "init", 0);
  kernel_.add_process(7, "sshd", 0);
  kernel_.add_process(5, "nc", 1000);
  EXPECT_THAT(pids(), ElementsAre(1, 7, 5));
}

TEST_F(TasksTest, leaves_out_a_process_that_ended) {
  kernel_.add_process(1, "init", 0);
  kernel_.end_process(kernel_.add_process(2, "gone", 0));
  EXPECT_THAT(pids(), ElementsAre(1));
}

TEST_F(TasksTest, ends_in_an_error_when_the_list_is_a_cycle) {
  const GuestVirtual first = kernel_.add_process(1, "init", 0);
  const GuestVirtual last = kernel_.add_process(2, "loop", 0);
  auto& node = kernel_.at<FakeKernel::Task>(first).tasks;
  kernel_.at<FakeKernel::Task>(last).tasks.next = kernel_.address_of(node);
  const auto tasks = tasks_.all();
  ASSERT_FALSE(tasks);
  EXPECT_EQ(tasks.error().code, Code::kInconsistent);
}

TEST_F(TasksTest, ends_in_an_error_when_the_list_leads_out_of_memory) {
  kernel_.at<FakeKernel::Task>(kernel_.add_process(1, "init", 0)).tasks.next = 0x1234;
  EXPECT_FALSE(tasks_.all());
}

TEST_F(TasksTest, takes_no_task_with_an_impossible_pid) {
  const GuestVirtual task = kernel_.add_process(1, "init", 0);
  kernel_.at<FakeKernel::Task>(task).pid = 0x7fffffff;
  EXPECT_FALSE(tasks_.read(task));
}

TEST_F(TasksTest, shows_the_newest_first_and_no_more_than_asked) {
  for (uint32_t pid = 1; pid <= 5; ++pid) kernel_.add_process(pid, "p", 0);
  std::vector<uint32_t> seen;
  tasks_.newest(3, [&](const Task& task) {
    seen.push_back(task.pid);
    return false;
  });
  EXPECT_THAT(seen, ElementsAre(5, 4, 3));
}

TEST_F(TasksTest, describes_a_process) {
  const GuestVirtual parent = kernel_.add_process(1, "init", 0);
  const GuestVirtual task = kernel_.add_process(42, "a-name-of-15-by", 1000, parent);
  auto& raw = kernel_.at<FakeKernel::Task>(task);
  auto& cred = kernel_.at<FakeKernel::Cred>({raw.cred});
  cred.euid = 0;
  cred.egid = 5;
  const Process process = describe(task);
  EXPECT_EQ(process.pid, 42U);
  EXPECT_EQ(process.parent_pid, 1U);
  EXPECT_EQ(process.comm, "a-name-of-15-by");
  EXPECT_EQ(process.uid, 1000U);
  EXPECT_EQ(process.effective_uid, 0U);
  EXPECT_EQ(process.effective_gid, 5U);
  EXPECT_EQ(process.start_time_ns, 42000U);
  EXPECT_EQ(process.threads, 1U);
  EXPECT_EQ(process.state, 'S');
}

TEST_F(TasksTest, takes_a_comm_without_an_end_as_15_bytes) {
  const GuestVirtual task = kernel_.add_process(1, "", 0);
  std::ranges::fill(kernel_.at<FakeKernel::Task>(task).comm, 'x');
  EXPECT_EQ(describe(task).comm, std::string(15, 'x'));
}

TEST_F(TasksTest, gives_the_state_letters_of_proc) {
  const GuestVirtual task = kernel_.add_process(1, "p", 0);
  auto& raw = kernel_.at<FakeKernel::Task>(task);
  const auto state = [&](uint32_t value, uint32_t exit_state = 0) {
    raw.state = value;
    raw.exit_state = exit_state;
    return describe(task).state;
  };
  EXPECT_EQ(state(0), 'R');
  EXPECT_EQ(state(1), 'S');
  EXPECT_EQ(state(2), 'D');
  EXPECT_EQ(state(0x102), 'D');  // TASK_KILLABLE
  EXPECT_EQ(state(0x104), 'T');  // TASK_STOPPED
  EXPECT_EQ(state(8), 't');
  EXPECT_EQ(state(0x80, 0x20), 'Z');
  EXPECT_EQ(state(0x402), 'I');
  EXPECT_EQ(state(0x8000), 'D');  // frozen
}

TEST_F(TasksTest, reads_the_command_line_from_user_memory) {
  const GuestVirtual task = kernel_.add_process(1, "nc", 0);
  kernel_.set_arguments(task, std::string("nc\0-l\0\0", 7), std::string("A=1\0", 4));
  EXPECT_THAT(describe(task).args, ElementsAre("nc", "-l", ""));
}

TEST_F(TasksTest, reads_a_title_that_a_process_wrote_over_its_arguments) {
  const GuestVirtual task = kernel_.add_process(1, "postgres", 0);
  kernel_.set_arguments(task, "postgres: wri", std::string("ter\0KEPT=1\0", 11));
  EXPECT_THAT(describe(task).args, ElementsAre("postgres: writer"));
}

TEST_F(TasksTest, gives_no_command_line_for_a_kernel_thread) {
  const GuestVirtual task = kernel_.add_process(2, "kthreadd", 0);
  kernel_.set_arguments(task, std::string("x\0", 2));
  kernel_.at<FakeKernel::Task>(task).flags = 0x00200000;
  EXPECT_TRUE(describe(task).kernel_thread);
  EXPECT_THAT(describe(task).args, IsEmpty());
}

TEST_F(TasksTest, gives_no_command_line_of_impossible_length) {
  const GuestVirtual task = kernel_.add_process(1, "p", 0);
  kernel_.set_arguments(task, std::string("x\0", 2));
  auto& mm = kernel_.at<FakeKernel::Mm>({kernel_.at<FakeKernel::Task>(task).mm});
  mm.arg_end = UINT64_MAX;
  EXPECT_THAT(describe(task).args, IsEmpty());
}

TEST_F(TasksTest, lists_the_threads_of_a_process) {
  const GuestVirtual leader = kernel_.add_process(10, "java", 0);
  auto thread = kernel_.at<FakeKernel::Task>(leader);
  thread.pid = 11;
  const GuestVirtual address = kernel_.put(thread);
  auto& head = kernel_.at<FakeKernel::Signal>({thread.signal}).thread_head;
  auto& leader_node = kernel_.at<FakeKernel::Task>(leader).thread_node;
  auto& node = kernel_.at<FakeKernel::Task>(address).thread_node;
  leader_node.next = kernel_.address_of(node);
  node = {kernel_.address_of(head), kernel_.address_of(leader_node)};
  const auto threads = tasks_.threads(tasks_.read(leader).value());
  ASSERT_EQ(threads.size(), 2U);
  EXPECT_EQ(threads[1].pid, 11U);
  EXPECT_FALSE(threads[1].leads_group());
}

}  // namespace
}  // namespace hyperward::guest
