// multipart/form-data taken apart as it streams (RFC 7578, RFC 2046 section 5.1).
//
// For: finding the audio and the parameters between the boundaries, whatever pieces the bytes
// arrive in. Not for: memory. The caller owns a window of bytes that were received and not yet
// consumed, asks next() what its front is, consumes that many bytes, and asks again. Nothing is
// copied or kept but a count and the audio's file name, so the same bytes give the same steps
// however they are cut. Knows nothing of nginx.
//
// Bounds: a boundary of 1 to 70 characters, the headers of a part 8 KiB, a parameter 64 KiB.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/parameter.hpp"
#include "base/result.hpp"
#include "ngx_module/filename.hpp"

namespace sonogate::ngx_module {

class Multipart {
  public:
    static constexpr std::size_t max_boundary_bytes = 70;
    static constexpr std::size_t max_headers_bytes = 8U << 10U;
    static constexpr std::size_t max_value_bytes = 64U << 10U;

    // Errors: malformed_multipart where the boundary is empty or too long.
    static Result<Multipart> with_boundary(std::string_view boundary) noexcept;

    enum class Kind : std::uint8_t {
        more,       // nothing to consume before more bytes are there
        audio,      // `bytes` at the front are audio
        skip,       // `bytes` at the front are of no interest
        parameter,  // `value`, in the window, is a parameter; then consume `bytes`
        failed,     // malformed_multipart, or invalid_parameter (a value beyond its bound)
    };
    struct Step {
        Kind kind = Kind::more;
        std::size_t bytes = 0;
        Parameter parameter = Parameter::none;
        std::string_view value{};
        Failure failure{};
    };

    // `window` begins with the first byte that was not consumed, and holds at least what it held
    // at the last call that said `more`.
    Step next(std::string_view window) noexcept;

    bool finished() const noexcept { return state_ == State::epilogue; }  // saw the last boundary
    bool saw_audio() const noexcept { return saw_audio_; }
    // Of the audio's part, fit to be logged; empty where it has none.
    std::string_view filename() const noexcept { return filename_.view(); }

  private:
    enum class State : std::uint8_t { start, preamble, headers, part, epilogue };
    enum class Part : std::uint8_t { audio, parameter, ignored };
    enum class Match : std::uint8_t { none, partial, delimiter, close };
    struct Found {
        Match match = Match::none;
        std::size_t position = 0;  // of the delimiter, or how many bytes are surely before any
        std::size_t bytes = 0;     // of the delimiter with what belongs to its line
    };

    Multipart() noexcept = default;
    std::string_view delimiter() const noexcept { return {delimiter_.data(), delimiter_size_}; }
    Found line_after(std::string_view window, std::size_t position,
                     std::size_t end_of_delimiter) const noexcept;
    Found find_delimiter(std::string_view window, std::size_t from) const noexcept;
    Step at_start(std::string_view window) noexcept;
    Step in_preamble(std::string_view window) noexcept;
    Step in_headers(std::string_view window) noexcept;
    Step in_part(std::string_view window) noexcept;
    Step in_value(std::string_view window) noexcept;
    Step consume(std::size_t bytes) noexcept;
    Step pass(const Found& found) noexcept;
    Step begin_part(std::string_view headers, std::size_t bytes) noexcept;

    std::array<char, max_boundary_bytes + 4> delimiter_{};  // CR LF - - boundary
    std::size_t delimiter_size_ = 0;
    State state_ = State::start;
    Part part_ = Part::ignored;
    Parameter parameter_ = Parameter::none;
    bool saw_audio_ = false;
    Filename filename_;
    std::size_t scanned_ = 0;  // bytes of the window in which nothing was found
};

}  // namespace sonogate::ngx_module
