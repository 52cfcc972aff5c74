// The search index: one immutable picture of all tracks, made anew by each change.
//
// For: catalog/search.hpp (reads it), librarian (makes the next one and swaps it in). Not for:
// durability: it is a cache of the store, rebuilt when the service opens.
// All tracks lie one after the other on one long time axis of columns, so that a posting is one
// number. The older tracks are in files (segment_file.hpp), which index_folder.hpp writes and
// merges while this goes on; those that came last are in memory. Adding makes a small segment
// there; segments merge when a later one is a quarter of the one before, so there are few, and each
// posting is moved a few times in all. A removed track is gone from the next picture at once; its
// postings go when their segment or file merges.
// Thread: const members any; a picture is shared as shared_ptr<const Index>.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/bytes.hpp"
#include "catalog/segment.hpp"
#include "catalog/segment_file.hpp"
#include "fingerprint/peak.hpp"

namespace sonogate::catalog {

class Index {
  public:
    using Row = std::int64_t;  // the store's number of a track

    // A packed fingerprint, in memory or in a mapped file, and what keeps it there.
    class Packed {
      public:
        Packed() noexcept = default;
        template <typename Owned>
        requires std::convertible_to<Owned, std::shared_ptr<const std::vector<std::byte>>> Packed(
            Owned owned)
        noexcept {
            const std::shared_ptr<const std::vector<std::byte>> bytes = std::move(owned);
            bytes_ = *bytes;
            owner_ = bytes;
        }
        Packed(Bytes bytes, std::shared_ptr<const void> owner) noexcept
            : bytes_(bytes), owner_(std::move(owner)) {}

        explicit operator bool() const noexcept { return owner_ != nullptr; }
        Bytes operator*() const noexcept { return bytes_; }
        void reset() noexcept { *this = {}; }

      private:
        Bytes bytes_;
        std::shared_ptr<const void> owner_;
    };

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

    // The picture after a file that stands for itself: its tracks come behind those that are there,
    // of which none may be in memory only. Those of which `is_live` says no are removed. Throws
    // std::length_error where the axis is full, std::invalid_argument where the entries make no
    // sense.
    std::shared_ptr<const Index> with_file(std::shared_ptr<const SegmentFile> file,
                                           const std::function<bool(Row)>& is_live) const;

    // Tracks that are in memory only, as a file would have them: borrows from this picture.
    SegmentSource unsaved() const;
    std::uint64_t unsaved_hashes() const noexcept;
    // The picture in which a file that was made of an earlier picture's unsaved() stands for the
    // tracks before `end_track` that were not saved.
    std::shared_ptr<const Index> saved(std::shared_ptr<const SegmentFile> file,
                                       std::uint32_t end_track) const;

    // The files, oldest first; the last two as one file would have them; and the picture in which
    // such a file stands for them.
    struct Part {
        std::shared_ptr<const SegmentFile> file;
        std::uint32_t first_place = 0;  // where the file's own 0 is on the axis
        std::uint32_t first_track = 0;  // of its tracks, in tracks(): [first_track, end_track)
        std::uint32_t end_track = 0;
    };
    const std::vector<Part>& parts() const noexcept { return parts_; }
    SegmentSource last_two() const;
    std::shared_ptr<const Index> joined(std::shared_ptr<const SegmentFile> file) const;

    // Postings of one key, segment by segment: visit(std::span<const std::uint32_t> places).
    template <typename Visit>
    void find(std::uint32_t key, Visit visit) const {
        thread_local std::vector<std::uint32_t> places;
        for (const Part& part : parts_) {
            places.clear();
            part.file->find(key, part.first_place, places);
            visit(std::span<const std::uint32_t>(places));
        }
        for (const auto& segment : segments_) {
            visit(segment->find(key));
        }
    }

    // About how many places find() tells.
    double list_length(std::uint32_t key) const noexcept {
        double sum = 0;
        for (const Part& part : parts_) {
            sum += part.file->list_length(key);
        }
        for (const auto& segment : segments_) {
            sum += static_cast<double>(segment->find(key).size());
        }
        return sum;
    }

    // Begins to fetch what list_length() will read.
    void prefetch_length(std::uint32_t key) const noexcept {
        for (const Part& part : parts_) {
            part.file->prefetch_length(key);
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
    std::size_t bytes() const noexcept;  // of memory, files left out

  private:
    static constexpr std::uint32_t stretch_columns = 256;  // tracks begin at multiples

    void add(const Addition& addition, std::vector<Posting>& postings);
    void remove(std::span<const Row> removals);
    void merge_segments();
    bool is_live(std::uint32_t place) const noexcept;
    std::uint32_t saved_tracks() const noexcept;
    std::uint32_t place_of(std::uint32_t track) const noexcept;
    SegmentSource source_of(std::uint32_t first_track, std::uint32_t end_track) const;
    void stand_for(Part part);

    std::vector<Part> parts_;                               // of the tracks that come first
    std::vector<std::shared_ptr<const Segment>> segments_;  // of the rest; oldest and largest first
    std::vector<Track> tracks_;                             // by place
    std::vector<std::uint32_t> track_of_stretch_;
    std::uint64_t live_tracks_ = 0;
    std::uint64_t live_hashes_ = 0;
    std::uint64_t live_columns_ = 0;
};

// Landmarks that a fingerprint of a track has in the index: the `hashes` of api.md.
std::uint32_t count_hashes(const fingerprint::Fingerprint& track);

}  // namespace sonogate::catalog
