// Which endpoint a method and a path mean, and what may be done there.
//
// For: the gate, before a byte of the body is read. Not for: permissions or parameters. Knows
// nothing of nginx.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/errc.hpp"
#include "base/key_line.hpp"
#include "shm/layout.hpp"

namespace sonogate::ngx_module {

enum class Method : std::uint8_t { get, head, post, patch, del, other };

enum class Place : std::uint8_t { job, health, ready };  // who answers: the backend, or nginx

// What the endpoint needs from the catalog of its location.
enum class CatalogUse : std::uint8_t { none, read, write };

struct Route {
    Errc refusal = Errc::ok;  // not_found or method_not_allowed
    Place place = Place::job;
    shm::Endpoint endpoint = shm::Endpoint::none;
    shm::CountedEndpoint counted = shm::CountedEndpoint::other;
    CatalogUse catalog = CatalogUse::none;
    std::uint8_t roles = 0;     // a key needs one of them, where keys are asked for; 0 = no key
    bool takes_audio = false;   // the body is audio, in one of its wrappings
    bool takes_json = false;    // the body is a small JSON object
    std::string_view allow;     // of the path, for a 405
    std::string_view track_id;  // from the path; borrows it
};

// `path` is decoded, without query. A track id in it that is not 1 to 128 of A-Za-z0-9._:- is a
// path that does not exist.
Route route_of(Method method, std::string_view path) noexcept;

bool is_track_id(std::string_view text) noexcept;

// The name for logs and variables; empty where there is none.
std::string_view name_of(shm::CountedEndpoint endpoint) noexcept;

}  // namespace sonogate::ngx_module
