// The life of the librarian process: opens the catalog, moves jobs between the channel and the
// service.
//
// For: the zygote's child. Not for: what the catalog does (service.hpp).
#pragma once

#include "base/unique_fd.hpp"
#include "librarian/service.hpp"

namespace sonogate::librarian {

// Serves the channel until the broker is gone, then commits what was submitted. `layers` is what
// the process is confined by, for the broker. The exit status: 0, or 1 where the catalog does not
// open (the log says why) or the channel broke.
int run_librarian(UniqueFd channel, const Service::Config& config, std::uint32_t layers);

}  // namespace sonogate::librarian
