#include "ngx_module/headers.hpp"

#include <algorithm>

namespace sonogate::ngx_module {

namespace {

constexpr std::string_view blanks = " \t";

bool equal_names(std::string_view a, std::string_view b) noexcept {
    return a.size() == b.size() && ngx_strncasecmp(chars(a.data()), chars(b.data()), a.size()) == 0;
}

// Whether a comma list has a word, in any case.
bool has_word(std::string_view list, std::string_view word) noexcept {
    while (!list.empty()) {
        std::string_view one = list.substr(0, list.find(','));
        list.remove_prefix(std::min(one.size() + 1, list.size()));
        one.remove_prefix(std::min(one.find_first_not_of(blanks), one.size()));
        one = one.substr(0, one.find_last_not_of(blanks) + 1);
        if (equal_names(one, word)) {
            return true;
        }
    }
    return false;
}

}  // namespace

const ngx_table_elt_t* find_request_header(ngx_http_request_t* r, std::string_view name,
                                           const ngx_table_elt_t* after) noexcept {
    bool passed = after == nullptr;
    for (const ngx_list_part_t* part = &r->headers_in.headers.part; part != nullptr;
         part = part->next) {
        const auto* headers = static_cast<const ngx_table_elt_t*>(part->elts);
        for (ngx_uint_t i = 0; i < part->nelts; ++i) {
            const ngx_table_elt_t& one = headers[i];
            if (!passed) {
                passed = &one == after;
            } else if (one.key.len == name.size() && one.lowcase_key != nullptr &&
                       std::memcmp(one.lowcase_key, name.data(), name.size()) == 0) {
                return &one;
            }
        }
    }
    return nullptr;
}

std::string_view request_header(ngx_http_request_t* r, std::string_view name) noexcept {
    const ngx_table_elt_t* header = find_request_header(r, name);
    return header == nullptr ? std::string_view{} : view(header->value);
}

AnswerHeaders::AnswerHeaders(ngx_http_request_t* r) noexcept : r_(r) {
    for (const ngx_list_part_t* part = &r->headers_out.headers.part; part != nullptr;
         part = part->next) {
        theirs_ += part->nelts;
    }
}

template <typename Matches>
bool AnswerHeaders::any_of_theirs(std::string_view name, Matches&& matches) const noexcept {
    ngx_uint_t left = theirs_;
    for (const ngx_list_part_t* part = &r_->headers_out.headers.part; part != nullptr && left > 0;
         part = part->next) {
        const auto* headers = static_cast<const ngx_table_elt_t*>(part->elts);
        for (ngx_uint_t i = 0; i < part->nelts && left > 0; ++i, --left) {
            // A hash of 0 is nginx's mark of a header that was taken back.
            if (headers[i].hash != 0 && equal_names(view(headers[i].key), name) &&
                matches(headers[i])) {
                return true;
            }
        }
    }
    return false;
}

bool AnswerHeaders::is_among_theirs(std::string_view name) const noexcept {
    return any_of_theirs(name, [](const ngx_table_elt_t&) { return true; });
}

void AnswerHeaders::set_copy(std::string_view name, std::string_view value) noexcept {
    if (is_set(name)) {
        return;
    }
    const ngx_str_t copy = copied(r_->pool, value);
    if (copy.data == nullptr) {
        failed_ = true;
        return;
    }
    add(name, view(copy));
}

void AnswerHeaders::add_word(std::string_view name, std::string_view word) noexcept {
    if (!any_of_theirs(name, [word](const ngx_table_elt_t& header) {
            return has_word(view(header.value), word);
        })) {
        add(name, word);
    }
}

}  // namespace sonogate::ngx_module
