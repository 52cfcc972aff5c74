#include "catalog/schema.hpp"

#include <array>

namespace sonogate::catalog {
namespace {

// Step i makes version i + 1 of version i. A step that has been released never changes.
//
// tracks: the fingerprint is the last column, so that listing does not read past it. `searched`
// holds the folded labels, one a line. `changed` is the version of the last change: a node that
// follows the store asks for what is above the one it knows, here and in `removed`. identity: which
// store this is, whatever its file is called; what is derived from a store names it.
constexpr std::array<const char*, schema_version> steps = {R"(
    CREATE TABLE tracks (
        row           INTEGER PRIMARY KEY AUTOINCREMENT,
        id            TEXT    NOT NULL UNIQUE,
        title         TEXT    NOT NULL,
        artist        TEXT    NOT NULL,
        album         TEXT    NOT NULL,
        isrc          TEXT    NOT NULL,
        metadata      TEXT    NOT NULL,
        searched      TEXT    NOT NULL,
        duration_ms   INTEGER NOT NULL,
        sha256        TEXT    NOT NULL,
        hashes        INTEGER NOT NULL,
        created_at_ms INTEGER NOT NULL,
        changed       INTEGER NOT NULL,
        job_key       BLOB    NOT NULL,
        fingerprint   BLOB    NOT NULL
    ) STRICT;
    CREATE INDEX tracks_changed ON tracks (changed);
    CREATE TABLE removed (
        changed       INTEGER PRIMARY KEY,
        row           INTEGER NOT NULL,
        id            TEXT    NOT NULL,
        job_key       BLOB    NOT NULL,
        removed_at_ms INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX removed_id ON removed (id);
    CREATE INDEX removed_at ON removed (removed_at_ms);
    CREATE TABLE version (
        changed INTEGER NOT NULL
    ) STRICT;
    INSERT INTO version VALUES (0);
)",
                                                           R"(
    CREATE TABLE identity (
        id BLOB NOT NULL
    ) STRICT;
    INSERT INTO identity VALUES (randomblob(16));
)"};

Result<void> take_step(Sqlite& database, std::int64_t from) {
    const std::string sql = std::string("BEGIN IMMEDIATE;") +
                            steps[static_cast<std::size_t>(from)] +
                            "PRAGMA application_id = " + std::to_string(application_id) +
                            ";PRAGMA user_version = " + std::to_string(from + 1) + ";COMMIT;";
    auto done = database.run(sql.c_str());
    if (!done && database.in_transaction()) {
        (void)database.run("ROLLBACK");
    }
    return done;
}

}  // namespace

Result<void> migrate(Sqlite& database, std::string& why) {
    const auto owner = database.number("PRAGMA application_id");
    const auto found = database.number("PRAGMA user_version");
    const auto tables = database.number("SELECT count(*) FROM sqlite_schema");
    if (!owner || !found || !tables) {
        why = "the file is not a readable SQLite database";
        return (!owner ? owner : !found ? found : tables).failure();
    }
    const bool is_new = *tables == 0 && *found == 0 && *owner == 0;
    if (!is_new && *owner != application_id) {
        why = "the database belongs to another program";
        return Errc::internal;
    }
    if (*found > schema_version) {
        why = "the catalog's schema version " + std::to_string(*found) +
              " is newer than this program's " + std::to_string(schema_version);
        return Errc::internal;
    }
    for (std::int64_t version = *found; version < schema_version; ++version) {
        if (auto done = take_step(database, version); !done) {
            why = std::string("the schema could not be changed: ") + database.message();
            return done;
        }
    }
    return {};
}

}  // namespace sonogate::catalog
