// POST /v1/monitor: a long recording, searched piece by piece.
//
// For: the service, which lets other questions go between two pieces. Not for: what a play is
// (catalog/timeline.hpp).
#pragma once

#include "catalog/record.hpp"
#include "catalog/store.hpp"
#include "catalog/timeline.hpp"
#include "librarian/picture.hpp"
#include "librarian/service.hpp"

namespace sonogate::librarian {

class Monitoring {
  public:
    // Errors: what unpack_record says; internal for a fingerprint that no honest worker makes.
    static Result<Monitoring> begin(const Request& request, Picture picture);

    // One piece; false after the last. Throws std::bad_alloc.
    bool step(catalog::Searcher& searcher);

    // After the last step. `matched` is set where anything was played. Errors: the store's.
    Result<Answer> answer(catalog::Reader& reader, bool& matched);

  private:
    Monitoring(catalog::Record record, Picture picture, fingerprint::Fingerprint recording);

    catalog::Record record_;
    Picture picture_;
    catalog::Timeline timeline_;
    bool searchable_;
    std::uint64_t search_us_ = 0;
};

}  // namespace sonogate::librarian
