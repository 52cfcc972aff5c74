#include "ngx_module/origin.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>

namespace sonogate::ngx_module {

namespace {

bool is_letter(char c) noexcept {
    return c >= 'a' && c <= 'z';
}

bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

bool is_scheme(std::string_view text) noexcept {
    return !text.empty() && is_letter(text.front()) &&
           std::all_of(text.begin(), text.end(), [](char c) {
               return is_letter(c) || is_digit(c) || c == '+' || c == '-' || c == '.';
           });
}

// Labels of letters, digits, hyphens and (as real hosts have it) underscores.
bool is_host_name(std::string_view text) noexcept {
    char before = '.';
    for (const char c : text) {
        if (!(is_letter(c) || is_digit(c) || c == '-' || c == '_' || (c == '.' && before != '.'))) {
            return false;
        }
        before = c;
    }
    return before != '.';
}

bool is_address_in_brackets(std::string_view text) noexcept {
    return text.size() > 2 && text.front() == '[' && text.back() == ']' &&
           std::all_of(text.begin() + 1, text.end() - 1, [](char c) {
               return is_digit(c) || (c >= 'a' && c <= 'f') || c == ':' || c == '.';
           });
}

bool is_port(std::string_view text) noexcept {
    std::uint16_t port = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), port);
    return !text.empty() && read.ec == std::errc{} && read.ptr == text.data() + text.size() &&
           port != 0 && text.front() != '0';
}

// Where the port's colon stands, or the end.
std::size_t find_port(std::string_view host) noexcept {
    const std::size_t bracket = host.rfind(']');
    return std::min(host.find(':', bracket == std::string_view::npos ? 0 : bracket), host.size());
}

}  // namespace

const char* read_origin(std::string_view text, std::span<char> room, OriginPattern& out) noexcept {
    std::transform(text.begin(), text.end(), room.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    std::string_view all(room.data(), text.size());
    out = {.head = all};
    if (all == "null") {
        return nullptr;
    }
    constexpr std::string_view mark = "://";
    const std::size_t scheme_end = all.find(mark);
    if (scheme_end == std::string_view::npos || !is_scheme(all.substr(0, scheme_end))) {
        return "is no origin: write SCHEME://HOST, SCHEME://HOST:PORT, or null";
    }
    const std::size_t host_at = scheme_end + mark.size();
    const std::string_view rest = all.substr(host_at);
    std::string_view host = rest.substr(0, find_port(rest));
    if (host.size() != rest.size()) {
        const std::string_view port = rest.substr(host.size() + 1);
        if (!is_port(port)) {
            return "has something behind the host that is no port; an origin has no path";
        }
        const std::string_view scheme = all.substr(0, scheme_end);
        if ((scheme == "https" && port == "443") || (scheme == "http" && port == "80")) {
            all.remove_suffix(port.size() + 1);
        }
    }
    constexpr std::string_view wildcard = "*.";
    const bool any_subdomain = host.starts_with(wildcard);
    host.remove_prefix(any_subdomain ? wildcard.size() : 0);
    if (!is_host_name(host) && (any_subdomain || !is_address_in_brackets(host))) {
        return "has no host name: an origin has no path, and a * only as its first label";
    }
    out.any_subdomain = any_subdomain;
    out.head = any_subdomain ? all.substr(0, host_at) : all;
    out.tail = any_subdomain ? all.substr(host_at + 1) : std::string_view{};
    return nullptr;
}

bool matches(const OriginPattern& pattern, std::string_view origin) noexcept {
    if (!pattern.any_subdomain) {
        return origin == pattern.head;
    }
    if (origin.size() <= pattern.head.size() + pattern.tail.size() ||
        !origin.starts_with(pattern.head) || !origin.ends_with(pattern.tail)) {
        return false;
    }
    origin.remove_prefix(pattern.head.size());
    origin.remove_suffix(pattern.tail.size());
    return is_host_name(origin);
}

}  // namespace sonogate::ngx_module
