#include "daemon/sqlite.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "daemon/config.h"
#include "daemon/test_directory.h"

namespace hyperward::daemon {
namespace {

constexpr int32_t kOurs = 1234;
constexpr size_t kMaxFileBytes = 1UL << 24;

struct SqliteTest : testing::Test {
  // Opens the file as the store's first start does, and leaves what a first transaction would.
  Database open() {
    auto database = Database::open(file, kOurs);
    EXPECT_TRUE(database) << database.error().message;
    EXPECT_TRUE(database->execute(fmt::format("PRAGMA application_id={}", kOurs)));
    return *std::move(database);
  }
  // What is wrong with the file, and that it was not touched for that.
  std::string refusal() const {
    const auto before = read_file(file, kMaxFileBytes);
    const auto database = Database::open(file, kOurs);
    EXPECT_FALSE(database);
    if (database) return "no error";
    EXPECT_EQ(database.error().code, Code::kInvalid);
    EXPECT_EQ(*read_file(file, kMaxFileBytes), *before);
    return database.error().message;
  }
  int64_t count(Database& database, std::string_view table) {
    int64_t rows = -1;
    auto statement = database.prepare(fmt::format("SELECT count(*) FROM {}", table));
    EXPECT_TRUE(statement) << statement.error().message;
    EXPECT_TRUE(statement->run({}, [&](const Columns& row) { rows = row.number(0); }));
    return rows;
  }
  static unsigned mode(const std::filesystem::path& path) {
    struct stat status{};
    EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
    return status.st_mode & 0777;
  }

  TestDirectory directory;
  std::filesystem::path file = directory.path() / "state" / "test.db";
};

// SQLite promises that a commit outlives a power cut with these, and with these only.
TEST_F(SqliteTest, runs_with_what_durability_hangs_on) {
  Database database = open();
  EXPECT_EQ(database.pragma("journal_mode").value_or("?"), "wal");
  EXPECT_EQ(database.pragma("synchronous").value_or("?"), "2");
  EXPECT_EQ(database.pragma("foreign_keys").value_or("?"), "1");
}

TEST_F(SqliteTest, keeps_its_files_to_their_owner) {
  const mode_t before = ::umask(0);
  Database database = open();
  ::umask(before);
  EXPECT_EQ(mode(file.parent_path()), 0700U);
  for (const char* companion : {"", "-wal", "-shm"}) EXPECT_EQ(mode(file.string() + companion), 0600U) << companion;
}

TEST_F(SqliteTest, makes_one_directory_and_not_a_path_of_them) {
  const auto database = Database::open(directory.path() / "no" / "such" / "test.db", kOurs);
  ASSERT_FALSE(database);
  EXPECT_EQ(database.error().code, Code::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(directory.path() / "no"));
}

TEST_F(SqliteTest, gives_back_every_value_as_it_was) {
  Database database = open();
  ASSERT_TRUE(database.execute("CREATE TABLE t(number INTEGER, text TEXT, at INTEGER) STRICT"));
  auto insert = database.prepare("INSERT INTO t VALUES (?1, ?2, ?3)");
  auto select = database.prepare("SELECT number, text, at FROM t");
  ASSERT_TRUE(insert && select);
  const std::string text("\0 'x' \xff \n", 9);
  const WallTime time(std::chrono::milliseconds(-5));
  ASSERT_TRUE(insert->run({INT64_MIN, text, to_value(time)}));
  ASSERT_TRUE(insert->run({INT64_MAX, std::string_view(), to_value(std::nullopt)}));

  int rows = 0;
  ASSERT_TRUE(select->run({}, [&](const Columns& row) {
    const bool first = rows++ == 0;
    EXPECT_EQ(row.number(0), first ? INT64_MIN : INT64_MAX);
    EXPECT_EQ(row.text(1), first ? text : "");
    EXPECT_EQ(row.time(2), first ? std::optional(time) : std::nullopt);
  }));
  EXPECT_EQ(rows, 2);
}

TEST_F(SqliteTest, takes_back_a_transaction_that_is_left) {
  Database database = open();
  ASSERT_TRUE(database.execute("CREATE TABLE t(x)"));
  {
    const auto transaction = Transaction::begin(database);
    ASSERT_TRUE(transaction);
    ASSERT_TRUE(database.execute("INSERT INTO t VALUES (1)"));
  }
  EXPECT_EQ(count(database, "t"), 0);

  auto transaction = Transaction::begin(database);
  ASSERT_TRUE(transaction);
  ASSERT_TRUE(database.execute("INSERT INTO t VALUES (1)"));
  ASSERT_TRUE(transaction->commit());
  EXPECT_EQ(count(database, "t"), 1);
}

TEST_F(SqliteTest, refuses_a_row_without_measure) {
  Database database = open();
  ASSERT_TRUE(database.execute("CREATE TABLE t(x TEXT)"));
  auto insert = database.prepare("INSERT INTO t VALUES (?1)");
  ASSERT_TRUE(insert);
  const auto inserted = insert->run({std::string(Database::kMaxRowBytes + 1, 'x')});
  ASSERT_FALSE(inserted);
  EXPECT_EQ(inserted.error().code, Code::kLimit);
  EXPECT_TRUE(insert->run({"and goes on"}));
}

TEST_F(SqliteTest, takes_an_empty_file_for_a_new_one) {
  std::filesystem::create_directory(file.parent_path());
  std::ofstream{file};
  open();
}

TEST_F(SqliteTest, refuses_what_is_no_database) {
  std::filesystem::create_directory(file.parent_path());
  std::ofstream(file) << std::string(8192, 'x');
  EXPECT_EQ(refusal(), fmt::format("{} is no database", file.string()));
}

TEST_F(SqliteTest, refuses_the_database_of_another_application) {
  ASSERT_TRUE(open().execute("PRAGMA application_id=77"));
  EXPECT_EQ(refusal(), fmt::format("{} is a database of another application", file.string()));
}

TEST_F(SqliteTest, refuses_a_database_without_a_mark_that_holds_something) {
  ASSERT_TRUE(open().execute("PRAGMA application_id=0; CREATE TABLE t(x)"));
  EXPECT_EQ(refusal(), fmt::format("{} is a database of another application", file.string()));
}

TEST_F(SqliteTest, refuses_a_damaged_page_and_leaves_the_file_as_it_is) {
  ASSERT_TRUE(open().execute("CREATE TABLE t(x); INSERT INTO t VALUES ('a'), ('b')"));
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(4096);  // the second page: the table's
  stream << std::string(64, '\x55') << std::flush;
  EXPECT_TRUE(refusal().starts_with(fmt::format("{} is damaged (", file.string()))) << refusal();
  EXPECT_EQ(refusal().find('\n'), std::string::npos);
}

TEST_F(SqliteTest, refuses_a_file_that_was_cut_off) {
  ASSERT_TRUE(open().execute("CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(50000))"));
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  EXPECT_TRUE(refusal().starts_with(fmt::format("{} is damaged (", file.string()))) << refusal();
}

TEST_F(SqliteTest, refuses_a_reference_to_nothing) {
  ASSERT_TRUE(
      open().execute("CREATE TABLE a(id INTEGER PRIMARY KEY); CREATE TABLE b(a REFERENCES a(id));"
                     "PRAGMA foreign_keys=OFF; INSERT INTO b VALUES (1)"));
  EXPECT_EQ(refusal(), fmt::format("{} is damaged (b refers to what is not there): put a copy of it back, or move it "
                                   "away to begin anew",
                                   file.string()));
}

}  // namespace
}  // namespace hyperward::daemon
