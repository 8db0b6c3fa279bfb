#include "cli/table.h"

#include <gtest/gtest.h>

namespace hyperward::cli {
namespace {

TEST(Table, aligns_numbers_right_and_text_left) {
  Table table({">PID", "COMM", "ARGS"});
  table.add({"1", "init", "/sbin/init"});
  table.add({"4711", "sh", "-"});
  EXPECT_EQ(table.text(), " PID COMM ARGS\n   1 init /sbin/init\n4711 sh   -\n");
}

}  // namespace
}  // namespace hyperward::cli
