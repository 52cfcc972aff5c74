// Keys: who asks, and what they may do.
//
// For: the key file of a location, the key that a request brings, the answer to "may it?". Not for:
// the file's format (base/key_line.hpp) nor for what a path needs (route.hpp).
#pragma once

#include "base/errc.hpp"
#include "base/key_line.hpp"
#include "ngx_module/ngx.hpp"

namespace sonogate::ngx_module {

struct LocConf;
class Request;

struct Key {
    KeyDigest digest{};
    ngx_str_t name{};
    ngx_str_t rate_class{};  // len 0 where there is none
    std::uint8_t roles = 0;  // a set of Role
};

// A key file, sorted by digest. Lives as long as the configuration.
struct KeyTable {
    Key* keys = nullptr;
    std::size_t count = 0;
};

// The key that a request brought, as one location's file sees it.
struct Caller {
    const KeyTable* table = nullptr;  // whose answer this is
    const Key* key = nullptr;         // null: none was sent, or the file has it not
    bool sent = false;
};

// `sonogate_keys FILE | off`.
char* set_keys(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;

// At the merge: warns of a location that names a file, and has nothing that asks for its keys.
void warn_of_idle_keys(ngx_conf_t* cf, const LocConf& loc) noexcept;

// Reads the headers and computes one SHA-256 where they have a key: ask Request::caller(), which
// remembers.
Caller caller_of(ngx_http_request_t* r, const KeyTable& table) noexcept;

// The key of a request, in any location; null where it has none that counts.
const Key* key_of(ngx_http_request_t* r) noexcept;

// PREACCESS: ok, unauthenticated or forbidden, where nothing that comes later can overrule a key.
Errc check_key(Request& request) noexcept;

// ACCESS: makes `satisfy any` know of keys.
ngx_int_t access_handler(ngx_http_request_t* r) noexcept;

// The value of WWW-Authenticate beside a 401; empty where no key was asked for.
std::string_view challenge_of(Request& request) noexcept;

}  // namespace sonogate::ngx_module
