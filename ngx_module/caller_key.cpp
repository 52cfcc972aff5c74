#include "ngx_module/caller_key.hpp"

#include <algorithm>

#include "ngx_module/key_hash.hpp"
#include "ngx_module/request.hpp"

namespace sonogate::ngx_module {

namespace {

bool is_name(std::string_view text) noexcept {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_';
    });
}

// The variable that the text is, $name or ${name}; empty where it is more than that.
std::string_view variable_of(std::string_view text) noexcept {
    if (text.starts_with("${") && text.ends_with('}')) {
        text = text.substr(2, text.size() - 3);
    } else if (text.starts_with('$')) {
        text.remove_prefix(1);
    } else {
        return {};
    }
    return is_name(text) ? text : std::string_view();
}

}  // namespace

bool CallerKey::compile(ngx_conf_t* cf, std::string_view source) noexcept {
    ngx_str_t words = copied(cf->pool, source);
    if (words.data == nullptr) {
        return false;
    }
    const std::string_view one = variable_of(view(words));
    is_identity = one == variable_of(default_caller_key);
    if (!one.empty()) {
        ngx_str_t name = borrowed(one);
        variable = ngx_http_get_variable_index(cf, &name);
        return variable != NGX_ERROR;
    }
    ngx_http_compile_complex_value_t compile{};
    compile.cf = cf;
    compile.value = &words;
    compile.complex_value = &text;
    return ngx_http_compile_complex_value(&compile) == NGX_OK;
}

bool CallerKey::read(ngx_http_request_t* r, std::string_view& out) const noexcept {
    out = {};
    if (variable == NGX_ERROR) {
        ngx_str_t value{};
        if (ngx_http_complex_value(r, const_cast<ngx_http_complex_value_t*>(&text), &value) !=
            NGX_OK) {
            return false;
        }
        out = view(value);
        return true;
    }
    const ngx_http_variable_value_t* value =
        ngx_http_get_flushed_variable(r, static_cast<ngx_uint_t>(variable));
    if (value == nullptr) {
        return false;
    }
    if (value->not_found == 0) {
        out = {reinterpret_cast<const char*>(value->data), value->len};
    }
    return true;
}

bool CallerKey::hash(Request& request, std::uint64_t& out) const noexcept {
    if (is_identity) {
        out = request.identity_hash();
        return true;
    }
    std::string_view value;
    if (!read(request.r, value)) {
        return false;
    }
    out = hash_of_key(value);
    return true;
}

bool CallerKey::holds(ngx_http_request_t* r) const noexcept {
    std::string_view value;
    return read(r, value) && !value.empty() && value != "0";
}

}  // namespace sonogate::ngx_module
