// Questions to the catalog: identify, monitor, list, get.
//
// For: a search thread of the service, one each. Not for: anything that changes the catalog.
#pragma once

#include <memory>
#include <optional>

#include "catalog/record.hpp"
#include "catalog/search.hpp"
#include "catalog/store.hpp"
#include "librarian/monitoring.hpp"
#include "librarian/picture.hpp"
#include "librarian/service.hpp"

namespace sonogate::librarian {

class Questions {
  public:
    // `gallery` is borrowed.
    Questions(std::unique_ptr<catalog::Reader> reader, const Gallery& gallery)
        : reader_(std::move(reader)), gallery_(gallery) {}

    // Throws std::bad_alloc. `matched` is set where an identify found something.
    Result<Answer> answer(const Request& request, bool& matched);

    // Begins a monitor job, or goes on with it by one piece; nullopt: it wants another turn, of any
    // search thread.
    std::optional<Result<Answer>> go_on(const Request& request,
                                        std::unique_ptr<Monitoring>& monitoring, bool& matched);

  private:
    Result<Answer> identify(const Request& request, bool& matched);
    Result<Answer> get(const Request& request);
    Result<Answer> list(const Request& request);

    std::unique_ptr<catalog::Reader> reader_;
    const Gallery& gallery_;
    catalog::Searcher searcher_;
};

}  // namespace sonogate::librarian
