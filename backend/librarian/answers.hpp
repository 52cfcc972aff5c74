// The catalog's answers as JSON, member by member as docs/api.md has them.
//
// For: librarian/changes.cpp and questions.cpp. Not for: audio's own object (the worker writes it)
// nor request_id, timing_ms and cache (nginx puts those in front).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "catalog/index.hpp"
#include "catalog/record.hpp"
#include "catalog/search.hpp"
#include "catalog/store.hpp"
#include "catalog/timeline.hpp"
#include "librarian/picture.hpp"
#include "librarian/service.hpp"

namespace sonogate::librarian {

std::string track_body(const catalog::Track& track);
std::string listing_body(const catalog::Listing& listing);

// A match with the track that it is of.
struct NamedMatch {
    catalog::Match match;
    catalog::Track track;
};

// A play with the track that it is of.
struct NamedPlay {
    catalog::Play play;
    catalog::Track track;
};

struct CatalogFigures {
    std::uint64_t tracks = 0;
    std::uint64_t hashes = 0;
    std::uint64_t version = 0;
};

CatalogFigures figures_of(const Picture& picture) noexcept;

// `record.audio` is an object already. `reason` is used where there are no matches.
std::string identify_body(const catalog::Record& record, const std::vector<NamedMatch>& matches,
                          std::uint32_t query_hashes, std::string_view reason,
                          const CatalogFigures& catalog);

std::string monitor_body(const catalog::Record& record, const std::vector<NamedPlay>& plays,
                         const CatalogFigures& catalog);

// A number that is another for another body: FNV-1a, never 0.
std::uint64_t etag_of(std::string_view body) noexcept;

shm::Text text_of(std::string_view text) noexcept;  // at most shm::text_bytes
std::string_view view_of(const shm::Text& text) noexcept;

}  // namespace sonogate::librarian
