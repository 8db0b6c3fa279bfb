#include "guest/tasks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

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

TEST_F(TasksTest, shows_each_process_once_while_others_end_and_start) {
  std::map<uint32_t, GuestVirtual> tasks;
  for (uint32_t pid = 1; pid <= 9; ++pid) tasks[pid] = kernel_.add_process(pid, "p", 0);
  std::vector<uint32_t> seen;
  const auto walk = tasks_.for_each([&](const Task& task) {
    seen.push_back(task.tgid);
    if (task.tgid == 5)
      for (const uint32_t gone : {3U, 4U, 5U, 6U}) kernel_.end_process(tasks[gone]);
    if (task.tgid == 7) kernel_.add_process(10, "new", 0);
    return false;
  });
  ASSERT_TRUE(walk) << walk.error().message;
  EXPECT_THAT(seen, ElementsAre(1, 2, 3, 4, 5, 7, 8, 9, 10));
}

TEST_F(TasksTest, begins_again_only_where_all_it_has_shown_is_known) {
  std::vector<GuestVirtual> tasks;
  const auto end_all_up_to = [&](size_t count) {
    std::vector<uint32_t> seen;
    const auto walk = tasks_.for_each([&](const Task& task) {
      seen.push_back(task.tgid);
      if (seen.size() == count)
        for (size_t i = 0; i < count; ++i) kernel_.end_process(tasks[i]);
      return false;
    });
    return walk ? seen.size() : 0;
  };
  for (uint32_t pid = 1; pid <= 2 * TaskWalk::kTrail + 10; ++pid) tasks.push_back(kernel_.add_process(pid, "p", 0));
  EXPECT_EQ(end_all_up_to(TaskWalk::kTrail), tasks.size());
  tasks.erase(tasks.begin(), tasks.begin() + TaskWalk::kTrail);
  EXPECT_EQ(end_all_up_to(TaskWalk::kTrail + 1), 0U);
}

TEST_F(TasksTest, shows_a_process_once_whose_thread_takes_its_place) {
  kernel_.add_process(1, "init", 0);
  const GuestVirtual leader = kernel_.add_process(2, "java", 0);
  kernel_.add_process(3, "last", 0);
  std::vector<uint32_t> seen;
  ASSERT_TRUE(tasks_.for_each([&](const Task& task) {
    seen.push_back(task.tgid);
    if (task.tgid != 2) return false;
    const GuestVirtual thread = kernel_.put(kernel_.at<FakeKernel::Task>(leader));
    auto& node = kernel_.at<FakeKernel::Task>(thread).tasks;
    kernel_.at<FakeKernel::List>({node.next}).previous = kernel_.address_of(node);
    kernel_.at<FakeKernel::List>({node.previous}).next = kernel_.address_of(node);
    kernel_.at<FakeKernel::Task>(leader).tasks.previous = FakeKernel::kPoison;
    return false;
  }));
  EXPECT_THAT(seen, ElementsAre(1, 2, 3));
}

TEST_F(TasksTest, stops_when_the_visitor_says_so) {
  for (uint32_t pid = 1; pid <= 3; ++pid) kernel_.add_process(pid, "p", 0);
  int seen = 0;
  EXPECT_TRUE(tasks_.for_each([&](const Task& task) { return ++seen, task.tgid == 2; }));
  EXPECT_EQ(seen, 2);
}

TEST_F(TasksTest, knows_a_process_by_its_address) {
  const GuestVirtual task = kernel_.add_process(7, "nc", 1000);
  EXPECT_EQ(tasks_.process_at(task).value().tgid, 7U);
  EXPECT_EQ(tasks_.process_at(kernel_.roots.init_task).value().tgid, 0U);
}

TEST_F(TasksTest, knows_no_process_where_none_is_linked) {
  const GuestVirtual task = kernel_.add_process(7, "nc", 1000);
  const GuestVirtual forged = kernel_.put(kernel_.at<FakeKernel::Task>(task));
  kernel_.at<FakeKernel::Task>(forged).group_leader = forged.value;
  kernel_.end_process(task);
  for (const GuestVirtual address : {task, forged, task + 8, GuestVirtual{}, GuestVirtual{UINT64_MAX}}) {
    const auto process = tasks_.process_at(address);
    ASSERT_FALSE(process) << address.value;
    EXPECT_EQ(process.error().code, Code::kNotFound);
  }
}

TEST_F(TasksTest, summarizes_a_process_with_the_way_to_its_parent) {
  const GuestVirtual parent = kernel_.add_process(1, "init", 0);
  const GuestVirtual task = kernel_.add_process(42, "nc", 1000, parent);
  const TaskInfo info = tasks_.summarize(tasks_.read(task).value());
  EXPECT_EQ(info.address, task);
  EXPECT_EQ(info.parent, parent);
  EXPECT_EQ(info.pid, 42U);
  EXPECT_EQ(info.parent_pid, 1U);
  EXPECT_EQ(info.uid, 1000U);
  EXPECT_EQ(info.gid, 1000U);
  EXPECT_EQ(info.comm, "nc");
  EXPECT_EQ(info.start_time_ns, 42000U);
  EXPECT_FALSE(info.kernel_thread);
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
