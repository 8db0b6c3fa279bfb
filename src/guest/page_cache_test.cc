#include "guest/page_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guest/fake_kernel.h"
#include "guest/users.h"

namespace hyperward::guest {
namespace {

using testing::ElementsAre;
using testing::Pair;

TEST(ParsePasswd, gives_number_and_name_of_each_line) {
  EXPECT_THAT(parse_passwd("root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/:\n"),
              ElementsAre(Pair(0U, "root"), Pair(1000U, "alice")));
  EXPECT_THAT(parse_passwd("last::7"), ElementsAre(Pair(7U, "last")));
}

TEST(ParsePasswd, leaves_out_what_is_no_user) {
  EXPECT_THAT(parse_passwd(""), ElementsAre());
  EXPECT_THAT(parse_passwd("\n:x:1:\nx\nminus:x:-1:\nbig:x:4294967296:\nword:x:1a:\n+::::::\n"), ElementsAre());
  EXPECT_THAT(parse_passwd(std::string(300, 'n') + ":x:1:\n"), ElementsAre());
}

// The first process's root directory, with "etc/passwd" in it.
class PageCacheTest : public testing::Test {
 protected:
  struct Dentry {
    uint64_t children, sibling, name, inode;
    uint32_t name_length;
  };
  struct Inode {
    uint64_t mode, size_bytes, mapping, pages;
  };
  struct Node {
    uint64_t shift;
    std::array<uint64_t, 64> slots;
  };
  static constexpr uint64_t kVmemmap = 0xffffea0000000000;
  static constexpr uint64_t kPageStructBytes = 64;

  PageCacheTest() {
    const GuestVirtual first = kernel_.add_process(1, "init", 0);
    etc_ = add_dentry(root_, "etc", kernel_.put(Inode{}));
    inode_ = kernel_.put(Inode{0100644, 0, 0, 0});
    kernel_.at<Inode>(inode_).mapping = kernel_.address_of(kernel_.at<Inode>(inode_).pages);
    add_dentry(etc_, "passwd", inode_);
    add_dentry(etc_, "group", kernel_.put(Inode{}));
    kernel_.at<FakeKernel::Task>(first).mm = kernel_.put(root_).value;  // stands for task->fs
  }

  GuestVirtual add_dentry(GuestVirtual parent, std::string_view name, GuestVirtual inode) {
    const GuestVirtual text = kernel_.allocate<char>(name.size());
    for (size_t i = 0; i < name.size(); ++i) kernel_.at<char>(text + i) = name[i];
    const GuestVirtual dentry = kernel_.put(Dentry{0, 0, text.value, inode.value, static_cast<uint32_t>(name.size())});
    auto& raw = kernel_.at<Dentry>(dentry);
    raw.sibling = kernel_.at<Dentry>(parent).children;
    kernel_.at<Dentry>(parent).children = kernel_.address_of(raw.sibling);
    return dentry;
  }
  // A page of the arena that holds `text`, as the struct page that stands for it.
  uint64_t add_page(std::string_view text) {
    struct alignas(64) Page {
      std::array<char, memory::kPageSize> bytes;
    };
    GuestVirtual page = kernel_.allocate<Page>(2);
    page.value = (page.value + memory::kPageSize - 1) & ~(memory::kPageSize - 1);
    for (size_t i = 0; i < text.size(); ++i) kernel_.at<char>(page + i) = text[i];
    return kVmemmap + (page.value - FakeKernel::kBase) / memory::kPageSize * kPageStructBytes;
  }
  Inode& inode() { return kernel_.at<Inode>(inode_); }
  Result<std::string> read(std::string_view path = "/etc/passwd") {
    return PageCache(kernel_, layout_, tasks_).read(path);
  }

  FakeKernel kernel_;
  Tasks tasks_{kernel_, kernel_.layout, kernel_.roots};
  GuestVirtual root_ = kernel_.put(Dentry{});
  GuestVirtual etc_, inode_;
  PageCacheLayout layout_{.task_fs = offsetof(FakeKernel::Task, mm),
                          .root_dentry = 0,
                          .children = offsetof(Dentry, children),
                          .sibling = offsetof(Dentry, sibling),
                          .name = offsetof(Dentry, name),
                          .name_length = offsetof(Dentry, name_length),
                          .dentry_inode = offsetof(Dentry, inode),
                          .inode_mode = offsetof(Inode, mode),
                          .inode_size = offsetof(Inode, size_bytes),
                          .inode_mapping = offsetof(Inode, mapping),
                          .pages = 0,
                          .node_shift = offsetof(Node, shift),
                          .node_slots = offsetof(Node, slots),
                          .node_slot_count = 64,
                          .page_bytes = kPageStructBytes,
                          .vmemmap = {kVmemmap},
                          .direct_map = {FakeKernel::kBase}};
};

TEST_F(PageCacheTest, reads_a_file_of_one_page) {
  inode().pages = add_page("root:x:0:\n");
  inode().size_bytes = 10;
  EXPECT_EQ(read().value(), "root:x:0:\n");
}

TEST_F(PageCacheTest, reads_a_file_of_several_pages) {
  Node node{};
  node.slots[0] = add_page(std::string(memory::kPageSize, 'a'));
  node.slots[1] = add_page("b");
  inode().pages = kernel_.put(node).value + 2;
  inode().size_bytes = memory::kPageSize + 1;
  EXPECT_EQ(read().value(), std::string(memory::kPageSize, 'a') + "b");
}

TEST_F(PageCacheTest, reads_a_folio_of_two_pages) {
  const uint64_t first = add_page(std::string(memory::kPageSize, 'a'));
  kernel_.at<char>({FakeKernel::kBase + ((first - kVmemmap) / kPageStructBytes + 1) * memory::kPageSize}) = 'b';
  Node node{};
  node.slots[0] = first;
  node.slots[1] = 0 << 2 | 2;  // a sibling of slot 0
  inode().pages = kernel_.put(node).value + 2;
  inode().size_bytes = memory::kPageSize + 1;
  EXPECT_EQ(read().value().back(), 'b');
}

TEST_F(PageCacheTest, finds_no_file_whose_pages_were_dropped) {
  inode().size_bytes = 10;
  EXPECT_EQ(read().error().code, Code::kNotFound);
  inode().pages = 0x1234 << 1 | 1;  // the shadow of a page
  EXPECT_EQ(read().error().code, Code::kNotFound);
}

TEST_F(PageCacheTest, finds_no_path_that_is_not_cached) {
  EXPECT_EQ(read("/etc/shadow").error().code, Code::kNotFound);
  EXPECT_EQ(read("/var/log").error().code, Code::kNotFound);
}

TEST_F(PageCacheTest, refuses_what_is_no_regular_file_or_too_large) {
  EXPECT_EQ(read("/etc/group").error().code, Code::kUnsupported);
  inode().size_bytes = UINT64_MAX;
  EXPECT_EQ(read().error().code, Code::kLimit);
}

TEST_F(PageCacheTest, ends_on_a_tree_that_is_a_cycle) {
  const GuestVirtual node = kernel_.put(Node{});
  kernel_.at<Node>(node).slots[0] = node.value + 2;
  inode().pages = node.value + 2;
  inode().size_bytes = 10;
  EXPECT_EQ(read().error().code, Code::kNotFound);
}

TEST_F(PageCacheTest, ends_on_a_directory_that_is_a_cycle) {
  auto& raw = kernel_.at<Dentry>(etc_);
  auto& last = kernel_.at<Dentry>(GuestVirtual{raw.children} - offsetof(Dentry, sibling));
  last.sibling = raw.children;
  EXPECT_EQ(read("/etc/shadow").error().code, Code::kLimit);
}

}  // namespace
}  // namespace hyperward::guest
