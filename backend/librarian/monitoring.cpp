#include "librarian/monitoring.hpp"

#include <utility>

#include "base/clock.hpp"
#include "fingerprint/packing.hpp"
#include "librarian/answers.hpp"

namespace sonogate::librarian {

Monitoring::Monitoring(catalog::Record record, Picture picture, fingerprint::Fingerprint recording)
    : record_(std::move(record)),
      picture_(std::move(picture)),
      timeline_(picture_.index, std::move(recording), record_.max_false_positive),
      searchable_(picture_.index->live_tracks() > 0) {}

Result<Monitoring> Monitoring::begin(const Request& request, Picture picture) {
    auto record = catalog::unpack_record(request.record);
    if (!record) {
        return record.failure();
    }
    auto recording = fingerprint::unpack(record->fingerprint);
    if (!recording) {
        return Errc::internal;
    }
    record->fingerprint = {};
    return Monitoring(std::move(*record), std::move(picture), std::move(*recording));
}

bool Monitoring::step(catalog::Searcher& searcher) {
    const std::uint64_t began_us = now_us();
    const bool more = searchable_ && timeline_.step(searcher);
    search_us_ += now_us() - began_us;
    return more;
}

Result<Answer> Monitoring::answer(catalog::Reader& reader, bool& matched) {
    const std::uint64_t began_us = now_us();
    std::vector<NamedPlay> named;
    for (const catalog::Play& play : timeline_.plays()) {
        auto track = reader.find_row(play.row);
        if (!track) {
            return track.failure();
        }
        if (*track) {  // else removed while we searched
            named.push_back({play, std::move(**track)});
        }
    }
    matched = !named.empty();
    Answer answer;
    answer.body = monitor_body(record_, named, figures_of(picture_));
    answer.search_us = static_cast<std::uint32_t>(search_us_ + now_us() - began_us);
    return answer;
}

}  // namespace sonogate::librarian
