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

bool Index::is_live(std::uint32_t place) const noexcept {
    return static_cast<bool>(tracks_[track_at(place)].packed);
}

std::uint32_t Index::saved_tracks() const noexcept {
    return parts_.empty() ? 0 : parts_.back().end_track;
}

// Where a track begins; behind the last one, where the axis ends.
std::uint32_t Index::place_of(std::uint32_t track) const noexcept {
    return track < tracks_.size()
               ? tracks_[track].first_place
               : static_cast<std::uint32_t>(track_of_stretch_.size() * stretch_columns);
}

std::shared_ptr<const Index> Index::with_file(std::shared_ptr<const SegmentFile> file,
                                              const std::function<bool(Row)>& is_live_row) const {
    auto next = std::make_shared<Index>(*this);
    const auto first_track = static_cast<std::uint32_t>(tracks_.size());
    const std::uint64_t base = std::uint64_t{track_of_stretch_.size()} * stretch_columns;
    const std::uint64_t stretches = (file->places() + stretch_columns - 1) / stretch_columns;
    if (base + stretches * stretch_columns > std::numeric_limits<std::uint32_t>::max()) {
        throw std::length_error("the time axis of the index is full");
    }
    next->track_of_stretch_.insert(next->track_of_stretch_.end(), stretches, first_track);
    std::uint64_t at = 0;
    for (const SegmentEntry& entry : file->tracks()) {
        if (entry.first_place < at || entry.first_place % stretch_columns != 0 ||
            entry.first_place > file->places() ||
            entry.columns > file->places() - entry.first_place) {
            throw std::invalid_argument("tracks that lie across each other");
        }
        at = std::uint64_t{entry.first_place} + entry.columns;
        Track track{.row = entry.row,
                    .first_place = static_cast<std::uint32_t>(base) + entry.first_place,
                    .columns = entry.columns,
                    .hashes = entry.hashes,
                    .packed = {}};
        const auto stretch = static_cast<std::ptrdiff_t>(track.first_place / stretch_columns);
        std::fill_n(next->track_of_stretch_.begin() + stretch,
                    (entry.columns + stretch_columns - 1) / stretch_columns,
                    static_cast<std::uint32_t>(next->tracks_.size()));
        if (is_live_row(entry.row)) {
            track.packed = {file->packed(entry), file};
            next->live_tracks_ += 1;
            next->live_hashes_ += track.hashes;
            next->live_columns_ += track.columns;
        }
        next->tracks_.push_back(std::move(track));
    }
    next->parts_.push_back({std::move(file), static_cast<std::uint32_t>(base), first_track,
                            static_cast<std::uint32_t>(next->tracks_.size())});
    return next;
}

SegmentSource Index::source_of(std::uint32_t first_track, std::uint32_t end_track) const {
    SegmentSource out;
    const std::uint32_t base = place_of(first_track);
    out.places = place_of(end_track) - base;
    for (std::uint32_t i = first_track; i < end_track; ++i) {
        const Track& track = tracks_[i];
        if (track.packed) {
            out.postings += track.hashes;
            out.tracks.push_back({{.row = track.row,
                                   .first_place = track.first_place - base,
                                   .columns = track.columns,
                                   .hashes = track.hashes},
                                  *track.packed});
        }
    }
    return out;
}

SegmentSource Index::unsaved() const {
    const std::uint32_t first = saved_tracks();
    SegmentSource out = source_of(first, static_cast<std::uint32_t>(tracks_.size()));
    out.find = [this, base = place_of(first)](std::uint32_t key,
                                              std::vector<std::uint32_t>& places) {
        for (const auto& segment : segments_) {
            for (const std::uint32_t place : segment->find(key)) {
                if (is_live(place)) {
                    places.push_back(place - base);
                }
            }
        }
    };
    return out;
}

SegmentSource Index::last_two() const {
    const Part& older = parts_[parts_.size() - 2];
    const Part& newer = parts_.back();
    SegmentSource out = source_of(older.first_track, newer.end_track);
    out.find = [this, &older, &newer](std::uint32_t key, std::vector<std::uint32_t>& places) {
        older.file->find(key, older.first_place, places);
        newer.file->find(key, newer.first_place, places);
        std::erase_if(places, [this](std::uint32_t place) { return !is_live(place); });
        for (std::uint32_t& place : places) {
            place -= older.first_place;
        }
    };
    return out;
}

// Fingerprints move into the file, and out of what they were in before.
void Index::stand_for(Part part) {
    std::uint32_t number = part.first_track;
    for (const SegmentEntry& entry : part.file->tracks()) {
        while (number < part.end_track && tracks_[number].row != entry.row) {
            ++number;
        }
        if (number < part.end_track && tracks_[number].packed) {
            tracks_[number].packed = {part.file->packed(entry), part.file};
        }
    }
    parts_.push_back(std::move(part));
}

std::shared_ptr<const Index> Index::saved(std::shared_ptr<const SegmentFile> file,
                                          std::uint32_t end_track) const {
    auto next = std::make_shared<Index>(*this);
    const std::uint32_t first = saved_tracks();
    next->stand_for({std::move(file), place_of(first), first, end_track});
    // What came while it was written stays in memory.
    std::vector<Posting> rest;
    for (const auto& segment : segments_) {
        segment->append_to(rest);
    }
    std::erase_if(rest, [end = place_of(end_track)](const Posting& p) { return p.place < end; });
    next->segments_.clear();
    if (!rest.empty()) {
        next->segments_.push_back(std::make_shared<const Segment>(std::move(rest)));
    }
    return next;
}

std::shared_ptr<const Index> Index::joined(std::shared_ptr<const SegmentFile> file) const {
    auto next = std::make_shared<Index>(*this);
    const Part& older = parts_[parts_.size() - 2];
    const std::uint32_t end_track = parts_.back().end_track;
    next->parts_.resize(parts_.size() - 2);
    next->stand_for({std::move(file), older.first_place, older.first_track, end_track});
    return next;
}

std::uint64_t Index::unsaved_hashes() const noexcept {
    std::uint64_t sum = 0;
    for (const auto& segment : segments_) {
        sum += segment->size();
    }
    return sum;
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
        std::inplace_merge(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(before.size()),
                           all.end());
        std::erase_if(all, [this](const Posting& p) { return !is_live(p.place); });
        segments_.pop_back();
        segments_.back() = std::make_shared<const Segment>(std::move(all));
    }
}

std::size_t Index::bytes() const noexcept {
    std::size_t sum = tracks_.size() * sizeof(Track) + track_of_stretch_.size() * 4;
    for (const auto& segment : segments_) {
        sum += segment->bytes();
    }
    for (std::size_t i = saved_tracks(); i < tracks_.size(); ++i) {
        sum += (*tracks_[i].packed).size();
    }
    return sum;
}

std::uint32_t count_hashes(const fingerprint::Fingerprint& track) {
    return static_cast<std::uint32_t>(fingerprint::track_landmarks(track.peaks).size());
}

}  // namespace sonogate::catalog
