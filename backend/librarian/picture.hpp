// What searches see: an index and the catalog version it belongs to, swapped as one.
//
// For: the writer (publishes) and the search threads (take what is newest). Not for: the store.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "catalog/index.hpp"

namespace sonogate::librarian {

struct Picture {
    std::shared_ptr<const catalog::Index> index = std::make_shared<const catalog::Index>();
    std::uint64_t version = 0;
};

class Gallery {
  public:
    Picture newest() const {
        const std::lock_guard lock(mutex_);
        return picture_;
    }
    // A former picture is freed here, or by the last search that uses it.
    void publish(Picture picture) noexcept {
        const std::lock_guard lock(mutex_);
        std::swap(picture_, picture);
    }

  private:
    mutable std::mutex mutex_;
    Picture picture_;
};

}  // namespace sonogate::librarian
