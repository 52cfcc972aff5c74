// Reading a catalog's file to its last byte: is everything in it what it says it is?
//
// For: export, import and verify. Not for: the librarian, which serves what is whole and says what
// is not.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "catalog/sqlite.hpp"

namespace sonogate::snapshot {

struct Findings {
    std::vector<std::string> faults;  // the first few, in words; empty: all is well
    std::uint64_t fault_count = 0;
    std::uint64_t tracks = 0;
    std::uint64_t hashes = 0;
    std::uint64_t version = 0;
    std::string digest;  // SHA-256 over all tracks, as hex

    bool sound() const noexcept { return fault_count == 0; }
    void add(std::string fault);
};

// Looks at SQLite's own structure, then at each track: does its fingerprint unpack, are its texts
// and counts what the service would have written? Sees one state of a catalog that is being served.
// What cannot be read is a fault like any other.
Findings inspect(catalog::Sqlite& database);

// The table that an export has beside the catalog's own: what the file holds if it is whole.
bool has_seal(catalog::Sqlite& database);
Result<void> write_seal(catalog::Sqlite& database, const Findings& findings);
// Adds a fault where the seal tells of other tracks than were found.
void compare_with_seal(catalog::Sqlite& database, Findings& findings);

}  // namespace sonogate::snapshot
