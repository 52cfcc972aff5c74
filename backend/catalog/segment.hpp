// An immutable part of the search index: the places at which each landmark key occurs, sorted.
//
// For: catalog/index.hpp. Not for: what a place means (a column on the index's one long time axis).
// About 5.3 bytes a posting: 4 of place, 1 of key, and the directory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sonogate::catalog {

struct Posting {
    std::uint32_t key = 0;  // below 2^fingerprint::key_bits
    std::uint32_t place = 0;

    friend auto operator<=>(const Posting&, const Posting&) = default;
};

// Lowest bits of a key, 0 to 8, that a directory of so many postings does not tell apart.
unsigned low_bits_for(std::size_t postings) noexcept;

class Segment {
  public:
    // Any order. Fewer than 2^32 of them.
    explicit Segment(std::vector<Posting> postings);

    // Places of a key, ascending; borrowed.
    std::span<const std::uint32_t> find(std::uint32_t key) const noexcept;

    std::size_t size() const noexcept { return places_.size(); }
    std::size_t bytes() const noexcept;

    // Appends all postings, ascending.
    void append_to(std::vector<Posting>& out) const;

  private:
    unsigned low_bits_;  // of a key that the directory does not tell, at most 8
    std::vector<std::uint32_t>
        directory_;                  // first posting by the high bits of its key, and the end
    std::vector<std::uint8_t> low_;  // low bits by posting; empty where low_bits_ is 0
    std::vector<std::uint32_t> places_;
};

}  // namespace sonogate::catalog
