#include "catalog/segment.hpp"

#include <algorithm>
#include <utility>

#include "fingerprint/landmarks.hpp"

namespace sonogate::catalog {
namespace {

constexpr unsigned max_low_bits = 8;
constexpr std::size_t postings_per_entry = 16;  // of the directory, where the choice is free

}  // namespace

// Large segments afford a directory that tells every key; small ones share entries among 2^bits.
unsigned low_bits_for(std::size_t postings) noexcept {
    unsigned bits = 0;
    while (bits < max_low_bits &&
           postings < (postings_per_entry << (fingerprint::key_bits - bits))) {
        ++bits;
    }
    return bits;
}

Segment::Segment(std::vector<Posting> postings) : low_bits_(low_bits_for(postings.size())) {
    if (!std::is_sorted(postings.begin(), postings.end())) {  // they are where segments merge
        std::sort(postings.begin(), postings.end());
    }
    const std::size_t entries = std::size_t{1} << (fingerprint::key_bits - low_bits_);
    directory_.assign(entries + 1, 0);
    places_.reserve(postings.size());
    low_.reserve(low_bits_ == 0 ? 0 : postings.size());
    const std::uint32_t mask = (1U << low_bits_) - 1;
    for (const Posting& p : postings) {
        ++directory_[(p.key >> low_bits_) + 1];
        places_.push_back(p.place);
        if (low_bits_ != 0) {
            low_.push_back(static_cast<std::uint8_t>(p.key & mask));
        }
    }
    for (std::size_t i = 0; i < entries; ++i) {
        directory_[i + 1] += directory_[i];
    }
}

std::span<const std::uint32_t> Segment::find(std::uint32_t key) const noexcept {
    std::size_t begin = directory_[key >> low_bits_];
    std::size_t end = directory_[(key >> low_bits_) + 1];
    if (low_bits_ != 0) {
        const auto low = static_cast<std::uint8_t>(key & ((1U << low_bits_) - 1));
        const auto range = std::equal_range(low_.begin() + static_cast<std::ptrdiff_t>(begin),
                                            low_.begin() + static_cast<std::ptrdiff_t>(end), low);
        begin = static_cast<std::size_t>(range.first - low_.begin());
        end = static_cast<std::size_t>(range.second - low_.begin());
    }
    return std::span(places_).subspan(begin, end - begin);
}

std::size_t Segment::bytes() const noexcept {
    return (directory_.size() + places_.size()) * sizeof(std::uint32_t) + low_.size();
}

void Segment::append_to(std::vector<Posting>& out) const {
    for (std::size_t entry = 0; entry + 1 < directory_.size(); ++entry) {
        for (std::size_t i = directory_[entry]; i < directory_[entry + 1]; ++i) {
            const std::uint32_t low = low_bits_ == 0 ? 0U : low_[i];
            out.push_back({static_cast<std::uint32_t>(entry) << low_bits_ | low, places_[i]});
        }
    }
}

}  // namespace sonogate::catalog
