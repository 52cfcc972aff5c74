// The store: what lasts. One interface for every database.
//
// For: the librarian. Not for: searching audio (index.hpp), which is rebuilt from here.
// One writer, any number of readers. What commit() acknowledged survives kill -9 and power loss.
// Errors of every call: insufficient_storage (no disk left), internal (anything else; Failure.error
// has errno where there is one).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "catalog/segment_file.hpp"
#include "catalog/track.hpp"

namespace sonogate::catalog {

struct Listing {
    std::vector<Track> tracks;  // ascending by row, without fingerprints
    bool more = false;          // there are further ones after the last
};

// One thread's way to read. Sees what was committed when a call begins.
class Reader {
  public:
    virtual ~Reader() = default;
    virtual Result<std::optional<Track>> find(std::string_view id) = 0;
    virtual Result<std::optional<Track>> find_row(std::int64_t row) = 0;

    // Tracks with a row above `after_row` of which title, artist, album or isrc contain `q`,
    // whatever the case; all where it is empty.
    virtual Result<Listing> list(std::int64_t after_row, std::size_t limit, std::string_view q) = 0;
};

// The one writer. Between begin() and commit() it sees its own changes.
class Writer {
  public:
    virtual ~Writer() = default;
    virtual Result<void> begin() = 0;
    virtual Result<void> commit() = 0;
    virtual void rollback() noexcept = 0;

    virtual Result<std::optional<Track>> find(std::string_view id) = 0;
    // Gives the row. `track.id` must be new.
    virtual Result<std::int64_t> insert(const Track& track) = 0;
    virtual Result<void> relabel(std::int64_t row, const Labels& labels) = 0;
    // Remembers who removed it for a week, so that a request that is sent again finds out.
    virtual Result<void> remove(const Track& track, const JobKey& job_key, std::int64_t now_ms) = 0;
    virtual Result<bool> was_removed_by(std::string_view id, const JobKey& job_key) = 0;

    // Grows with every change; lasts.
    virtual Result<std::uint64_t> version() = 0;
};

class Store {
  public:
    virtual ~Store() = default;
    virtual Result<std::unique_ptr<Reader>> open_reader() = 0;
    virtual Writer& writer() = 0;

    // All tracks' rows, ascending; quick, since nothing else of them is read.
    virtual Result<std::vector<std::int64_t>> rows() = 0;

    // The packed fingerprints of these tracks, as far as they are there. `visit` may throw.
    using Visit = std::function<void(std::int64_t row, std::string_view id,
                                     std::vector<std::byte> fingerprint)>;
    virtual Result<void> for_each_fingerprint(std::span<const std::int64_t> rows,
                                              const Visit& visit) = 0;

    // What an index was made from: another store, or this one in an older state, is another.
    virtual Result<StoreState> state() = 0;
    // A folder of this node's own for what can be made again from the store; it may not be there.
    virtual std::string index_folder() const = 0;
};

// "sqlite:/absolute/path". Waits some seconds for a former owner to finish; one process owns a
// store. `why`, where given, gets words for the log. Errors: also internal for another scheme, for
// a file that is no catalog, for a schema that is newer than this program.
Result<std::unique_ptr<Store>> open_store(const std::string& name, std::string* why);

}  // namespace sonogate::catalog
