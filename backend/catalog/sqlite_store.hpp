// The store in one SQLite file: write-ahead log, fsync at every commit.
//
// For: open_store() and tests. Not for: anybody who can do with store.hpp.
#pragma once

#include <memory>
#include <string>

#include "catalog/store.hpp"

namespace sonogate::catalog {

// `path` is absolute, or relative to the working folder. Beside it lie SQLite's own -wal and -shm,
// and -owner, which whoever has the store open keeps locked. Errors as open_store().
Result<std::unique_ptr<Store>> open_sqlite_store(const std::string& path, std::string& why);

}  // namespace sonogate::catalog
