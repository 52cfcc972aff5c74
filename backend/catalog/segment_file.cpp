#include "catalog/segment_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <numeric>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/unique_fd.hpp"
#include "catalog/segment.hpp"
#include "fingerprint/landmarks.hpp"

namespace sonogate::catalog {
namespace {

constexpr std::uint64_t file_magic = 0x58444e494f4e4f53ULL;  // "SONOINDX"
// Goes up with the form of the file, and with whatever makes other landmarks of a fingerprint.
constexpr std::uint32_t file_version = 1;
constexpr unsigned most_low_bits = 8;
constexpr std::size_t buffer_bytes = 1U << 20U;
constexpr std::uint64_t section_alignment = 8;

struct FileHeader {
    std::uint64_t magic = file_magic;
    std::uint32_t version = file_version;
    std::uint32_t low_bits = 0;
    std::array<std::uint8_t, 16> store{};
    std::uint64_t store_version = 0;
    std::uint64_t tracks = 0;
    std::uint64_t places = 0;
    std::uint64_t fingerprints_offset = 0;
    std::uint64_t postings_offset = 0;
    std::uint64_t directory_offset = 0;
    std::uint64_t file_bytes = 0;
    std::array<std::uint64_t, 3> reserved{};
    std::uint64_t rest_checksum = 0;    // of all behind the header
    std::uint64_t header_checksum = 0;  // of all before this
};
static_assert(sizeof(FileHeader) == 128);

std::uint64_t checksum_of(const FileHeader& header) noexcept {
    return XXH3_64bits(&header, offsetof(FileHeader, header_checksum));
}

constexpr std::uint64_t bucket_count(unsigned low_bits) noexcept {
    return std::uint64_t{1} << (fingerprint::key_bits - low_bits);
}

// Appends to a file through a buffer, and sums up what went by. Remembers the first failure.
class Output {
  public:
    explicit Output(int fd) : fd_(fd) { XXH3_64bits_reset(&checksum_); }

    void add(Bytes bytes) {
        buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
        at_ += bytes.size();
        if (buffer_.size() >= buffer_bytes) {
            flush();
        }
    }
    void add_number(std::uint64_t value) {  // LEB128
        std::array<std::byte, 10> bytes{};
        std::size_t size = 0;
        for (; value >= 0x80; value >>= 7U) {
            bytes[size++] = static_cast<std::byte>(value | 0x80U);
        }
        bytes[size++] = static_cast<std::byte>(value);
        add(Bytes(bytes).first(size));
    }
    void align() {
        constexpr std::array<std::byte, section_alignment> zeros{};
        add(Bytes(zeros).first((section_alignment - at_ % section_alignment) % section_alignment));
    }
    void flush() {
        XXH3_64bits_update(&checksum_, buffer_.data(), buffer_.size());
        Bytes left = buffer_;
        while (error_ == 0 && !left.empty()) {
            const ssize_t wrote = ::write(fd_, left.data(), left.size());
            if (wrote < 0 && errno != EINTR) {
                error_ = errno;
            } else if (wrote > 0) {
                left = left.subspan(static_cast<std::size_t>(wrote));
            }
        }
        buffer_.clear();
    }
    std::uint64_t at() const noexcept { return at_; }  // behind the header
    int error() const noexcept { return error_; }
    std::uint64_t checksum() const noexcept { return XXH3_64bits_digest(&checksum_); }

  private:
    int fd_;
    std::vector<std::byte> buffer_;
    std::uint64_t at_ = 0;
    int error_ = 0;
    XXH3_state_t checksum_{};
};

void write_tracks(Output& out, const SegmentSource& source) {
    std::uint64_t offset = 0;
    for (const SegmentSource::Track& track : source.tracks) {
        SegmentEntry entry = track.entry;
        entry.packed_offset = offset;
        entry.packed_bytes = static_cast<std::uint32_t>(track.packed.size());
        offset += track.packed.size();
        out.add(std::as_bytes(std::span(&entry, 1)));
    }
    for (const SegmentSource::Track& track : source.tracks) {
        out.add(track.packed);
    }
    out.align();
}

// The ends of the buckets' lists, in bytes of postings.
std::vector<std::uint64_t> write_postings(Output& out, const SegmentSource& source,
                                          unsigned low_bits) {
    std::vector<std::uint64_t> ends;
    ends.reserve(bucket_count(low_bits));
    const std::uint64_t begin = out.at();
    std::vector<std::uint32_t> places;
    const std::uint32_t bucket_keys = 1U << low_bits;
    std::uint64_t before = 0;
    for (std::uint32_t key = 0; key < 1U << fingerprint::key_bits; ++key) {
        const std::uint32_t low = key % bucket_keys;
        before = low == 0 ? 0 : before;
        places.clear();
        source.find(key, places);
        for (const std::uint32_t place : places) {
            const std::uint64_t number = std::uint64_t{low} << 32U | place;
            out.add_number(number - before);
            before = number;
        }
        if (low + 1 == bucket_keys) {
            ends.push_back(out.at() - begin);
        }
    }
    out.align();
    return ends;
}

Failure failure_of(int error) noexcept {
    const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
    return {.code = full ? Errc::insufficient_storage : Errc::internal, .error = error};
}

Result<void> write_all(int fd, const StoreState& store, const SegmentSource& source) {
    FileHeader header;
    header.store = store.identity;
    header.store_version = store.version;
    header.low_bits = low_bits_for(source.postings);
    header.tracks = source.tracks.size();
    header.places = source.places;
    if (::lseek(fd, sizeof header, SEEK_SET) < 0) {
        return failure_of(errno);
    }
    Output out(fd);
    header.fingerprints_offset = sizeof header + header.tracks * sizeof(SegmentEntry);
    write_tracks(out, source);
    header.postings_offset = sizeof header + out.at();
    const std::vector<std::uint64_t> ends = write_postings(out, source, header.low_bits);
    header.directory_offset = sizeof header + out.at();
    out.add(std::as_bytes(std::span(ends)));
    out.flush();
    header.file_bytes = sizeof header + out.at();
    header.rest_checksum = out.checksum();
    header.header_checksum = checksum_of(header);
    if (out.error() != 0) {
        return failure_of(out.error());
    }
    if (::pwrite(fd, &header, sizeof header, 0) != static_cast<ssize_t>(sizeof header) ||
        ::fsync(fd) != 0) {
        return failure_of(errno);
    }
    return {};
}

// LEB128 at `at`, which moves behind it; at most eight bytes of it, which no writer exceeds. Most
// of a search is this, so eight bytes are taken at once where there are as many.
std::uint64_t read_number(Bytes bytes, std::uint64_t& at) noexcept {
    std::uint64_t word = 0;
    if (bytes.size() - at >= sizeof word) {
        std::memcpy(&word, bytes.data() + at, sizeof word);
    } else {
        std::memcpy(&word, bytes.data() + at, bytes.size() - at);
    }
    const std::uint64_t ends = ~word & 0x8080808080808080ULL;  // the last byte's is the lowest
    at += ends == 0 ? sizeof word : static_cast<std::size_t>(std::countr_zero(ends)) / 8 + 1;
    word &= (ends ^ (ends - 1)) & 0x7f7f7f7f7f7f7f7fULL;
    word = (word & 0x007f007f007f007fULL) | (word & 0x7f007f007f007f00ULL) >> 1U;
    word = (word & 0x00003fff00003fffULL) | (word & 0x3fff00003fff0000ULL) >> 2U;
    return (word & 0x000000000fffffffULL) | (word & 0x0fffffff00000000ULL) >> 4U;
}

// The sections stand where they must, and inside the file; no sum can overflow.
bool is_well_made(const FileHeader& h, std::uint64_t bytes, const StoreState& store) noexcept {
    return h.magic == file_magic && h.version == file_version &&
           h.header_checksum == checksum_of(h) && h.file_bytes == bytes &&
           h.store == store.identity && h.store_version <= store.version &&
           h.low_bits <= most_low_bits && h.places <= UINT32_MAX &&
           h.tracks <= bytes / sizeof(SegmentEntry) &&
           h.fingerprints_offset == sizeof h + h.tracks * sizeof(SegmentEntry) &&
           h.fingerprints_offset <= h.postings_offset && h.postings_offset <= h.directory_offset &&
           h.directory_offset % section_alignment == 0 && h.directory_offset <= bytes &&
           bytes - h.directory_offset == bucket_count(h.low_bits) * sizeof(std::uint64_t);
}

}  // namespace

Result<std::shared_ptr<const SegmentFile>> SegmentFile::open(const std::string& path,
                                                             const StoreState& store) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    struct stat status {};
    if (!fd || ::fstat(fd.get(), &status) != 0) {
        return system_failure(errno);
    }
    const auto bytes = static_cast<std::uint64_t>(status.st_size);
    if (!S_ISREG(status.st_mode) || bytes < sizeof(FileHeader)) {
        return Errc::internal;
    }
    auto mapping = shm::Mapping::map(fd.get(), bytes, shm::Mapping::Access::read);
    if (!mapping) {
        return mapping.failure();
    }
    FileHeader header;
    std::memcpy(&header, mapping->data(), sizeof header);
    const std::byte* const data = mapping->data();
    if (!is_well_made(header, bytes, store) ||
        XXH3_64bits(data + sizeof header, bytes - sizeof header) != header.rest_checksum) {
        return Errc::internal;
    }
    std::shared_ptr<SegmentFile> out(new SegmentFile);
    out->entries_ = {reinterpret_cast<const SegmentEntry*>(data + sizeof header), header.tracks};
    out->fingerprints_ = {data + header.fingerprints_offset,
                          header.postings_offset - header.fingerprints_offset};
    out->postings_ = {data + header.postings_offset,
                      header.directory_offset - header.postings_offset};
    out->directory_ = {reinterpret_cast<const std::uint64_t*>(data + header.directory_offset),
                       bucket_count(header.low_bits)};
    out->low_bits_ = header.low_bits;
    out->places_ = static_cast<std::uint32_t>(header.places);
    out->bytes_ = bytes;
    const double postings =
        std::accumulate(out->entries_.begin(), out->entries_.end(), 0.0,
                        [](double sum, const SegmentEntry& e) { return sum + e.hashes; });
    out->lists_per_byte_ =
        std::ldexp(postings / std::max<double>(1, static_cast<double>(out->postings_.size())),
                   -static_cast<int>(header.low_bits));
    out->mapping_ = std::move(*mapping);
    return std::shared_ptr<const SegmentFile>(std::move(out));
}

Bytes SegmentFile::packed(const SegmentEntry& entry) const noexcept {
    const std::uint64_t offset = std::min<std::uint64_t>(entry.packed_offset, fingerprints_.size());
    return fingerprints_.subspan(
        offset, std::min<std::uint64_t>(entry.packed_bytes, fingerprints_.size() - offset));
}

// Bounded by what is mapped, whatever the bytes say: the checksum was right when it was opened.
void SegmentFile::find(std::uint32_t key, std::uint32_t base,
                       std::vector<std::uint32_t>& out) const {
    const std::size_t bucket = key >> low_bits_;
    const std::uint64_t end = std::min<std::uint64_t>(directory_[bucket], postings_.size());
    std::uint64_t at = bucket == 0 ? 0 : directory_[bucket - 1];
    const std::uint64_t low = key & ((1U << low_bits_) - 1);
    std::uint64_t number = 0;
    while (at < end) {
        number += read_number(postings_, at);
        if (number >> 32U == low && static_cast<std::uint32_t>(number) < places_) {
            out.push_back(base + static_cast<std::uint32_t>(number));
        } else if (number >> 32U > low) {
            return;
        }
    }
}

double SegmentFile::list_length(std::uint32_t key) const noexcept {
    const std::size_t bucket = key >> low_bits_;
    const std::uint64_t begin = bucket == 0 ? 0 : directory_[bucket - 1];
    return static_cast<double>(directory_[bucket] - begin) * lists_per_byte_;
}

Result<void> write_segment_file(const std::string& path, const StoreState& store,
                                const SegmentSource& source) {
    const std::string draft = path + ".partial";
    const UniqueFd fd(
        ::open(draft.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) {
        return failure_of(errno);
    }
    auto written = write_all(fd.get(), store, source);
    if (written && ::rename(draft.c_str(), path.c_str()) != 0) {
        written = failure_of(errno);
    }
    if (!written) {
        ::unlink(draft.c_str());
    }
    return written;
}

}  // namespace sonogate::catalog
