// What was played when, in a recording of any length: plays with a begin and an end.
//
// For: librarian/monitoring.cpp. Not for: short clips, of which every candidate is told
// (search.hpp): here each moment of sound belongs to the one track that explains it best.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "catalog/search.hpp"
#include "fingerprint/extent.hpp"

namespace sonogate::catalog {

struct Play {
    Index::Row row = 0;
    fingerprint::Ratio ratio;
    fingerprint::Stretch stretch;  // of the recording, in units of Peak::time
    double track_first_time = 0;   // where in the track the stretch begins and ends, same units
    double track_last_time = 0;
    double false_positive_probability = 1;
};

// Thread: one at a time. Memory: the recording's peaks (8 bytes each, 3 MB an hour), and its plays.
class Timeline {
  public:
    // Plays are told where chance would give one with at most `max_false_positive` in all of the
    // recording.
    Timeline(std::shared_ptr<const Index> index, fingerprint::Fingerprint recording,
             double max_false_positive);

    // Searches the next 20 s; false where all of it has been searched.
    bool step(Searcher& searcher);

    // After the last step: all plays, by their begin.
    std::vector<Play> plays() const;

    const Index& index() const noexcept { return *index_; }

  private:
    // A play in the making: windows of the recording, one after the other, in which the same track
    // was found where its clock must stand by then.
    struct Sighting {
        fingerprint::Fit fit;  // from the recording's clock to the track's
        fingerprint::Stretch stretch;
    };
    struct Chain {
        std::uint32_t track = 0;  // number in the index
        Sighting first;
        Sighting last;
        double false_positive_probability = 1;
        double evidence = 0;
    };
    struct Draft;

    fingerprint::Stretch next_window() const;
    std::vector<Hypothesis> expected_in(fingerprint::Stretch window) const;
    void take(const Match& match, std::uint32_t begin_time);
    Draft draft_of(const Chain& chain, const fingerprint::TrackPeaks& track) const;
    fingerprint::TrackPeaks peaks_of(std::uint32_t track) const;
    std::vector<Draft> drafts() const;
    void merge_neighbours(std::vector<Draft>& drafts) const;
    void drop_shadows(std::vector<Draft>& drafts) const;
    std::span<const fingerprint::Peak> between(std::uint32_t first_time,
                                               std::uint32_t end_time) const;

    std::shared_ptr<const Index> index_;
    fingerprint::Fingerprint recording_;
    double max_false_positive_;  // in each window
    std::uint32_t end_time_ = 0;
    std::uint32_t searched_time_ = 0;  // all before it has been
    std::vector<Chain> chains_;
};

}  // namespace sonogate::catalog
