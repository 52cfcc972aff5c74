// /health and /ready: nginx's own answers, without a round trip.
#include "ngx_module/request.hpp"

#include "ngx_module/text_buffer.hpp"

namespace sonogate::ngx_module {

namespace {

constexpr std::uint64_t low_disk_bytes = 64U << 20U;
constexpr std::size_t answer_bytes = 768;

// A copy of what the broker publishes, each number read once.
struct Parts {
    bool linked = false;
    bool hung = false;
    std::uint32_t workers_ready = 0;
    std::uint32_t workers_wanted = 0;
    std::uint32_t librarian = 0;
    std::uint32_t catalog = 0;
    std::uint32_t daemon = 0;
    std::uint64_t tracks = 0;
    std::uint64_t version = 0;
    std::uint64_t disk_free_bytes = 0;
};

Parts read_parts(const Link& link) noexcept {
    Parts out;
    const shm::LinkDown* down = link.published();
    if (down == nullptr) {
        return out;
    }
    constexpr auto relaxed = std::memory_order_relaxed;
    out.linked = true;
    out.hung = link.is_hung();
    out.workers_ready = down->workers_ready.load(relaxed);
    out.workers_wanted = down->workers_wanted.load(relaxed);
    out.librarian = down->librarian.load(relaxed);
    out.catalog = down->catalog.load(relaxed);
    out.daemon = down->daemon.load(relaxed);
    out.tracks = down->catalog_tracks.load(relaxed);
    out.version = down->catalog_version.load(relaxed);
    out.disk_free_bytes = down->disk_free_bytes.load(relaxed);
    return out;
}

std::string_view name_of_state(std::uint32_t state) noexcept {
    switch (static_cast<shm::PartState>(state)) {
        case shm::PartState::down:
            return "down";
        case shm::PartState::starting:
            return "starting";
        case shm::PartState::ready:
            return "ready";
        case shm::PartState::draining:
            return "draining";
        default:
            return "unknown";
    }
}

bool is_ready(std::uint32_t state) noexcept {
    return state == static_cast<std::uint32_t>(shm::PartState::ready);
}

bool all_ready(const Parts& parts, bool needs_catalog) noexcept {
    return parts.linked && !parts.hung && is_ready(parts.daemon) && parts.workers_ready > 0 &&
           (!needs_catalog || (is_ready(parts.librarian) && is_ready(parts.catalog)));
}

std::string_view link_state(const Parts& parts) noexcept {
    if (!parts.linked) {
        return "down";
    }
    if (parts.hung) {
        return "hung";
    }
    return is_ready(parts.daemon) ? "ready" : name_of_state(parts.daemon);
}

void write_parts(const Parts& parts, TextBuffer& out) noexcept {
    const bool known = parts.linked;
    const std::string_view workers = parts.workers_ready > 0 ? "ready" : "starting";
    const std::string_view disk = parts.disk_free_bytes >= low_disk_bytes ? "ready" : "low";
    out.text("\"parts\":{\"link\":{\"state\":").json_string(link_state(parts));
    out.text("},\"workers\":{\"state\":").json_string(known ? workers : "unknown");
    out.text(",\"ready\":").number(parts.workers_ready);
    out.text(",\"wanted\":").number(parts.workers_wanted);
    out.text("},\"librarian\":{\"state\":");
    out.json_string(known ? name_of_state(parts.librarian) : "unknown");
    out.text("},\"catalog\":{\"state\":");
    out.json_string(known ? name_of_state(parts.catalog) : "unknown");
    out.text(",\"tracks\":").number(parts.tracks);
    out.text(",\"version\":").number(parts.version);
    out.text("},\"disk\":{\"state\":").json_string(known ? disk : "unknown");
    out.text(",\"free_bytes\":").number(parts.disk_free_bytes).text("}}");
}

}  // namespace

ngx_int_t send_health(Request& request) noexcept {
    return send_json(request.r, NGX_HTTP_OK, "{\"status\":\"ok\"}");
}

ngx_int_t send_ready(Request& request) noexcept {
    auto* room = static_cast<char*>(ngx_pnalloc(request.r->pool, answer_bytes));
    if (room == nullptr) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    const Parts parts = read_parts(link_of(*request.conf->pool));
    const bool ready = all_ready(parts, request.conf->catalog != catalog_off);
    TextBuffer out({room, answer_bytes});
    out.text("{\"ready\":").text(ready ? "true" : "false").text(",");
    write_parts(parts, out);
    out.text("}");
    request.retry_after_s = ready ? 0 : 1;
    return send_json(request.r, ready ? NGX_HTTP_OK : NGX_HTTP_SERVICE_UNAVAILABLE, out.view());
}

}  // namespace sonogate::ngx_module
