#include "daemon/sqlite.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <thread>

#include <spdlog/spdlog.h>

#include "base/fd.h"

namespace hyperward::daemon {
namespace {

std::unexpected<Error> failed(sqlite3* handle) {
  const char* file = sqlite3_db_filename(handle, "main");
  const std::string message = fmt::format("{}: {}", file == nullptr ? "" : file, sqlite3_errmsg(handle));
  const int system_error = sqlite3_system_errno(handle);
  switch (sqlite3_errcode(handle) & 0xff) {  // the rest of an extended code tells the details
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
      return system_error == 0 ? fail(Code::kSystem, "{}", message) : fail_errno(system_error, message);
    case SQLITE_TOOBIG: return fail(Code::kLimit, "{}", message);
    case SQLITE_PERM:
    case SQLITE_READONLY: return fail(Code::kPermission, "{}", message);
    default: return fail(Code::kSystem, "{}", message);
  }
}

std::unexpected<Error> damaged(const std::filesystem::path& file, std::string_view how) {
  // SQLite puts the place above the fault, in a line of its own.
  const size_t line = how.rfind('\n');
  if (line != std::string_view::npos) how.remove_prefix(line + 1);
  return fail(Code::kInvalid, "{} is damaged ({}): put a copy of it back, or move it away to begin anew", file.string(),
              how);
}

// A directory that was just made is on disk only when the one above it is.
Result<void> sync_directory(const std::filesystem::path& directory) {
  const Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || ::fsync(fd.get()) != 0) return fail_errno(errno, fmt::format("sync {}", directory.string()));
  return {};
}

// SQLite would make the file readable for all. Its companions (-wal, -shm) take over the mode that they find here.
Result<void> make_file(const std::filesystem::path& file) {
  const std::filesystem::path directory = std::filesystem::absolute(file).parent_path();
  const bool made = ::mkdir(directory.c_str(), 0700) == 0;
  if (!made && errno != EEXIST) return fail_errno(errno, fmt::format("create {}", directory.string()));
  if (made) HW_OK(sync_directory(directory.parent_path()));

  // A file that is there is not even opened: closing it would end the locks of this process's other connections to it
  // (fcntl(2), POSIX locks).
  const Fd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.valid() && errno != EEXIST) return fail_errno(errno, fmt::format("create {}", file.string()));
  return {};
}

int bind(sqlite3_stmt* statement, int index, const Value& value) {
  if (const auto* number = std::get_if<int64_t>(&value)) return sqlite3_bind_int64(statement, index, *number);
  if (const auto* text = std::get_if<std::string_view>(&value))
    return sqlite3_bind_text64(statement, index, text->empty() ? "" : text->data(), text->size(), SQLITE_TRANSIENT,
                               SQLITE_UTF8);
  return sqlite3_bind_null(statement, index);
}

// Ends what a connection is at when its time is over, with SQLITE_INTERRUPT. SQLite's progress handler would not do: a
// check of pages is one step to it.
class Interrupter {
 public:
  Interrupter(sqlite3* handle, std::chrono::milliseconds time)
      : thread_([handle, time](const std::stop_token& done) {
          std::mutex mutex;
          std::unique_lock lock(mutex);
          std::condition_variable_any woken;
          woken.wait_for(lock, done, time, [] { return false; });
          if (!done.stop_requested()) sqlite3_interrupt(handle);
        }) {}

 private:
  std::jthread thread_;
};

}  // namespace

Value to_value(std::optional<WallTime> time) {
  if (!time) return std::monostate();
  return int64_t{time->time_since_epoch().count()};
}

int64_t Columns::number(int column) const {
  return sqlite3_column_int64(statement_, column);
}

std::optional<WallTime> Columns::time(int column) const {
  if (sqlite3_column_type(statement_, column) == SQLITE_NULL) return std::nullopt;
  return WallTime(std::chrono::milliseconds(number(column)));
}

std::string Columns::text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (text == nullptr) return "";
  return {text, static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

void Statement::Finalize::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);  // its status repeats the last run's
}

Result<void> Statement::run(std::initializer_list<Value> values, const Each& each) {
  sqlite3_stmt* const statement = statement_.get();
  HW_CHECK(sqlite3_bind_parameter_count(statement) == static_cast<int>(values.size()));
  int status = SQLITE_OK, index = 0;
  for (const Value& value : values)
    if (status == SQLITE_OK) status = bind(statement, ++index, value);
  if (status == SQLITE_OK) status = sqlite3_step(statement);
  for (; status == SQLITE_ROW; status = sqlite3_step(statement))
    if (each) each(Columns(statement));

  Result<void> result;
  if (status != SQLITE_DONE) result = failed(sqlite3_db_handle(statement));
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  return result;
}

void Database::Close::operator()(sqlite3* handle) const {
  sqlite3_close_v2(handle);  // waits for statements that still live
}

Result<Database> Database::open(const std::filesystem::path& file, int32_t application_id) {
  HW_OK(make_file(file));
  sqlite3* handle = nullptr;
  const int status = sqlite3_open_v2(file.c_str(), &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  HW_CHECK(handle != nullptr);  // else memory has run out
  Database database(handle);
  if (status != SQLITE_OK) return failed(handle);
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, kBusyTimeoutMs);

  HW_OK(database.check_undamaged(file));
  HW_OK(database.check_ours(file, application_id));
  HW_OK(database.set("journal_mode", "WAL", "wal"));
  HW_OK(database.set("synchronous", "FULL", "2"));
  HW_OK(database.set("foreign_keys", "ON", "1"));
  sqlite3_limit(handle, SQLITE_LIMIT_LENGTH, kMaxRowBytes);
  return database;
}

Result<void> Database::check_undamaged(const std::filesystem::path& file) {
  const Interrupter interrupter(handle_.get(), kCheckedFor);
  const auto error = [&] { return sqlite3_errcode(handle_.get()) & 0xff; };
  const auto verdict = pragma("quick_check(1)");
  if (!verdict && error() == SQLITE_NOTADB) return fail(Code::kInvalid, "{} is no database", file.string());
  if (!verdict && error() == SQLITE_CORRUPT) return damaged(file, sqlite3_errmsg(handle_.get()));
  if (verdict && *verdict != "ok") return damaged(file, *verdict);

  const auto table = verdict ? pragma("foreign_key_check") : verdict;
  if (!table && error() == SQLITE_INTERRUPT) {
    spdlog::info("{}: not all of it was looked at for damage within {} ms", file.string(), kCheckedFor.count());
    return {};
  }
  if (!table) return std::unexpected(table.error());
  if (!table->empty()) return damaged(file, fmt::format("{} refers to what is not there", *table));
  return {};
}

Result<void> Database::check_ours(const std::filesystem::path& file, int32_t application_id) {
  HW_TRY(const std::string id, pragma("application_id"));
  if (id == fmt::format("{}", application_id)) return {};
  // A new file, or one whose first transaction was cut off.
  int64_t objects = 0;
  HW_TRY(Statement count, prepare("SELECT count(*) FROM sqlite_schema"));
  HW_OK(count.run({}, [&](const Columns& row) { objects = row.number(0); }));
  if (id == "0" && objects == 0) return {};
  return fail(Code::kInvalid, "{} is a database of another application", file.string());
}

Result<void> Database::set(std::string_view pragma_name, std::string_view value, std::string_view read_back) {
  HW_OK(execute(fmt::format("PRAGMA {}={}", pragma_name, value)));
  HW_TRY(const std::string now, pragma(pragma_name));
  if (now == read_back) return {};
  return fail(Code::kUnsupported, "{}: SQLite refuses {}={} and stays at {}",
              sqlite3_db_filename(handle_.get(), "main"), pragma_name, value, now);
}

Result<Statement> Database::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int status = sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()),
                                        SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (status != SQLITE_OK) return failed(handle_.get());
  return Statement(statement);
}

Result<void> Database::execute(const std::string& sql) {
  if (sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) return failed(handle_.get());
  return {};
}

Result<std::string> Database::pragma(std::string_view name) {
  std::string value;
  HW_TRY(Statement statement, prepare(fmt::format("PRAGMA {}", name)));
  HW_OK(statement.run({}, [&](const Columns& row) { value = row.text(0); }));
  return value;
}

int64_t Database::last_insert_id() const {
  return sqlite3_last_insert_rowid(handle_.get());
}

Result<Transaction> Transaction::begin(Database& database) {
  // IMMEDIATE: nobody else writes between what it reads and what it writes.
  HW_OK(database.execute("BEGIN IMMEDIATE"));
  return Transaction(database);
}

Transaction::~Transaction() {
  if (database_ == nullptr) return;
  // After some errors SQLite has rolled back by itself.
  sqlite3* const handle = database_->handle_.get();
  if (sqlite3_get_autocommit(handle) != 0) return;
  // What fails here leaves the file as it was; the next BEGIN says that the transaction is still open.
  sqlite3_exec(handle, "ROLLBACK", nullptr, nullptr, nullptr);
}

Result<void> Transaction::commit() {
  HW_OK(database_->execute("COMMIT"));
  database_ = nullptr;
  return {};
}

}  // namespace hyperward::daemon
