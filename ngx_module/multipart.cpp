#include "ngx_module/multipart.hpp"

#include <algorithm>
#include <cstring>

#include "ngx_module/content_type.hpp"

namespace sonogate::ngx_module {

namespace {

constexpr std::size_t max_filename_bytes = 2048;  // a longer one is none
constexpr std::size_t max_padding_bytes = 64;     // blanks between a boundary and its line's end

Multipart::Step failed(Failure failure) noexcept {
    return {.kind = Multipart::Kind::failed, .failure = failure};
}
Multipart::Step malformed() noexcept {
    return failed({.code = Errc::malformed_multipart});
}

// The value of Content-Disposition among header lines; empty where there is none.
std::string_view disposition_of(std::string_view headers) noexcept {
    constexpr std::string_view wanted = "content-disposition:";
    while (!headers.empty()) {
        const std::size_t end = std::min(headers.find("\r\n"), headers.size());
        const std::string_view line = headers.substr(0, end);
        if (line.size() >= wanted.size() && same_word(line.substr(0, wanted.size()), wanted)) {
            return line.substr(wanted.size());
        }
        headers.remove_prefix(std::min(end + 2, headers.size()));
    }
    return {};
}

bool is_audio_name(std::string_view name) noexcept {
    return name == "file" || name == "audio" || name == "sample";
}

}  // namespace

Result<Multipart> Multipart::with_boundary(std::string_view boundary) noexcept {
    if (boundary.empty() || boundary.size() > max_boundary_bytes) {
        return Errc::malformed_multipart;
    }
    Multipart out;
    std::memcpy(out.delimiter_.data(), "\r\n--", 4);
    std::memcpy(out.delimiter_.data() + 4, boundary.data(), boundary.size());
    out.delimiter_size_ = boundary.size() + 4;
    return out;
}

Multipart::Step Multipart::next(std::string_view window) noexcept {
    switch (state_) {
        case State::start:
            return at_start(window);
        case State::preamble:
            return in_preamble(window);
        case State::headers:
            return in_headers(window);
        case State::part:
            return part_ == Part::parameter ? in_value(window) : in_part(window);
        case State::epilogue:
            return window.empty() ? Step{} : consume(window.size());
    }
    return malformed();
}

// A boundary counts only where its line says so: "--" (the last one), or blanks and CR LF.
Multipart::Found Multipart::line_after(std::string_view window, std::size_t position,
                                       std::size_t end_of_delimiter) const noexcept {
    const std::string_view rest = window.substr(end_of_delimiter);
    if (rest.starts_with("--")) {
        return {Match::close, position, end_of_delimiter - position + 2};
    }
    std::size_t padding = 0;
    while (padding < rest.size() && (rest[padding] == ' ' || rest[padding] == '\t')) {
        ++padding;
    }
    if (padding > max_padding_bytes) {
        return {Match::none, position, 0};
    }
    const std::string_view line_end = rest.substr(padding);
    if (line_end.starts_with("\r\n")) {
        return {Match::delimiter, position, end_of_delimiter - position + padding + 2};
    }
    const bool can_still = line_end.empty() || line_end == "\r" || rest == "-";
    return {can_still ? Match::partial : Match::none, position, 0};
}

Multipart::Found Multipart::find_delimiter(std::string_view window,
                                           std::size_t from) const noexcept {
    const std::string_view wanted = delimiter();
    while (from + wanted.size() <= window.size()) {
        const void* hit =
            memmem(window.data() + from, window.size() - from, wanted.data(), wanted.size());
        if (hit == nullptr) {
            break;
        }
        const auto position =
            static_cast<std::size_t>(static_cast<const char*>(hit) - window.data());
        const Found found = line_after(window, position, position + wanted.size());
        if (found.match != Match::none) {
            return found;
        }
        from = position + 1;
    }
    // The beginning of a delimiter may stand at the end.
    const std::size_t tail = std::min(wanted.size() - 1, window.size());
    for (std::size_t at = window.size() - tail; at < window.size(); ++at) {
        if (wanted.starts_with(window.substr(at))) {
            return {Match::partial, at, 0};
        }
    }
    return {Match::none, window.size(), 0};
}

Multipart::Step Multipart::consume(std::size_t bytes) noexcept {
    scanned_ = 0;
    return {.kind = Kind::skip, .bytes = bytes};
}

Multipart::Step Multipart::pass(const Found& found) noexcept {
    state_ = found.match == Match::close ? State::epilogue : State::headers;
    return consume(found.bytes);
}

Multipart::Step Multipart::at_start(std::string_view window) noexcept {
    // The very first boundary has no line before it.
    const std::string_view wanted = delimiter().substr(2);
    if (window.size() < wanted.size() && wanted.starts_with(window)) {
        return {};
    }
    if (window.starts_with(wanted)) {
        const Found found = line_after(window, 0, wanted.size());
        if (found.match == Match::partial) {
            return {};
        }
        if (found.match != Match::none) {
            return pass(found);
        }
    }
    state_ = State::preamble;
    return in_preamble(window);
}

Multipart::Step Multipart::in_preamble(std::string_view window) noexcept {
    const Found found = find_delimiter(window, 0);
    if (found.position > 0) {
        return consume(found.position);
    }
    return found.match == Match::delimiter || found.match == Match::close ? pass(found) : Step{};
}

Multipart::Step Multipart::in_headers(std::string_view window) noexcept {
    if (window.starts_with("\r\n")) {
        return malformed();  // no headers: the part has no name
    }
    const std::size_t end = window.find("\r\n\r\n", scanned_ > 3 ? scanned_ - 3 : 0);
    if (end != std::string_view::npos && end <= max_headers_bytes) {
        return begin_part(window.substr(0, end), end + 4);
    }
    if (window.size() > max_headers_bytes) {
        return malformed();
    }
    scanned_ = window.size();
    return {};
}

Multipart::Step Multipart::begin_part(std::string_view headers, std::size_t bytes) noexcept {
    const std::string_view disposition = disposition_of(headers);
    std::array<char, 64> buffer{};
    const auto name = header_parameter(disposition, "name", buffer);
    if (!name) {
        return malformed();
    }
    parameter_ = Parameter::none;
    part_ = Part::ignored;
    if (is_audio_name(*name)) {
        // The first one is the audio, as the contract has it; what such a part holds after it is of
        // no interest.
        part_ = saw_audio_ ? Part::ignored : Part::audio;
        if (!saw_audio_) {
            std::array<char, max_filename_bytes> sent{};
            filename_.set(
                header_parameter(disposition, "filename", sent).value_or(std::string_view{}));
        }
        saw_audio_ = true;
    } else if (const Parameter named = parameter_of(*name);
               named != Parameter::none && named < Parameter::audio) {
        parameter_ = named;
        part_ = Part::parameter;
    }
    state_ = State::part;
    return consume(bytes);
}

Multipart::Step Multipart::in_part(std::string_view window) noexcept {
    const Found found = find_delimiter(window, 0);
    if (found.position > 0) {
        return {.kind = part_ == Part::audio ? Kind::audio : Kind::skip, .bytes = found.position};
    }
    return found.match == Match::delimiter || found.match == Match::close ? pass(found) : Step{};
}

Multipart::Step Multipart::in_value(std::string_view window) noexcept {
    // What was searched before ends with what may be the beginning of a delimiter and its line.
    const std::size_t overlap = delimiter_size_ + max_padding_bytes + 2;
    const Found found = find_delimiter(window, scanned_ > overlap ? scanned_ - overlap : 0);
    if (found.position > max_value_bytes) {
        return failed({.code = Errc::invalid_parameter,
                       .parameter = parameter_,
                       .limit = max_value_bytes,
                       .value = found.position});
    }
    if (found.match != Match::delimiter && found.match != Match::close) {
        scanned_ = window.size();
        return {};
    }
    Step step = pass(found);
    step.kind = Kind::parameter;
    step.bytes = found.position + found.bytes;
    step.parameter = parameter_;
    step.value = window.substr(0, found.position);
    return step;
}

}  // namespace sonogate::ngx_module
