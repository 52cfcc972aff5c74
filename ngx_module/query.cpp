#include "ngx_module/query.hpp"

#include <algorithm>
#include <optional>

namespace sonogate::ngx_module {

namespace {

int hex_value(char c) noexcept {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// Nothing where a percent sign has no two hex digits behind it.
std::optional<std::string_view> decoded(std::string_view text, std::span<char> out) noexcept {
    std::size_t size = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        char c = text[i] == '+' ? ' ' : text[i];
        if (c == '%') {
            const int high = i + 1 < text.size() ? hex_value(text[i + 1]) : -1;
            const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return std::nullopt;
            }
            c = static_cast<char>(high * 16 + low);
            i += 2;
        }
        out[size++] = c;
    }
    return std::string_view(out.data(), size);
}

}  // namespace

Result<void> read_query(std::string_view query, std::span<char> scratch,
                        shm::ParamsWriter& params) noexcept {
    while (!query.empty()) {
        const std::size_t end = std::min(query.find('&'), query.size());
        const std::string_view one = query.substr(0, end);
        query.remove_prefix(std::min(end + 1, query.size()));
        const std::size_t equals = std::min(one.find('='), one.size());
        const auto name = decoded(one.substr(0, equals), scratch);
        const Parameter parameter = name ? parameter_of(*name) : Parameter::none;
        if (parameter == Parameter::none || parameter >= Parameter::audio) {
            continue;
        }
        const auto value = decoded(one.substr(std::min(equals + 1, one.size())), scratch);
        if (!value) {
            return invalid(parameter);
        }
        if (const auto added = params.add(parameter, *value); !added) {
            return added;
        }
    }
    return {};
}

}  // namespace sonogate::ngx_module
