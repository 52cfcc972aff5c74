#include "librarian/questions.hpp"

#include <charconv>

#include "base/clock.hpp"
#include "catalog/cursor.hpp"
#include "catalog/utf8.hpp"
#include "fingerprint/packing.hpp"
#include "librarian/answers.hpp"
#include "shm/params.hpp"

namespace sonogate::librarian {
namespace {

constexpr std::size_t default_page = 50;
constexpr std::size_t max_page = 100;
constexpr std::size_t max_q_characters = 512;

struct Page {
    std::int64_t after_row = 0;
    std::size_t limit = default_page;
    std::string q;
};

Result<Page> read_page(Bytes params) {
    const auto packed = shm::Params::parse(params);
    if (!packed) {
        return packed.failure();
    }
    Page page;
    if (const auto text = packed->get(Parameter::limit)) {
        const char* const end = text->data() + text->size();
        const auto [stopped, error] = std::from_chars(text->data(), end, page.limit);
        if (error != std::errc{} || stopped != end || page.limit < 1 || page.limit > max_page) {
            return invalid(Parameter::limit);
        }
    }
    if (const auto text = packed->get(Parameter::cursor)) {
        const auto row = catalog::read_cursor(*text);
        if (!row) {
            return row.failure();
        }
        page.after_row = *row;
    }
    if (const auto text = packed->get(Parameter::q)) {
        const auto characters = catalog::utf8_characters(*text);
        if (!characters || *characters > max_q_characters ||
            text->find('\0') != std::string_view::npos) {
            return invalid(Parameter::q);
        }
        page.q = *text;
    }
    return page;
}

bool is_late(const Request& request) noexcept {
    return request.job.deadline_ns != 0 && now_ns() > request.job.deadline_ns;
}

}  // namespace

Result<Answer> Questions::answer(const Request& request, bool& matched) {
    if (is_late(request)) {
        return Errc::deadline_exceeded;
    }
    switch (request.job.endpoint) {
        case shm::Endpoint::identify:
            return identify(request, matched);
        case shm::Endpoint::track_get:
            return get(request);
        case shm::Endpoint::track_list:
            return list(request);
        default:
            return Errc::internal;
    }
}

Result<Answer> Questions::identify(const Request& request, bool& matched) {
    const std::uint64_t began_us = now_us();
    const auto record = catalog::unpack_record(request.record);
    if (!record) {
        return record.failure();
    }
    const auto clip = fingerprint::unpack(record->fingerprint);
    if (!clip) {
        return invalid(Parameter::fingerprint);
    }
    const Picture picture = gallery_.newest();
    const auto found = searcher_.search(*picture.index, *clip,
                                        {.limit = record->limit,
                                         .max_false_positive = record->max_false_positive,
                                         .multi = record->multi});
    std::vector<NamedMatch> named;
    for (const catalog::Match& match : found.matches) {
        auto track = reader_->find_row(match.row);
        if (!track) {
            return track.failure();
        }
        if (*track) {  // else removed while we searched
            named.push_back({match, std::move(**track)});
        }
    }
    matched = !named.empty();
    const catalog::Reason reason =
        found.reason == catalog::Reason::none ? catalog::Reason::no_candidates : found.reason;
    Answer answer;
    answer.body =
        identify_body(*record, named, found.query_hashes, name_of(reason), figures_of(picture));
    answer.search_us = static_cast<std::uint32_t>(now_us() - began_us);
    return answer;
}

std::optional<Result<Answer>> Questions::go_on(const Request& request,
                                               std::unique_ptr<Monitoring>& monitoring,
                                               bool& matched) {
    if (is_late(request)) {
        return Errc::deadline_exceeded;
    }
    if (!monitoring) {
        auto begun = Monitoring::begin(request, gallery_.newest());
        if (!begun) {
            return begun.failure();
        }
        monitoring = std::make_unique<Monitoring>(std::move(*begun));
    }
    if (monitoring->step(searcher_)) {
        return std::nullopt;
    }
    return monitoring->answer(*reader_, matched);
}

Result<Answer> Questions::get(const Request& request) {
    auto track = reader_->find(view_of(request.job.track_id));
    if (!track) {
        return track.failure();
    }
    if (!*track) {
        return Errc::not_found;
    }
    Answer answer;
    answer.body = track_body(**track);
    answer.track_id = request.job.track_id;
    answer.etag = etag_of(answer.body);
    return answer;
}

Result<Answer> Questions::list(const Request& request) {
    const auto page = read_page(request.params);
    if (!page) {
        return page.failure();
    }
    const auto listing = reader_->list(page->after_row, page->limit, page->q);
    if (!listing) {
        return listing.failure();
    }
    Answer answer;
    answer.body = listing_body(*listing);
    answer.etag = etag_of(answer.body);
    return answer;
}

}  // namespace sonogate::librarian
