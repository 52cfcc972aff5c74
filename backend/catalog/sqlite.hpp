// SQLite's C interface with owners and Result: a connection, a statement.
//
// For: catalog/sqlite_store.cpp, and snapshot/, which reads the same file. Not for: what is stored.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "base/result.hpp"

namespace sonogate::catalog {

class SqliteStatement;

class Sqlite {
  public:
    enum class Mode { read_only, read_write };

    // Errors: as failure_of().
    static Result<Sqlite> open(const std::string& path, Mode mode);

    // Runs statements without parameters or rows.
    Result<void> run(const char* sql);
    Result<SqliteStatement> prepare(std::string_view sql);

    // The first column of the first row of a query without parameters.
    Result<std::int64_t> number(std::string_view sql);

    std::int64_t last_row() const noexcept { return sqlite3_last_insert_rowid(handle_.get()); }
    bool in_transaction() const noexcept { return sqlite3_get_autocommit(handle_.get()) == 0; }

    // insufficient_storage for a full disk, else internal; with errno where the system said no.
    Failure failure() const noexcept;
    const char* message() const noexcept { return sqlite3_errmsg(handle_.get()); }

  private:
    struct Close {
        void operator()(sqlite3* handle) const noexcept { sqlite3_close_v2(handle); }
    };
    std::unique_ptr<sqlite3, Close> handle_;
};

// Prepared once, used again and again: bind(…) all, step() until it says false, reset by scope.
class SqliteStatement {
  public:
    void bind(int index, std::int64_t value) noexcept;
    void bind(int index, std::string_view value) noexcept;  // borrowed until reset
    void bind(int index, Bytes value) noexcept;             // borrowed until reset

    // True: a row stands ready. False: done.
    Result<bool> step();
    void reset() noexcept;

    std::int64_t integer(int column) const noexcept;
    std::string_view text(int column) const noexcept;  // until the next step or reset
    Bytes blob(int column) const noexcept;             // until the next step or reset

  private:
    friend class Sqlite;
    struct Finalize {
        void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
    };
    std::unique_ptr<sqlite3_stmt, Finalize> handle_;
};

// Resets on the way out, so that no statement holds a snapshot between calls.
class SqliteUse {
  public:
    explicit SqliteUse(SqliteStatement& statement) noexcept : statement_(statement) {}
    ~SqliteUse() { statement_.reset(); }
    SqliteUse(const SqliteUse&) = delete;
    SqliteUse& operator=(const SqliteUse&) = delete;

  private:
    SqliteStatement& statement_;
};

}  // namespace sonogate::catalog
