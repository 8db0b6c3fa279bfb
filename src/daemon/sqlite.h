// The little of SQLite that the store needs: a database that is ours and durable, prepared statements, transactions.
// Errors name the file. Not for several threads at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"
#include "base/time.h"

struct sqlite3;
struct sqlite3_stmt;

namespace hyperward::daemon {

// What stands for one parameter of a statement; monostate is NULL. Texts are copied.
using Value = std::variant<std::monostate, int64_t, std::string_view>;
// A time is kept as the milliseconds since 1970.
[[nodiscard]] Value to_value(std::optional<WallTime> time);

// The row that a statement stands at; good until it moves on.
class Columns {
 public:
  explicit Columns(sqlite3_stmt* statement) : statement_(statement) {}
  [[nodiscard]] int64_t number(int column) const;  // 0 for NULL
  [[nodiscard]] std::optional<WallTime> time(int column) const;
  [[nodiscard]] std::string text(int column) const;

 private:
  sqlite3_stmt* statement_;
};

class Statement {
 public:
  using Each = std::function<void(const Columns&)>;

  Statement() = default;
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}

  // Runs it to its end with these for ?1, ?2, ...
  [[nodiscard]] Result<void> run(std::initializer_list<Value> values, const Each& each = nullptr);

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

class Database {
 public:
  static constexpr int kMaxRowBytes = 1 << 20;  // beyond: kLimit
  static constexpr int kBusyTimeoutMs = 5'000;  // for who looks into the file from outside, to be done
  static constexpr std::chrono::milliseconds kCheckedFor{500};

  // Makes the file if there is none, with mode 0600, and its directory, with 0700. Every commit is on disk when it
  // returns; foreign keys are enforced. kInvalid: the file is no database, is damaged, or is another application's; it
  // is left as it was. Damage is looked for during kCheckedFor: the whole of a large file takes seconds from a cold
  // disk, and who opens it has better to do. What is damaged beyond is an error when it is met.
  [[nodiscard]] static Result<Database> open(const std::filesystem::path& file, int32_t application_id);

  [[nodiscard]] Result<Statement> prepare(std::string_view sql);
  [[nodiscard]] Result<void> execute(const std::string& sql);  // one or several, without parameters
  [[nodiscard]] Result<std::string> pragma(std::string_view name);
  [[nodiscard]] int64_t last_insert_id() const;

 private:
  friend class Transaction;
  explicit Database(sqlite3* handle) : handle_(handle) {}
  [[nodiscard]] Result<void> check_undamaged(const std::filesystem::path& file);
  [[nodiscard]] Result<void> check_ours(const std::filesystem::path& file, int32_t application_id);
  [[nodiscard]] Result<void> set(std::string_view pragma_name, std::string_view value, std::string_view read_back);

  struct Close {
    void operator()(sqlite3* handle) const;
  };
  std::unique_ptr<sqlite3, Close> handle_;
};

// All or nothing: what is not committed when it is destroyed has not happened.
class Transaction {
 public:
  [[nodiscard]] static Result<Transaction> begin(Database& database);
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  [[nodiscard]] Result<void> commit();

 private:
  explicit Transaction(Database& database) : database_(&database) {}
  Database* database_;  // nullptr: committed
};

}  // namespace hyperward::daemon
