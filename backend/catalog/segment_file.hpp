// A part of the search index as a file: tracks, their fingerprints, and their postings by key.
//
// For: catalog/index.hpp (reads it), catalog/index_folder.hpp (writes, merges, removes it). Not
// for: durability: the store has all that is in it. Written once, then mapped read-only; any number
// of searches read it. A file that is damaged, of another version or of another store is none.
//
//   header                       128 bytes, with checksums (XXH3) of itself and of all the rest
//   entries                      one a track, by place
//   fingerprints                 packed (fingerprint/packing.hpp)
//   postings                     a list a bucket of keys: differences as LEB128
//   directory                    u64 end of each bucket's list
//
// A bucket holds the keys that differ in their lowest `low_bits` only. Its list is the numbers
// (low bits of the key) << 32 | place, ascending, each as its difference from the one before.
// About 3.5 bytes a posting. Places are relative to the file's own beginning on the index's axis.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "shm/segment.hpp"

namespace sonogate::catalog {

// Which store a file was made from, and how far that was.
struct StoreState {
    std::array<std::uint8_t, 16> identity{};
    std::uint64_t version = 0;
};

struct SegmentEntry {
    std::int64_t row = 0;
    std::uint64_t packed_offset = 0;  // in the fingerprints
    std::uint32_t packed_bytes = 0;
    std::uint32_t first_place = 0;
    std::uint32_t columns = 0;
    std::uint32_t hashes = 0;
};
static_assert(sizeof(SegmentEntry) == 32);

class SegmentFile {
  public:
    // Maps a file and looks at all of it. Errors: internal for one that is not to be used; with
    // errno where the system said no.
    static Result<std::shared_ptr<const SegmentFile>> open(const std::string& path,
                                                           const StoreState& store);

    std::span<const SegmentEntry> tracks() const noexcept { return entries_; }
    Bytes packed(const SegmentEntry& entry) const noexcept;
    std::uint32_t places() const noexcept { return places_; }  // that it takes on the axis
    std::uint64_t bytes() const noexcept { return bytes_; }

    // Appends the places of a key, ascending, with `base` added to each.
    void find(std::uint32_t key, std::uint32_t base, std::vector<std::uint32_t>& out) const;
    // About how many find() appends: the mean of the keys of one bucket.
    double list_length(std::uint32_t key) const noexcept;
    void prefetch_length(std::uint32_t key) const noexcept {
        __builtin_prefetch(&directory_[key >> low_bits_]);
    }

  private:
    SegmentFile() = default;

    shm::Mapping mapping_;
    std::span<const SegmentEntry> entries_;
    Bytes fingerprints_;
    Bytes postings_;
    std::span<const std::uint64_t> directory_;
    unsigned low_bits_ = 0;
    std::uint32_t places_ = 0;
    std::uint64_t bytes_ = 0;
    double lists_per_byte_ = 0;  // keys' shares of a bucket's postings, a byte of its list
};

// What a file is made of. Everything is borrowed.
struct SegmentSource {
    struct Track {
        SegmentEntry entry;  // but for packed_offset, which is the writer's
        Bytes packed;
    };
    std::vector<Track> tracks;   // by place
    std::uint32_t places = 0;    // in all, also those of tracks that are gone
    std::uint64_t postings = 0;  // about how many
    // Appends the places of a key, ascending. Asked for each key once, ascending.
    std::function<void(std::uint32_t key, std::vector<std::uint32_t>& out)> find;
};

// Writes a file that stands there whole or not at all. Memory: buffers, and the directory. Errors:
// insufficient_storage, internal; with errno.
Result<void> write_segment_file(const std::string& path, const StoreState& store,
                                const SegmentSource& source);

}  // namespace sonogate::catalog
