// A failure as the client reads it: RFC 9457 problem details.
//
// For: the wording of `detail` and the members beside it. Not for: which status a code has
// (base/errc.hpp) nor for sending (filter.cpp). Details never tell of paths, library messages or
// memory. Knows nothing of nginx.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.hpp"
#include "ngx_module/text_buffer.hpp"

namespace sonogate::ngx_module {

inline constexpr std::size_t max_problem_bytes = 1024;

struct ProblemText {
    Failure failure;
    std::string_view request_id;
    std::uint32_t retry_after_s = 0;
    std::uint16_t status = 0;  // where it is not the code's own
};

// The JSON object of a failure.
void write_problem(const ProblemText& problem, TextBuffer& out) noexcept;

// The object for a status that nginx decided and the contract has no type for (e.g. 414).
void write_plain_problem(std::uint16_t status, std::string_view request_id,
                         TextBuffer& out) noexcept;

// The failure that an answer of nginx's own means; `ok` where the contract has none.
Errc errc_of_status(std::uint16_t status) noexcept;

// Seconds after which trying again makes sense; 0 = no Retry-After.
std::uint32_t retry_after_of(Errc code) noexcept;

}  // namespace sonogate::ngx_module
