// The search index: one immutable picture of all tracks, made anew by each change.
//
// For: catalog/search.hpp (reads it), librarian (makes the next one and swaps it in). Not for:
// durability: it is a cache of the store, rebuilt when the service opens.
// All tracks lie one after the other on one long time axis of columns, so that a posting is one
// number. Adding makes a small segment; segments merge when a later one is a quarter of the one
// before, so there are few, and each posting is moved a few times in all. A removed track is gone
// from the next picture at once; its postings go when their segment merges.
// Thread: const members any; a picture is shared as shared_ptr<const Index>.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.hpp"
#include "catalog/segment.hpp"
#include "fingerprint/peak.hpp"

namespace sonogate::catalog {

class Index {
  public:
    using Row = std::int64_t;  // the store's number of a track
    using Packed = std::shared_ptr<const std::vector<std::byte>>;

    struct Track {
        Row row = 0;
        std::uint32_t first_place = 0;  // of its column 0 on the axis
        std::uint32_t columns = 0;
        std::uint32_t hashes = 0;
        Packed packed;  // its fingerprint; null once removed
    };

    // What to add. `packed` is a fingerprint that unpacks.
    struct Addition {
        Row row = 0;
        Packed packed;
    };

    Index() = default;

    // The picture after these changes. A row that is added and removed is removed. Throws
    // std::length_error where the axis is full (19,000 hours), std::bad_alloc.
    std::shared_ptr<const Index> with(std::span<const Addition> additions,
                                      std::span<const Row> removals) const;

    // Postings of one key, segment by segment: visit(std::span<const std::uint32_t> places).
    template <typename Visit>
    void find(std::uint32_t key, Visit visit) const {
        for (const auto& segment : segments_) {
            visit(segment->find(key));
        }
    }

    // Number, in tracks(), of the track at a place that a segment told; it may be removed.
    std::uint32_t track_at(std::uint32_t place) const noexcept {
        return track_of_stretch_[place / stretch_columns];
    }
    const std::vector<Track>& tracks() const noexcept { return tracks_; }

    std::uint64_t live_tracks() const noexcept { return live_tracks_; }
    std::uint64_t live_hashes() const noexcept { return live_hashes_; }
    std::uint64_t live_columns() const noexcept { return live_columns_; }
    std::size_t bytes() const noexcept;

  private:
    static constexpr std::uint32_t stretch_columns = 256;  // tracks begin at multiples

    void add(const Addition& addition, std::vector<Posting>& postings);
    void remove(std::span<const Row> removals);
    void merge_segments();
    bool is_live(const Posting& posting) const noexcept;

    std::vector<std::shared_ptr<const Segment>> segments_;  // oldest and largest first
    std::vector<Track> tracks_;                             // by place
    std::vector<std::uint32_t> track_of_stretch_;
    std::uint64_t live_tracks_ = 0;
    std::uint64_t live_hashes_ = 0;
    std::uint64_t live_columns_ = 0;
};

// Landmarks that a fingerprint of a track has in the index: the `hashes` of api.md.
std::uint32_t count_hashes(const fingerprint::Fingerprint& track);

}  // namespace sonogate::catalog
