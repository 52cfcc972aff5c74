// Headers: those of a request found by name, those of an answer put beside what is there.
//
// For: everybody who reads or adds one. Not for: which headers an answer has (filter.cpp).
#pragma once

#include "ngx_module/ngx.hpp"

namespace sonogate::ngx_module {

// The first of that name, given in lower case; null where there is none. `after` continues behind
// one that was found.
const ngx_table_elt_t* find_request_header(ngx_http_request_t* r, std::string_view name,
                                           const ngx_table_elt_t* after = nullptr) noexcept;

// … its value, empty where there is none.
std::string_view request_header(ngx_http_request_t* r, std::string_view name) noexcept;

// The headers of an answer, while ours join those of add_header and of other modules: what is there
// stays, and is never there twice.
class AnswerHeaders {
  public:
    explicit AnswerHeaders(ngx_http_request_t* r) noexcept;

    // Name and value live as long as the request.
    void set(std::string_view name, std::string_view value) noexcept {
        if (!is_set(name)) {
            add(name, value);
        }
    }
    void set_copy(std::string_view name, std::string_view value) noexcept;
    // Beside others of that name.
    void add(std::string_view name, std::string_view value) noexcept {
        ngx_table_elt_t* header = push();
        if (header == nullptr) {
            failed_ = true;
            return;
        }
        *header = {};
        header->hash = 1;
        header->key = borrowed(name);
        header->value = borrowed(value);
    }
    // Into a list (Vary): unless one of that name has the word already.
    void add_word(std::string_view name, std::string_view word) noexcept;

    bool is_set(std::string_view name) const noexcept {
        return theirs_ != 0 && is_among_theirs(name);
    }
    bool failed() const noexcept { return failed_; }  // memory was short

  private:
    // The list has room for twenty before nginx has to be asked for more.
    ngx_table_elt_t* push() noexcept {
        ngx_list_t& list = r_->headers_out.headers;
        ngx_list_part_t& last = *list.last;
        return last.nelts < list.nalloc ? static_cast<ngx_table_elt_t*>(last.elts) + last.nelts++
                                        : static_cast<ngx_table_elt_t*>(ngx_list_push(&list));
    }
    bool is_among_theirs(std::string_view name) const noexcept;
    template <typename Matches>
    bool any_of_theirs(std::string_view name, Matches&& matches) const noexcept;

    ngx_http_request_t* r_;
    ngx_uint_t theirs_ = 0;  // how many there were before ours
    bool failed_ = false;
};

}  // namespace sonogate::ngx_module
