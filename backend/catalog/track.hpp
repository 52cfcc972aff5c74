// A track as the catalog knows it: what clients say about it, and what was measured.
//
// For: the store, the librarian, and the worker, which checks texts before it decodes anything.
// Not for: the search index (index.hpp), which knows rows and fingerprints alone.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace sonogate::catalog {

inline constexpr std::size_t max_text_characters = 512;
inline constexpr std::size_t max_metadata_bytes = 16384;
inline constexpr std::size_t max_metadata_depth = 64;
inline constexpr std::size_t max_isrc_bytes = 32;

// What a client says about a track; empty where it says nothing.
struct Labels {
    std::string title;
    std::string artist;
    std::string album;
    std::string isrc;
    std::string metadata = "{}";  // a JSON object, written without spaces

    friend bool operator==(const Labels&, const Labels&) = default;
};

// A change of labels: only what is set. Checked by make_label before it gets in.
struct LabelChanges {
    std::optional<std::string> title;
    std::optional<std::string> artist;
    std::optional<std::string> album;
    std::optional<std::string> isrc;
    std::optional<std::string> metadata;

    // The member of that name, or nullptr.
    std::optional<std::string>* of(Parameter parameter) noexcept;
    const std::optional<std::string>* of(Parameter parameter) const noexcept;

    Labels applied_to(Labels labels) const;
};

inline constexpr std::array label_parameters = {
    Parameter::title, Parameter::artist, Parameter::album, Parameter::isrc, Parameter::metadata};

// A label's value, checked, as it will be stored. Texts: UTF-8 without U+0000, at most
// max_text_characters code points. isrc: at most 32 of A-Z a-z 0-9 and '-', kept as sent; country
// and registrant codes are not looked up. metadata: a JSON object of at most 16 KiB when written
// without spaces, not nested deeper than 64. Errors: invalid_parameter, named.
Result<std::string> make_label(Parameter parameter, std::string_view value);

// 1 to 128 of A-Za-z0-9._:-
bool is_track_id(std::string_view id) noexcept;

using JobKey = std::array<std::uint8_t, 16>;
inline constexpr JobKey no_job_key{};

struct Track {
    std::int64_t row = 0;  // the store's own number: grows, is never used again
    std::string id;
    Labels labels;
    std::uint64_t duration_ms = 0;
    std::string sha256;  // of the audio file's bytes, 64 lower-case hex digits
    std::uint64_t hashes = 0;
    std::int64_t created_at_ms = 0;      // since 1970, UTC
    JobKey job_key = no_job_key;         // of the request that made it
    std::vector<std::byte> fingerprint;  // packed; not read by find and list
};

}  // namespace sonogate::catalog
