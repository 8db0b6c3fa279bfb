#include "detect/follow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <fstream>
#include <random>
#include <vector>

namespace hyperward::detect {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Start = Follower::Start;
using Lines = std::vector<std::string>;

class Follow : public testing::Test {
 protected:
  Follow() {
    std::string name = std::filesystem::temp_directory_path() / "hyperward-follow-XXXXXX";
    HW_CHECK(::mkdtemp(name.data()) != nullptr);
    directory_ = name;
    path_ = directory_ / "eve.json";
    old_ = directory_ / "eve.json.1";
  }
  ~Follow() override { std::filesystem::remove_all(directory_); }

  static void append(const std::filesystem::path& path, std::string_view text) {
    std::ofstream(path, std::ios::app | std::ios::binary) << text;
  }

  static Lines read(Follower& follower, size_t max_lines = 1'000'000) {
    Lines lines;
    const auto count = follower.read_lines([&](std::string_view line) { lines.emplace_back(line); }, max_lines);
    EXPECT_TRUE(count) << count.error().message;
    EXPECT_EQ(count.value_or(lines.size()), lines.size());
    return lines;
  }
  static Code failure_of(Follower& follower) {
    const auto count = follower.read_lines([](std::string_view) {}, 10);
    EXPECT_FALSE(count);
    return count ? Code::kSystem : count.error().code;
  }

  std::filesystem::path directory_, path_, old_;
};

TEST_F(Follow, begins_at_the_end) {
  append(path_, "old\n");
  Follower follower(path_);
  EXPECT_THAT(read(follower), IsEmpty());
  append(path_, "a\nb\n");
  EXPECT_THAT(read(follower), ElementsAre("a", "b"));
  EXPECT_THAT(read(follower), IsEmpty());
}

TEST_F(Follow, begins_at_the_beginning_when_told_so) {
  append(path_, "a\n\nb\n");
  Follower follower(path_, Start::kBeginning);
  EXPECT_THAT(read(follower), ElementsAre("a", "", "b"));
}

TEST_F(Follow, does_not_begin_within_a_line) {
  append(path_, "old\nhalf ");
  Follower follower(path_);
  EXPECT_THAT(read(follower), IsEmpty());
  append(path_, "a line\na\n");
  EXPECT_THAT(read(follower), ElementsAre("a"));
  EXPECT_EQ(follower.dropped(), 0U);
}

TEST_F(Follow, waits_for_a_file_and_reads_it_whole) {
  Follower follower(path_);
  EXPECT_THAT(read(follower), IsEmpty());
  append(path_, "a\n");
  EXPECT_THAT(read(follower), ElementsAre("a"));
}

TEST_F(Follow, a_line_waits_for_its_end) {
  Follower follower(path_, Start::kBeginning);
  append(path_, "a\nb");
  EXPECT_THAT(read(follower), ElementsAre("a"));
  append(path_, "c");
  EXPECT_THAT(read(follower), IsEmpty());
  append(path_, "\n");
  EXPECT_THAT(read(follower), ElementsAre("bc"));
}

TEST_F(Follow, gives_no_more_lines_than_wanted_and_keeps_the_rest) {
  append(path_, "a\nb\nc\nd");
  Follower follower(path_, Start::kBeginning);
  EXPECT_THAT(read(follower, 0), IsEmpty());
  EXPECT_THAT(read(follower, 2), ElementsAre("a", "b"));
  append(path_, "\n");
  EXPECT_THAT(read(follower, 2), ElementsAre("c", "d"));
  EXPECT_THAT(read(follower, 2), IsEmpty());
}

TEST_F(Follow, goes_on_in_the_new_file_after_a_rename) {
  append(path_, "a\n");
  Follower follower(path_, Start::kBeginning);
  EXPECT_THAT(read(follower), ElementsAre("a"));
  append(path_, "b\n");
  std::filesystem::rename(path_, old_);
  append(path_, "c\n");
  EXPECT_THAT(read(follower), ElementsAre("b", "c"));
  append(path_, "d\n");
  EXPECT_THAT(read(follower), ElementsAre("d"));
}

TEST_F(Follow, goes_on_in_the_old_file_until_the_new_one_holds_something) {
  append(path_, "a\n");
  Follower follower(path_, Start::kBeginning);
  EXPECT_THAT(read(follower), ElementsAre("a"));
  std::filesystem::rename(path_, old_);
  append(old_, "b\n");
  EXPECT_THAT(read(follower), ElementsAre("b"));
  append(path_, "");  // made by who rotates; who writes has not opened it yet
  append(old_, "c\n");
  EXPECT_THAT(read(follower), ElementsAre("c"));
  append(old_, "d\n");
  append(path_, "e\n");
  EXPECT_THAT(read(follower), ElementsAre("d", "e"));
}

TEST_F(Follow, does_not_leave_the_old_file_before_all_of_it_was_taken) {
  append(path_, "a\nb\nc\n");
  Follower follower(path_, Start::kBeginning);
  EXPECT_THAT(read(follower, 1), ElementsAre("a"));
  std::filesystem::rename(path_, old_);
  append(path_, "d\n");
  EXPECT_THAT(read(follower, 1), ElementsAre("b"));
  EXPECT_THAT(read(follower, 1), ElementsAre("c"));
  EXPECT_THAT(read(follower, 1), ElementsAre("d"));
}

TEST_F(Follow, a_line_that_the_old_file_never_ended_is_dropped) {
  append(path_, "a\nhalf");
  Follower follower(path_, Start::kBeginning);
  EXPECT_THAT(read(follower), ElementsAre("a"));
  std::filesystem::rename(path_, old_);
  append(path_, "b\n");
  EXPECT_THAT(read(follower), ElementsAre("b"));
  EXPECT_EQ(follower.dropped(), 1U);
}

TEST_F(Follow, reads_a_truncated_file_from_its_beginning) {
  append(path_, "a\nb\n");
  Follower follower(path_, Start::kBeginning);
  EXPECT_THAT(read(follower), ElementsAre("a", "b"));
  std::filesystem::copy_file(path_, old_);
  std::filesystem::resize_file(path_, 0);
  EXPECT_THAT(read(follower), IsEmpty());
  append(path_, "c\n");
  EXPECT_THAT(read(follower), ElementsAre("c"));
  std::filesystem::resize_file(path_, 0);
  append(path_, "\n");
  EXPECT_THAT(read(follower), ElementsAre(""));
}

TEST_F(Follow, drops_and_counts_lines_that_are_too_long) {
  Follower follower(path_, Start::kBeginning, 10);
  append(path_, "0123456789\n0123456789a\nb\n");
  EXPECT_THAT(read(follower), ElementsAre("0123456789", "b"));
  EXPECT_EQ(follower.dropped(), 1U);
}

TEST_F(Follow, drops_a_long_line_once_when_it_comes_in_pieces) {
  Follower follower(path_, Start::kBeginning, 10);
  for (int i = 0; i < 5; ++i) {
    append(path_, "01234567");
    EXPECT_THAT(read(follower), IsEmpty());
  }
  append(path_, "\nb\n");
  EXPECT_THAT(read(follower), ElementsAre("b"));
  EXPECT_EQ(follower.dropped(), 1U);
}

TEST_F(Follow, takes_lines_longer_than_one_read) {
  const std::string longest(Follower::kMaxLineBytes, 'x');
  append(path_, longest + "\nb\n");
  Follower follower(path_, Start::kBeginning);
  EXPECT_THAT(read(follower), ElementsAre(longest, "b"));
}

TEST_F(Follow, reads_no_more_than_its_limit_at_a_time) {
  append(path_, "");
  std::filesystem::resize_file(path_, Follower::kMaxChunks * Follower::kChunkBytes);  // one hole
  append(path_, "\na\n");
  Follower follower(path_, Start::kBeginning);
  EXPECT_THAT(read(follower), IsEmpty());
  EXPECT_THAT(read(follower), ElementsAre("a"));
  EXPECT_EQ(follower.dropped(), 1U);
}

TEST_F(Follow, refuses_what_is_no_file_and_goes_on_when_there_is_one) {
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  Follower follower(path_);
  EXPECT_EQ(failure_of(follower), Code::kInvalid);
  std::filesystem::remove(path_);
  append(path_, "old\n");
  EXPECT_THAT(read(follower), IsEmpty());
  append(path_, "a\n");
  EXPECT_THAT(read(follower), ElementsAre("a"));

  std::filesystem::rename(path_, old_);
  std::filesystem::create_directory(path_);
  append(old_, "b\n");
  Lines lines;
  EXPECT_FALSE(follower.read_lines([&](std::string_view line) { lines.emplace_back(line); }, 10));
  EXPECT_THAT(lines, ElementsAre("b"));
  std::filesystem::remove(path_);
  append(path_, "c\n");
  EXPECT_THAT(read(follower), ElementsAre("c"));
}

// Who writes turns to the new file some lines after the rename; who reads comes at any moment.
TEST_F(Follow, loses_and_repeats_nothing_through_many_rotations) {
  std::mt19937 random(1);
  const auto one_in = [&](unsigned n) { return random() % n == 0; };
  for (int round = 0; round < 20; ++round) {
    Follower follower(path_, Start::kBeginning);
    Lines written, seen;
    const auto look = [&] {
      for (std::string& line : read(follower, 1 + random() % 20)) seen.push_back(std::move(line));
    };
    std::ofstream writer(path_, std::ios::app);
    for (int i = 0; i < 500; ++i) {
      written.push_back(fmt::format("{} {}", i, std::string(random() % 50, 'x')));
      const std::string line = written.back() + "\n";
      const size_t half = random() % line.size();
      writer << line.substr(0, half) << std::flush;
      if (one_in(4)) look();
      writer << line.substr(half) << std::flush;
      if (one_in(4)) look();
      if (one_in(50)) {
        // Not before the last file was left: two rotations between two looks lose lines.
        while (seen.size() < written.size()) look();
        std::filesystem::rename(path_, old_);
        if (one_in(2)) append(path_, "");
        if (one_in(2)) look();
        writer << "late\n" << std::flush;
        written.emplace_back("late");
        if (one_in(2)) look();
        writer = std::ofstream(path_, std::ios::app);
      }
    }
    for (int i = 0; i < 500 && seen.size() < written.size(); ++i) look();
    ASSERT_EQ(seen, written);
    EXPECT_EQ(follower.dropped(), 0U);
    std::filesystem::remove(path_);
    std::filesystem::remove(old_);
  }
}

}  // namespace
}  // namespace hyperward::detect
