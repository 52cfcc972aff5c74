#include "ngx_module/cache_control.hpp"

#include <algorithm>

namespace sonogate::ngx_module {

namespace {

bool is_blank(char c) noexcept {
    return c == ' ' || c == '\t';
}

// `name` in small letters.
bool is_named(std::string_view text, std::string_view name) noexcept {
    const auto same = [](char a, char b) {
        return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
    };
    return std::equal(text.begin(), text.end(), name.begin(), name.end(), same);
}

}  // namespace

bool forbids_cache(std::string_view cache_control) noexcept {
    while (!cache_control.empty()) {
        const std::size_t end = std::min(cache_control.find(','), cache_control.size());
        std::string_view directive = cache_control.substr(0, end);
        while (!directive.empty() && is_blank(directive.front())) {
            directive.remove_prefix(1);
        }
        while (!directive.empty() && is_blank(directive.back())) {
            directive.remove_suffix(1);
        }
        if (is_named(directive, "no-store") || is_named(directive, "no-cache")) {
            return true;
        }
        cache_control.remove_prefix(std::min(end + 1, cache_control.size()));
    }
    return false;
}

}  // namespace sonogate::ngx_module
