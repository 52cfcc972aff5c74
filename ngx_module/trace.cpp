#include "ngx_module/trace.hpp"

#include <charconv>

namespace sonogate::ngx_module {

namespace {

// VERSION-TRACE-PARENT-FLAGS, as section 3.2.2 has it.
constexpr std::size_t version_digits = 2;
constexpr std::size_t trace_digits = 32;
constexpr std::size_t parent_digits = 16;
constexpr std::size_t flags_digits = 2;

// Takes so many digits of lower-case hex off the front; empty where they are not there.
std::string_view take_hex(std::string_view& rest, std::size_t digits) noexcept {
    const std::string_view out = rest.substr(0, digits);
    if (out.size() != digits ||
        out.find_first_not_of("0123456789abcdef") != std::string_view::npos) {
        return {};
    }
    rest.remove_prefix(digits);
    return out;
}

bool take_dash(std::string_view& rest) noexcept {
    if (!rest.starts_with('-')) {
        return false;
    }
    rest.remove_prefix(1);
    return true;
}

// All zeros mean "none".
bool is_id(std::string_view digits) noexcept {
    return digits.find_first_not_of('0') != std::string_view::npos;
}

}  // namespace

std::string_view trace_id_of(std::string_view rest) noexcept {
    const std::string_view version = take_hex(rest, version_digits);
    if (version.empty() || version == "ff" || !take_dash(rest)) {
        return {};
    }
    const std::string_view trace = take_hex(rest, trace_digits);
    if (!is_id(trace) || !take_dash(rest) || !is_id(take_hex(rest, parent_digits)) ||
        !take_dash(rest) || take_hex(rest, flags_digits).empty()) {
        return {};
    }
    // Later versions may go on behind a dash.
    return rest.empty() || (version != "00" && rest.starts_with('-')) ? trace : std::string_view{};
}

std::array<std::uint8_t, 16> trace_bytes(std::string_view trace_id) noexcept {
    std::array<std::uint8_t, 16> out{};
    const char* digits = trace_id.data();
    for (std::size_t i = 0; i < out.size() && trace_id.size() == 2 * out.size(); ++i) {
        std::from_chars(digits + 2 * i, digits + 2 * i + 2, out[i], 16);
    }
    return out;
}

}  // namespace sonogate::ngx_module
