#include "filter/recording.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <numeric>

namespace hyperward::filter {
namespace {

using testing::HasSubstr;

const ModuleInfo kModule{.name = "echo", .version = "1.2", .description = ""};

// Every byte of it is another than its neighbours', so that no field can stand for another.
template <typename T>
T patterned(uint8_t from) {
  T value;
  std::array<uint8_t, sizeof(T)> bytes;
  std::iota(bytes.begin(), bytes.end(), from);
  std::memcpy(&value, bytes.data(), sizeof(T));
  value.size = sizeof(T);
  return value;
}

Question a_question(std::span<const std::byte> frame) {
  Question question{.packet = patterned<hyperward_packet>(1), .owner = patterned<hyperward_owner>(3), .frame = frame};
  question.packet.frame = nullptr;
  question.packet.history = nullptr;
  question.packet.captured_bytes = 0;
  question.owner.zero = 0;
  question.history = patterned<hyperward_history>(7);
  std::memset(question.history->zero, 0, sizeof(question.history->zero));
  return question;
}

template <typename T>
bool same(const T& a, const T& b, size_t bytes = sizeof(T)) {
  return std::memcmp(&a, &b, bytes) == 0;
}
constexpr size_t kOwnerBytes = offsetof(hyperward_owner, comm) + sizeof(hyperward_owner::comm);  // without padding

TEST(Recording, reads_back_what_was_written) {
  std::vector<std::byte> frame(1500);
  for (size_t i = 0; i < frame.size(); ++i) frame[i] = static_cast<std::byte>(i);
  const Question with = a_question(frame);
  Question without = a_question({});
  without.history = std::nullopt;
  const auto text = to_text(kModule, R"({"limit": 7})", std::array{with, without});

  const Recording recording = parse_recording(text).value();
  EXPECT_EQ(recording.module, "echo");
  EXPECT_EQ(recording.version, "1.2");
  EXPECT_EQ(recording.settings, R"({"limit": 7})");
  ASSERT_EQ(recording.asked.size(), 2U);
  EXPECT_TRUE(same(recording.asked[0].question.packet, with.packet));
  EXPECT_TRUE(same(recording.asked[0].question.owner, with.owner, kOwnerBytes));
  EXPECT_TRUE(same(*recording.asked[0].question.history, *with.history));
  EXPECT_THAT(recording.asked[0].question.frame, testing::ElementsAreArray(frame));
  EXPECT_FALSE(recording.asked[1].question.history.has_value());
  EXPECT_TRUE(recording.asked[1].question.frame.empty());
}

TEST(Recording, names_the_line_that_is_wrong) {
  std::string text = to_text(kModule, "{}", std::array{a_question({}), a_question({})});
  const size_t last = text.rfind("\"local_port\":") + std::strlen("\"local_port\":");
  text.replace(last, 1, "9999999");
  const auto recording = parse_recording(text);
  ASSERT_FALSE(recording.has_value());
  EXPECT_THAT(recording.error().message, HasSubstr("line 3: its 'local_port' is missing or wrong"));
}

TEST(Recording, refuses_another_format) {
  const auto recording = parse_recording(R"({"recording": 2, "module": "x", "version": "1", "settings": "{}"})");
  ASSERT_FALSE(recording.has_value());
  EXPECT_THAT(recording.error().message, HasSubstr("its format is 2, this is 1"));
}

TEST(Recording, refuses_a_frame_that_no_module_could_have_had) {
  const std::vector<std::byte> frame(HYPERWARD_FRAME_MAX + 1);
  EXPECT_FALSE(parse_recording(to_text(kModule, "{}", std::array{a_question(frame)})).has_value());
}

TEST(Recording, refuses_what_is_none) {
  for (const char* const text : {"", "\n", "[]", "{}", "null", "{\"recording\": 1}", "\xff"})
    EXPECT_FALSE(parse_recording(text).has_value()) << text;
}

}  // namespace
}  // namespace hyperward::filter
