#include "catalog/sqlite.hpp"

#include <cstdint>

namespace sonogate::catalog {
namespace {

constexpr int busy_wait_ms = 10'000;

// SQLite tells only ENOSPC apart, and that not where its shared index grows; a quota (EDQUOT) and a
// limit of file size (EFBIG) are writes that failed, often with the errno lost.
bool is_no_room(int code) noexcept {
    return (code & 0xff) == SQLITE_FULL || code == SQLITE_IOERR_WRITE ||
           code == SQLITE_IOERR_SHMSIZE;
}

Failure failure_of(sqlite3* handle) noexcept {
    const int error = handle == nullptr ? 0 : sqlite3_system_errno(handle);
    const int code = handle == nullptr ? SQLITE_NOMEM : sqlite3_extended_errcode(handle);
    return {.code = is_no_room(code) ? Errc::insufficient_storage : Errc::internal, .error = error};
}

}  // namespace

Result<Sqlite> Sqlite::open(const std::string& path, Mode mode) {
    const int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                      (mode == Mode::read_only ? SQLITE_OPEN_READONLY
                                               : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    sqlite3* handle = nullptr;
    const int code = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
    Sqlite out;
    out.handle_.reset(handle);
    if (code != SQLITE_OK) {
        return failure_of(handle);
    }
    sqlite3_busy_timeout(handle, busy_wait_ms);
    return out;
}

Result<void> Sqlite::run(const char* sql) {
    if (sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
        return failure();
    }
    return {};
}

Result<SqliteStatement> Sqlite::prepare(std::string_view sql) {
    SqliteStatement out;
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()),
                           SQLITE_PREPARE_PERSISTENT, &statement, nullptr) != SQLITE_OK) {
        return failure();
    }
    out.handle_.reset(statement);
    return out;
}

Result<std::int64_t> Sqlite::number(std::string_view sql) {
    auto statement = prepare(sql);
    if (!statement) {
        return statement.failure();
    }
    const auto row = statement->step();
    if (!row) {
        return row.failure();
    }
    return *row ? statement->integer(0) : 0;
}

Failure Sqlite::failure() const noexcept {
    return failure_of(handle_.get());
}

void SqliteStatement::bind(int index, std::int64_t value) noexcept {
    sqlite3_bind_int64(handle_.get(), index, value);
}

// An empty view may have no address, which SQLite would take for NULL.
void SqliteStatement::bind(int index, std::string_view value) noexcept {
    sqlite3_bind_text64(handle_.get(), index, value.empty() ? "" : value.data(), value.size(),
                        SQLITE_STATIC, SQLITE_UTF8);
}

void SqliteStatement::bind(int index, Bytes value) noexcept {
    if (value.empty()) {
        sqlite3_bind_zeroblob(handle_.get(), index, 0);
    } else {
        sqlite3_bind_blob64(handle_.get(), index, value.data(), value.size(), SQLITE_STATIC);
    }
}

Result<bool> SqliteStatement::step() {
    const int code = sqlite3_step(handle_.get());
    if (code == SQLITE_ROW) {
        return true;
    }
    if (code == SQLITE_DONE) {
        return false;
    }
    return failure_of(sqlite3_db_handle(handle_.get()));
}

void SqliteStatement::reset() noexcept {
    sqlite3_reset(handle_.get());
    sqlite3_clear_bindings(handle_.get());
}

std::int64_t SqliteStatement::integer(int column) const noexcept {
    return sqlite3_column_int64(handle_.get(), column);
}

std::string_view SqliteStatement::text(int column) const noexcept {
    const auto* const data = sqlite3_column_text(handle_.get(), column);
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(handle_.get(), column));
    return data == nullptr ? std::string_view{}
                           : std::string_view(reinterpret_cast<const char*>(data), size);
}

Bytes SqliteStatement::blob(int column) const noexcept {
    const auto* const data = sqlite3_column_blob(handle_.get(), column);
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(handle_.get(), column));
    return data == nullptr ? Bytes{} : Bytes(static_cast<const std::byte*>(data), size);
}

}  // namespace sonogate::catalog
