// `sonogated key add`: makes a key and the line that lets nginx know it.
//
// For: operators. Not for: reading key files; nginx does that (ngx_module/keys.hpp).
#pragma once

#include <string>

namespace sonogate::keys {

struct AddOptions {
    std::string name;
    std::string roles = "analyze,identify";
    std::string rate_class;
    std::string file;  // empty: the line is printed, not appended
};

// Prints the key on standard output, this once: the file has its SHA-256 alone. A file that is not
// there yet is made for its owner only. The exit status; what went wrong is on standard error.
int add(const AddOptions& options);

}  // namespace sonogate::keys
