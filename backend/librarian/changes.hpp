// Changes to the catalog: enrol, relabel, remove; many in one commit.
//
// For: the service's writer thread. Not for: reading.
// A batch is one transaction and one fsync. Every change of it is answered after the commit and
// after the index that has it was published; where the store fails, nothing of it happened.
#pragma once

#include <vector>

#include "catalog/store.hpp"
#include "librarian/picture.hpp"
#include "librarian/service.hpp"

namespace sonogate::librarian {

class Changes {
  public:
    // Both are borrowed.
    Changes(catalog::Writer& writer, Gallery& gallery) : writer_(writer), gallery_(gallery) {}

    // One answer for each request, in order. Never throws but for memory.
    std::vector<Result<Answer>> apply(const std::vector<Request>& requests);

  private:
    struct Batch {
        std::vector<Result<Answer>> answers;
        std::vector<catalog::Index::Addition> additions;
        std::vector<catalog::Index::Row> removals;
    };
    Result<void> apply_at_once(std::span<const Request> requests, Batch& batch);
    Result<void> commit(Batch& batch);

    // Outer failure: the store's, ends the batch. Inner: this request's answer.
    using Outcome = Result<Result<Answer>>;
    Outcome change(const Request& request, Batch& batch);
    Outcome enrol(const Request& request, Batch& batch);
    Outcome relabel(const Request& request);
    Outcome remove(const Request& request, Batch& batch);

    catalog::Writer& writer_;
    Gallery& gallery_;
};

}  // namespace sonogate::librarian
