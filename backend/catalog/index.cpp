#include "catalog/index.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <unordered_set>

#include "fingerprint/landmarks.hpp"
#include "fingerprint/packing.hpp"

namespace sonogate::catalog {
namespace {

constexpr std::size_t merge_ratio = 4;

}  // namespace

std::shared_ptr<const Index> Index::with(std::span<const Addition> additions,
                                         std::span<const Row> removals) const {
    auto next = std::make_shared<Index>(*this);
    std::vector<Posting> postings;
    for (const Addition& addition : additions) {
        next->add(addition, postings);
    }
    next->remove(removals);
    if (!postings.empty()) {
        next->segments_.push_back(std::make_shared<const Segment>(std::move(postings)));
        next->merge_segments();
    }
    return next;
}

void Index::add(const Addition& addition, std::vector<Posting>& postings) {
    const auto fingerprint = fingerprint::unpack(*addition.packed);
    if (!fingerprint) {
        throw std::invalid_argument("a fingerprint that does not unpack");
    }
    const std::uint32_t last_time = fingerprint->peaks.empty() ? 0 : fingerprint->peaks.back().time;
    const std::uint32_t columns = last_time / fingerprint::time_steps + 2;
    const std::uint64_t first = std::uint64_t{track_of_stretch_.size()} * stretch_columns;
    const std::uint64_t stretches = (columns + stretch_columns - 1) / stretch_columns;
    if (first + stretches * stretch_columns > std::numeric_limits<std::uint32_t>::max()) {
        throw std::length_error("the time axis of the index is full");
    }
    Track track{.row = addition.row,
                .first_place = static_cast<std::uint32_t>(first),
                .columns = columns,
                .hashes = 0,
                .packed = addition.packed};
    for (const fingerprint::Landmark& l : fingerprint::track_landmarks(fingerprint->peaks)) {
        postings.push_back({l.key, track.first_place + l.column});
        ++track.hashes;
    }
    track_of_stretch_.insert(track_of_stretch_.end(), stretches,
                             static_cast<std::uint32_t>(tracks_.size()));
    live_tracks_ += 1;
    live_hashes_ += track.hashes;
    live_columns_ += columns;
    tracks_.push_back(std::move(track));
}

void Index::remove(std::span<const Row> removals) {
    if (removals.empty()) {
        return;
    }
    const std::unordered_set<Row> rows(removals.begin(), removals.end());
    for (Track& track : tracks_) {
        if (track.packed && rows.contains(track.row)) {
            live_tracks_ -= 1;
            live_hashes_ -= track.hashes;
            live_columns_ -= track.columns;
            track.packed.reset();
        }
    }
}

bool Index::is_live(const Posting& posting) const noexcept {
    return tracks_[track_at(posting.place)].packed != nullptr;
}

void Index::merge_segments() {
    while (segments_.size() > 1) {
        const Segment& last = *segments_.back();
        const Segment& before = *segments_[segments_.size() - 2];
        if (last.size() * merge_ratio < before.size()) {
            return;
        }
        std::vector<Posting> all;
        all.reserve(before.size() + last.size());
        before.append_to(all);
        last.append_to(all);
        std::erase_if(all, [this](const Posting& p) { return !is_live(p); });
        segments_.pop_back();
        segments_.back() = std::make_shared<const Segment>(std::move(all));
    }
}

std::size_t Index::bytes() const noexcept {
    std::size_t sum = tracks_.size() * sizeof(Track) + track_of_stretch_.size() * 4;
    for (const auto& segment : segments_) {
        sum += segment->bytes();
    }
    for (const Track& track : tracks_) {
        sum += track.packed ? track.packed->size() : 0;
    }
    return sum;
}

std::uint32_t count_hashes(const fingerprint::Fingerprint& track) {
    return static_cast<std::uint32_t>(fingerprint::track_landmarks(track.peaks).size());
}

}  // namespace sonogate::catalog
