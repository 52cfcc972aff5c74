// The shape of the store in SQLite, and how older shapes become the present one.
//
// For: catalog/sqlite_store.cpp, snapshot/, and their tests. Not for: what the columns mean
// (track.hpp).
#pragma once

#include <cstdint>
#include <string>

#include "base/result.hpp"
#include "catalog/sqlite.hpp"

namespace sonogate::catalog {

inline constexpr std::int64_t application_id = 0x53474354;  // "SGCT", in the file's header
inline constexpr std::int64_t schema_version = 2;           // PRAGMA user_version

// Brings a database, a new and empty one included, to schema_version, each step in a transaction.
// Refused with internal, and words in `why`: a schema newer than this program, a database that is
// somebody else's.
Result<void> migrate(Sqlite& database, std::string& why);

}  // namespace sonogate::catalog
