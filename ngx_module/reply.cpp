// The answer of a job, sent from where the backend wrote it.
#include "ngx_module/request.hpp"

#include "base/clock.hpp"
#include "ngx_module/text_buffer.hpp"

#include <algorithm>

namespace sonogate::ngx_module {

namespace {

constexpr std::size_t prefix_room_bytes = 512;

bool has_timing(shm::Endpoint endpoint) noexcept {
    return endpoint == shm::Endpoint::analyze || endpoint == shm::Endpoint::identify ||
           endpoint == shm::Endpoint::fingerprint || endpoint == shm::Endpoint::monitor;
}

// `{"request_id":…,"timing_ms":{…},"cache":"…",` in place of the result's first byte.
void write_prefix(const Request& request, bool has_members, TextBuffer& out) noexcept {
    const std::uint64_t now = now_us();
    const shm::StageTimes& times = request.reply.completion.times;
    const Upload& upload = request.upload;
    out.text("{\"request_id\":").json_string(view(request.request_id));
    out.text(",\"timing_ms\":{\"receive\":");
    out.milliseconds(upload.last_byte_us() - upload.first_byte_us());
    out.text(",\"queue\":").milliseconds(times.queue_us);
    out.text(",\"decode\":").milliseconds(times.decode_us);
    out.text(",\"compute\":").milliseconds(times.compute_us);
    if (shm::depends_on_catalog(request.route.endpoint)) {
        out.text(",\"search\":").milliseconds(times.search_us);
    }
    out.text(",\"total\":").milliseconds(now - request.started_us);
    out.text(",\"after_last_byte\":").milliseconds(now - upload.last_byte_us());
    out.text("},\"cache\":").json_string(request.from_cache ? "hit" : "miss");
    out.text(has_members ? "," : "");
}

ngx_chain_t* link_of_buffer(ngx_pool_t* pool, ngx_buf_t*& buffer) noexcept {
    buffer = static_cast<ngx_buf_t*>(ngx_calloc_buf(pool));
    ngx_chain_t* link = ngx_alloc_chain_link(pool);
    if (buffer == nullptr || link == nullptr) {
        return nullptr;
    }
    link->buf = buffer;
    link->next = nullptr;
    return link;
}

ngx_chain_t* memory_buffer(ngx_pool_t* pool, std::string_view text) noexcept {
    ngx_buf_t* buffer = nullptr;
    ngx_chain_t* link = link_of_buffer(pool, buffer);
    if (link != nullptr) {
        buffer->pos = buffer->start = chars(text.data());
        buffer->last = buffer->end = buffer->pos + text.size();
        buffer->memory = 1;  // others' memory, not to be written
    }
    return link;
}

// A large result: nobody maps it, nginx sends it as a file; its worker may be gone by then.
ngx_chain_t* file_buffer(Request& request, std::uint64_t from) noexcept {
    ngx_http_request_t* r = request.r;
    ngx_buf_t* buffer = nullptr;
    ngx_chain_t* link = link_of_buffer(r->pool, buffer);
    auto* file = static_cast<ngx_file_t*>(ngx_pcalloc(r->pool, sizeof(ngx_file_t)));
    if (link == nullptr || file == nullptr) {
        return nullptr;
    }
    file->fd = request.reply.file.get();
    file->log = r->connection->log;
    ngx_str_set(&file->name, "sonogate result");
    buffer->file = file;
    buffer->in_file = 1;
    buffer->file_pos = static_cast<off_t>(from);
    buffer->file_last = static_cast<off_t>(request.reply.completion.result_bytes);
    return link;
}

// The result's first two bytes: what the prefix goes between.
std::array<char, 2> first_bytes(const Reply& reply) noexcept {
    std::array<char, 2> out{};
    if (reply.file) {
        (void)::pread(reply.file.get(), out.data(), out.size(), 0);
    } else if (reply.bytes.size() >= out.size()) {
        std::memcpy(out.data(), reply.bytes.data(), out.size());
    }
    return out;
}

// A name for these bytes (FNV-1a, 64 bits): two answers of one path that differ have different
// ones.
std::uint64_t etag_of(std::string_view bytes) noexcept {
    std::uint64_t hash = 0xcbf29ce484222325U;
    for (const char c : bytes) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    }
    return hash;
}

bool is_get(const ngx_http_request_t* r) noexcept {
    return r->method == NGX_HTTP_GET || r->method == NGX_HTTP_HEAD;
}

ngx_int_t set_etag(ngx_http_request_t* r, std::uint64_t etag) noexcept {
    auto* header = static_cast<ngx_table_elt_t*>(ngx_list_push(&r->headers_out.headers));
    auto* text = static_cast<u_char*>(ngx_pnalloc(r->pool, 18));
    if (header == nullptr || text == nullptr) {
        return NGX_ERROR;
    }
    std::memset(header, 0, sizeof(*header));
    header->hash = 1;
    ngx_str_set(&header->key, "ETag");
    header->value = {18, text};
    *text++ = '"';
    for (int shift = 60; shift >= 0; shift -= 4) {
        *text++ = static_cast<u_char>("0123456789abcdef"[(etag >> shift) & 15U]);
    }
    *text = '"';
    r->headers_out.etag = header;
    return NGX_OK;
}

ngx_int_t send(ngx_http_request_t* r, ngx_chain_t* out) noexcept {
    const ngx_int_t rc = ngx_http_send_header(r);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only || out == nullptr) {
        return rc;
    }
    ngx_chain_t* last = out;
    while (last->next != nullptr) {
        last = last->next;
    }
    last->buf->last_buf = r == r->main ? 1 : 0;
    last->buf->last_in_chain = 1;
    return ngx_http_output_filter(r, out);
}

void set_content_type(ngx_http_request_t* r, std::string_view type) noexcept {
    r->headers_out.content_type = borrowed(type);
    r->headers_out.content_type_len = type.size();
    r->headers_out.content_type_lowcase = nullptr;
}

}  // namespace

ngx_int_t send_json(ngx_http_request_t* r, ngx_uint_t status, std::string_view body) noexcept {
    r->headers_out.status = status;
    r->headers_out.content_length_n = static_cast<off_t>(body.size());
    if (status != NGX_HTTP_OK || !is_get(r)) {
        r->disable_not_modified = 1;
    } else if (set_etag(r, etag_of(body)) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    set_content_type(r, "application/json");
    ngx_chain_t* out = memory_buffer(r->pool, body);
    return out == nullptr ? NGX_HTTP_INTERNAL_SERVER_ERROR : send(r, out);
}

ngx_int_t Request::send_reply() noexcept {
    const shm::Completion& completion = reply.completion;
    r->headers_out.status = completion.status;
    // POST has no ETag, and If-Match or If-None-Match of another resource must not change it.
    if (is_get(r)) {
        const std::uint64_t etag =
            completion.etag != 0 ? completion.etag : etag_of(as_text(reply.bytes));
        if (set_etag(r, etag) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    } else {
        r->disable_not_modified = 1;
    }
    if (completion.status == NGX_HTTP_NO_CONTENT) {
        r->header_only = 1;
        return send(r, nullptr);
    }
    const bool json = completion.text_plain == 0;
    const std::array<char, 2> first = first_bytes(reply);
    if (completion.result_bytes < 2 || (json && first[0] != '{')) {
        return refuse(Errc::internal);
    }
    set_content_type(r, json ? "application/json" : "text/plain; version=0.0.4; charset=utf-8");

    ngx_chain_t* head = nullptr;
    std::uint64_t from = 0;
    std::uint64_t length = completion.result_bytes;
    if (json && has_timing(route.endpoint)) {
        auto* room = static_cast<char*>(ngx_pnalloc(r->pool, prefix_room_bytes));
        if (room == nullptr) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
        TextBuffer prefix({room, prefix_room_bytes});
        write_prefix(*this, first[1] != '}', prefix);
        head = memory_buffer(r->pool, prefix.view());
        from = 1;
        length += prefix.size() - from;
    }
    ngx_chain_t* body = reply.file ? file_buffer(*this, from)
                                   : memory_buffer(r->pool, as_text(reply.bytes.subspan(from)));
    if (body == nullptr || (from != 0 && head == nullptr)) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (head != nullptr) {
        head->next = body;
    }
    r->headers_out.content_length_n = static_cast<off_t>(length);
    return send(r, head != nullptr ? head : body);
}

}  // namespace sonogate::ngx_module
