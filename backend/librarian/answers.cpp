#include "librarian/answers.hpp"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "catalog/cursor.hpp"
#include "fingerprint/peak.hpp"

namespace sonogate::librarian {
namespace {

using Json = nlohmann::ordered_json;

// Peaks are timed by the middle of their blocks.
constexpr double half_block_s =
    static_cast<double>(fingerprint::block_frames) / 2 / fingerprint::sample_rate_hz;

double rounded(double value, double steps) noexcept {
    return std::round(value * steps) / steps;
}

double milliseconds(double seconds) noexcept {
    return rounded(seconds, 1000);
}

// Three digits of a probability, whatever its size.
double three_digits(double p) noexcept {
    if (!(p > 1e-300)) {
        return 0;
    }
    const double scale = std::pow(10.0, 2 - std::floor(std::log10(p)));
    return std::isfinite(scale) ? std::round(p * scale) / scale : p;
}

std::string iso_time(std::int64_t ms) {
    const auto seconds = static_cast<time_t>(ms / 1000);
    tm parts{};
    ::gmtime_r(&seconds, &parts);
    char text[32];
    const std::size_t size = ::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return {text, size};
}

// The store holds what was checked; a damaged row must not take the listing down.
Json metadata_of(const catalog::Track& track) {
    Json metadata = Json::parse(track.labels.metadata, nullptr, false);
    return metadata.is_object() ? metadata : Json::object();
}

std::string text_of_json(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json track_json(const catalog::Track& track) {
    return {{"track_id", track.id},
            {"title", track.labels.title},
            {"artist", track.labels.artist},
            {"album", track.labels.album},
            {"isrc", track.labels.isrc},
            {"metadata", metadata_of(track)},
            {"duration_s", static_cast<double>(track.duration_ms) / 1000},
            {"hashes", track.hashes},
            {"sha256", track.sha256},
            {"created_at", iso_time(track.created_at_ms)}};
}

Json figures_json(const CatalogFigures& catalog) {
    return {{"tracks", catalog.tracks}, {"hashes", catalog.hashes}, {"version", catalog.version}};
}

// Four digits are what a fit tells of a few seconds.
double ratio(double value) noexcept {
    return rounded(value, 10'000);
}

// A readable stand-in for the probability: 1 − p^(1/3), so 0.99 at the default threshold.
double confidence_of(double p) noexcept {
    return rounded(1 - std::cbrt(p), 10'000);
}

Json match_json(const NamedMatch& named, std::uint32_t query_hashes, double clip_s) {
    const fingerprint::Alignment& a = named.match.alignment;
    const fingerprint::Ratio& r = named.match.ratio;
    const double start_s = a.first_time * fingerprint::seconds_per_time_unit + half_block_s;
    const double end_s = a.last_time * fingerprint::seconds_per_time_unit + half_block_s;
    // Blocks are as long in the clip as in the track, whatever the ratio.
    const auto track_s = [&](std::uint32_t clip_time) {
        return (clip_time * r.tempo + a.offset_time) * fingerprint::seconds_per_time_unit +
               half_block_s;
    };
    const double p = named.match.false_positive_probability;
    return {{"track_id", named.track.id},
            {"title", named.track.labels.title},
            {"artist", named.track.labels.artist},
            {"album", named.track.labels.album},
            {"isrc", named.track.labels.isrc},
            {"metadata", metadata_of(named.track)},
            {"confidence", confidence_of(p)},
            {"false_positive_probability", three_digits(p)},
            {"query_start_s", milliseconds(start_s)},
            {"query_end_s", milliseconds(end_s)},
            {"track_start_s", milliseconds(std::max(0.0, track_s(a.first_time)))},
            {"track_end_s", milliseconds(track_s(a.last_time))},
            {"track_duration_s", static_cast<double>(named.track.duration_ms) / 1000},
            {"coverage", clip_s > 0 ? std::min(1.0, rounded((end_s - start_s) / clip_s, 1000)) : 0},
            {"aligned_hashes", std::min(named.match.aligned_hashes, query_hashes)},
            {"query_hashes", query_hashes},
            {"tempo_ratio", ratio(r.tempo)},
            {"pitch_ratio", ratio(r.pitch)}};
}

// The same play of the same recording has the same id.
std::string play_id_of(const catalog::Record& record, const NamedPlay& named) {
    constexpr std::string_view digits = "0123456789abcdef";
    const std::uint64_t hash = etag_of(record.sha256 + named.track.id + '@' +
                                       std::to_string(named.play.stretch.first_time));
    std::string id;
    for (int shift = 60; shift >= 0; shift -= 4) {
        id += digits[hash >> shift & 15U];
    }
    return id;
}

// A recording has no station and no time of day.
Json play_json(const catalog::Record& record, const NamedPlay& named) {
    const catalog::Play& play = named.play;
    const auto seconds = [](double time) {
        return milliseconds(time * fingerprint::seconds_per_time_unit + half_block_s);
    };
    const double start_s = seconds(play.stretch.first_time);
    const double end_s = seconds(play.stretch.last_time);
    return {{"play_id", play_id_of(record, named)},
            {"stream_id", nullptr},
            {"track_id", named.track.id},
            {"title", named.track.labels.title},
            {"artist", named.track.labels.artist},
            {"album", named.track.labels.album},
            {"isrc", named.track.labels.isrc},
            {"started_at", nullptr},
            {"ended_at", nullptr},
            {"start_s", start_s},
            {"end_s", end_s},
            {"played_s", milliseconds(end_s - start_s)},
            {"track_start_s", seconds(play.track_first_time)},
            {"track_end_s", seconds(play.track_last_time)},
            {"track_duration_s", static_cast<double>(named.track.duration_ms) / 1000},
            {"confidence", confidence_of(play.false_positive_probability)},
            {"false_positive_probability", three_digits(play.false_positive_probability)},
            {"tempo_ratio", ratio(play.ratio.tempo)},
            {"pitch_ratio", ratio(play.ratio.pitch)}};
}

}  // namespace

CatalogFigures figures_of(const Picture& picture) noexcept {
    return {.tracks = picture.index->live_tracks(),
            .hashes = picture.index->live_hashes(),
            .version = picture.version};
}

std::string track_body(const catalog::Track& track) {
    return text_of_json(track_json(track));
}

std::string listing_body(const catalog::Listing& listing) {
    Json tracks = Json::array();
    for (const catalog::Track& track : listing.tracks) {
        tracks.push_back(track_json(track));
    }
    Json body = {{"tracks", std::move(tracks)}, {"next_cursor", nullptr}};
    if (listing.more) {
        body["next_cursor"] = catalog::make_cursor(listing.tracks.back().row);
    }
    return text_of_json(body);
}

std::string identify_body(const catalog::Record& record, const std::vector<NamedMatch>& matches,
                          std::uint32_t query_hashes, std::string_view reason,
                          const CatalogFigures& catalog) {
    Json found = Json::array();
    for (const NamedMatch& match : matches) {
        found.push_back(
            match_json(match, query_hashes, static_cast<double>(record.duration_ms) / 1000));
    }
    Json body = {{"kind", "identify"}, {"match", !matches.empty()}, {"reason", nullptr}};
    if (matches.empty()) {
        body["reason"] = reason;
    }
    body["audio"] = Json::parse(record.audio);
    body["matches"] = std::move(found);
    body["catalog"] = figures_json(catalog);
    return text_of_json(body);
}

std::string monitor_body(const catalog::Record& record, const std::vector<NamedPlay>& plays,
                         const CatalogFigures& catalog) {
    Json played = Json::array();
    for (const NamedPlay& play : plays) {
        played.push_back(play_json(record, play));
    }
    const Json body = {{"kind", "monitor"},
                       {"audio", Json::parse(record.audio)},
                       {"plays", std::move(played)},
                       {"catalog", figures_json(catalog)}};
    return text_of_json(body);
}

std::uint64_t etag_of(std::string_view body) noexcept {
    std::uint64_t hash = 14695981039346656037U;
    for (const char c : body) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
    }
    return hash == 0 ? 1 : hash;
}

shm::Text text_of(std::string_view text) noexcept {
    shm::Text out;
    out.size = static_cast<std::uint16_t>(std::min(text.size(), shm::text_bytes));
    std::copy_n(text.begin(), out.size, out.data.begin());
    return out;
}

std::string_view view_of(const shm::Text& text) noexcept {
    return {text.data.data(), std::min<std::size_t>(text.size, shm::text_bytes)};
}

}  // namespace sonogate::librarian
