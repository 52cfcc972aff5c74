// What a job works on, known again: its size, and a keyed hash of all its bytes.
//
// For: the quarantine. An upload may be of gigabytes, at some 0.2 ms each MiB, and the broker is
// one thread: it is read a piece a turn of the loop, between everybody else's jobs. Of all its
// bytes, because who could leave some out would have another's file put away in place of his own.
// Not for: cache keys (nginx makes those), nor SHA-256 (a worker makes that). One thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "broker/slabs.hpp"

namespace sonogate::broker {

struct Content {
    std::uint64_t bytes = 0;
    std::uint64_t hash = 0;
    friend bool operator==(const Content&, const Content&) = default;
};

using ContentKey = std::array<std::uint64_t, 4>;

class ContentReader {
  public:
    static constexpr std::uint64_t piece_bytes = 4U << 20U;  // a millisecond

    // Of an upload of so many bytes in that slab, checked (desk.hpp); null where there is none.
    ContentReader(const ContentKey& key, std::uint64_t bytes, std::shared_ptr<const Slab> slab)
        : key_(key), bytes_(slab == nullptr ? 0 : bytes), slab_(std::move(slab)) {}

    // Reads one more piece. True at the end.
    bool step();

    bool is_done() const noexcept { return done_bytes_ == bytes_; }
    // Whether that is where it reads; nowhere any more once it is done.
    bool is_of(const Slab* slab) const noexcept { return slab_.get() == slab; }

    // Once it is done; none where there is no upload, or it could not be read.
    std::optional<Content> content() const;

  private:
    ContentKey key_;
    std::uint64_t bytes_;
    std::uint64_t done_bytes_ = 0;
    std::shared_ptr<const Slab> slab_;
    std::vector<std::uint64_t> hashes_;  // of the pieces
};

}  // namespace sonogate::broker
