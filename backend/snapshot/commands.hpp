// `sonogated catalog export|import|verify`: a catalog as one file, out and back in.
//
// For: operators. Not for: the service itself, which goes on while an export or a verify reads.
// Each gives the exit status; what was done is on standard output, what went wrong on standard
// error.
#pragma once

#include <string>

namespace sonogate::snapshot {

struct Place {
    std::string state;                          // the daemon's state folder
    std::string catalog = "sqlite:catalog.db";  // as in nginx.conf
};

// Writes all that is committed now into a new file, which then stands there whole or not at all.
// Needs room for the catalog's size beside it. Writers go on; they are not waited for.
int export_catalog(const Place& place, const std::string& file);

// Makes an exported file, verified first, the catalog of a state folder that has none.
int import_catalog(const Place& place, const std::string& file);

// Reads a catalog or an exported file to its last byte.
int verify_catalog(const std::string& file);

}  // namespace sonogate::snapshot
