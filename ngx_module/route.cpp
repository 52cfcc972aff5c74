#include "ngx_module/route.hpp"

#include <algorithm>
#include <array>

namespace sonogate::ngx_module {

namespace {

using shm::CountedEndpoint;
using shm::Endpoint;

struct Path {
    std::string_view path;
    CountedEndpoint counted;
    std::string_view allow;
};

constexpr std::string_view tracks_prefix = "/v1/tracks/";

constexpr std::array<Path, 8> paths = {{
    {"/v1/analyze", CountedEndpoint::analyze, "POST"},
    {"/v1/identify", CountedEndpoint::identify, "POST"},
    {"/v1/fingerprint", CountedEndpoint::fingerprint, "POST"},
    {"/v1/monitor", CountedEndpoint::monitor, "POST"},
    {"/v1/tracks", CountedEndpoint::tracks, "GET, HEAD, POST"},
    {"/metrics", CountedEndpoint::metrics, "GET, HEAD"},
    {"/health", CountedEndpoint::health, "GET, HEAD"},
    {"/ready", CountedEndpoint::ready, "GET, HEAD"},
}};
constexpr Path track_path = {"", CountedEndpoint::track, "GET, HEAD, PATCH, DELETE"};

void audio(Route& route, Endpoint endpoint, std::uint8_t roles, CatalogUse use) noexcept {
    route.endpoint = endpoint;
    route.catalog = use;
    route.roles = roles;
    route.takes_audio = true;
}

void catalog(Route& route, Endpoint endpoint, CatalogUse use) noexcept {
    route.endpoint = endpoint;
    route.catalog = use;
    route.roles = use == CatalogUse::write ? role_catalog : role_identify | role_catalog;
}

// False: that method is not of this path.
bool set_endpoint(Route& route, Method method) noexcept {
    const bool get = method == Method::get || method == Method::head;
    const bool post = method == Method::post;
    switch (route.counted) {
        case CountedEndpoint::analyze:
            audio(route, Endpoint::analyze, role_analyze, CatalogUse::none);
            return post;
        case CountedEndpoint::identify:
            audio(route, Endpoint::identify, role_identify, CatalogUse::read);
            return post;
        case CountedEndpoint::fingerprint:
            audio(route, Endpoint::fingerprint, role_analyze | role_identify, CatalogUse::none);
            return post;
        case CountedEndpoint::monitor:
            audio(route, Endpoint::monitor, role_identify, CatalogUse::read);
            return post;
        case CountedEndpoint::tracks:
            if (post) {
                audio(route, Endpoint::track_create, role_catalog, CatalogUse::write);
            } else {
                catalog(route, Endpoint::track_list, CatalogUse::read);
            }
            return post || get;
        case CountedEndpoint::track:
            if (method == Method::patch) {
                catalog(route, Endpoint::track_patch, CatalogUse::write);
                route.takes_json = true;
            } else if (method == Method::del) {
                catalog(route, Endpoint::track_delete, CatalogUse::write);
            } else {
                catalog(route, Endpoint::track_get, CatalogUse::read);
            }
            return get || method == Method::patch || method == Method::del;
        case CountedEndpoint::metrics:
            route.endpoint = Endpoint::metrics;
            route.roles = role_ops;
            return get;
        case CountedEndpoint::health:
            route.place = Place::health;
            return get;
        case CountedEndpoint::ready:
            route.place = Place::ready;
            return get;
        default:
            return false;
    }
}

}  // namespace

bool is_track_id(std::string_view text) noexcept {
    const auto allowed = [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
               c == '.' || c == '_' || c == ':' || c == '-';
    };
    return !text.empty() && text.size() <= shm::text_bytes &&
           std::all_of(text.begin(), text.end(), allowed);
}

Route route_of(Method method, std::string_view path) noexcept {
    Route route;
    const Path* found = nullptr;
    for (const Path& candidate : paths) {
        if (candidate.path == path) {
            found = &candidate;
        }
    }
    if (found == nullptr && path.starts_with(tracks_prefix) &&
        is_track_id(path.substr(tracks_prefix.size()))) {
        found = &track_path;
        route.track_id = path.substr(tracks_prefix.size());
    }
    if (found == nullptr) {
        route.refusal = Errc::not_found;
        return route;
    }
    route.counted = found->counted;
    if (!set_endpoint(route, method)) {
        route = {};
        route.counted = found->counted;
        route.refusal = Errc::method_not_allowed;
        route.allow = found->allow;
    }
    return route;
}

std::string_view name_of(shm::CountedEndpoint endpoint) noexcept {
    constexpr std::array<std::string_view, shm::counted_endpoint_count> names = {
        "other", "analyze", "identify", "fingerprint", "tracks",
        "track", "metrics", "health",   "ready",       "monitor"};
    const auto i = static_cast<std::size_t>(endpoint);
    return i < names.size() ? names[i] : std::string_view{};
}

}  // namespace sonogate::ngx_module
