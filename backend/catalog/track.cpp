#include "catalog/track.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "catalog/utf8.hpp"

namespace sonogate::catalog {
namespace {

bool is_alphanumeric(char c) noexcept {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool is_text(std::string_view value) noexcept {
    const auto characters = utf8_characters(value);
    return characters && *characters <= max_text_characters &&
           value.find('\0') == std::string_view::npos;
}

bool is_isrc(std::string_view value) noexcept {
    return value.size() <= max_isrc_bytes && std::all_of(value.begin(), value.end(), [](char c) {
               return is_alphanumeric(c) || c == '-';
           });
}

// The object without spaces, or nothing. Depth is bounded while parsing: writing is recursive.
std::optional<std::string> normal_metadata(std::string_view value) {
    bool too_deep = false;
    const auto bound_depth = [&too_deep](int depth, nlohmann::ordered_json::parse_event_t,
                                         nlohmann::ordered_json&) {
        too_deep = too_deep || depth > static_cast<int>(max_metadata_depth);
        return !too_deep;
    };
    const auto parsed = nlohmann::ordered_json::parse(value, bound_depth, false);
    if (too_deep || !parsed.is_object()) {
        return std::nullopt;
    }
    std::string text = parsed.dump();
    if (text.size() > max_metadata_bytes) {
        return std::nullopt;
    }
    return text;
}

}  // namespace

std::optional<std::string>* LabelChanges::of(Parameter parameter) noexcept {
    switch (parameter) {
        case Parameter::title:
            return &title;
        case Parameter::artist:
            return &artist;
        case Parameter::album:
            return &album;
        case Parameter::isrc:
            return &isrc;
        case Parameter::metadata:
            return &metadata;
        default:
            return nullptr;
    }
}

const std::optional<std::string>* LabelChanges::of(Parameter parameter) const noexcept {
    return const_cast<LabelChanges*>(this)->of(parameter);
}

Labels LabelChanges::applied_to(Labels labels) const {
    labels.title = title.value_or(std::move(labels.title));
    labels.artist = artist.value_or(std::move(labels.artist));
    labels.album = album.value_or(std::move(labels.album));
    labels.isrc = isrc.value_or(std::move(labels.isrc));
    labels.metadata = metadata.value_or(std::move(labels.metadata));
    return labels;
}

Result<std::string> make_label(Parameter parameter, std::string_view value) {
    if (parameter == Parameter::metadata) {
        // Twice the bound leaves room for spaces, and bounds the parser's memory.
        auto text = value.size() > 2 * max_metadata_bytes ? std::nullopt : normal_metadata(value);
        if (!text) {
            return invalid(parameter);
        }
        return *std::move(text);
    }
    const bool good = parameter == Parameter::isrc ? is_isrc(value) : is_text(value);
    if (!good) {
        return invalid(parameter);
    }
    return std::string(value);
}

bool is_track_id(std::string_view id) noexcept {
    return !id.empty() && id.size() <= 128 && std::all_of(id.begin(), id.end(), [](char c) {
        return is_alphanumeric(c) || c == '.' || c == '_' || c == ':' || c == '-';
    });
}

}  // namespace sonogate::catalog
