// The result cache, as a request uses it: may it, under which key, and is the answer there?
//
// The key is a hash of everything that the answer depends on. Two requests have the same key where
// they are of one endpoint, over the same audio file (or the same JSON body), with the same
// parameters wherever they stood, under the same limits, and for identify of the same catalog in
// the same version. The version of the algorithms is not in it: it is the daemon's, and so is the
// hash's own key, which is random and ends with the daemon.
#include "ngx_module/request.hpp"

#include "base/clock.hpp"
#include "ngx_module/cache_control.hpp"
#include "ngx_module/headers.hpp"
#include "shm/params.hpp"

namespace sonogate::ngx_module {

namespace {

// What stands behind audio and parameters in the hash; with both lengths in it, no two requests
// give the same sequence of bytes.
struct KeyTail {
    std::uint64_t audio_bytes;
    std::uint64_t params_bytes;
    shm::AudioLimits limits;
    std::uint64_t catalog_stamp;
    std::uint32_t endpoint;
    std::uint32_t body;
};
static_assert(sizeof(KeyTail) == 72, "no padding: every byte is hashed");

bool client_forbids_cache(ngx_http_request_t* r) noexcept {
    constexpr std::string_view name = "cache-control";
    const ngx_table_elt_t* header = find_request_header(r, name);
    while (header != nullptr && !forbids_cache(view(header->value))) {
        header = find_request_header(r, name, header);
    }
    return header != nullptr;
}

// In order of their numbers, wherever they stood in query and parts.
bool add_params(ContentHash& hash, Bytes packed) noexcept {
    const auto params = shm::Params::parse(packed);
    if (!params) {
        return false;
    }
    for (std::size_t i = 1; i < parameter_count; ++i) {
        if (const auto value = params->get(static_cast<Parameter>(i))) {
            const shm::ParamsWriter::Header header{static_cast<std::uint16_t>(i), 0,
                                                   static_cast<std::uint32_t>(value->size())};
            hash.add(std::as_bytes(std::span(&header, 1)));
            hash.add(as_bytes_of(*value));
        }
    }
    return true;
}

}  // namespace

void Request::prepare_cache() noexcept {
    if (!conf->cache || !shm::may_be_cached(route.endpoint)) {
        return;
    }
    const LinkMemory* memory = link_->cache();
    if (memory != nullptr && !client_forbids_cache(r)) {
        upload.hash_with(memory->cache_hash_key);
        hashed_for_ = memory->epoch;
    }
}

bool Request::add_cache_key(shm::Submission& out) noexcept {
    const LinkMemory* memory = link_->cache();
    ContentHash* hash = upload.hash();
    if (hash == nullptr || memory == nullptr || memory->epoch != hashed_for_) {
        return false;  // the last: another daemon came, with another key
    }
    KeyTail tail{};
    if (shm::depends_on_catalog(out.endpoint)) {
        // relaxed: it was stored before the answer about the change went out, and this request came
        // after whatever its client has seen.
        tail.catalog_stamp = memory->down().catalog_stamp.load(std::memory_order_relaxed);
        if (tail.catalog_stamp == 0) {
            return false;
        }
    }
    if (!add_params(*hash, Bytes(job_->slab->params()).first(out.params_bytes))) {
        return false;
    }
    tail.audio_bytes = out.audio_bytes;
    tail.params_bytes = out.params_bytes;
    tail.limits = out.limits;
    tail.endpoint = static_cast<std::uint32_t>(out.endpoint);
    tail.body = static_cast<std::uint32_t>(out.body);
    hash->add(std::as_bytes(std::span(&tail, 1)));
    out.cache_key = hash->finish();
    out.flags |= shm::submission_cacheable;
    return true;
}

// A hit: the reply is in the request's own memory, and neither a job nor a ticket is left. Nothing
// of the audio is charged.
bool Request::take_from_cache(const shm::CacheKey& key) noexcept {
    const shm::CacheReader& cache = link_->cache()->cache;
    link_->count_lookup();
    const auto found = cache.find(key, now_ns());
    auto* room =
        found ? static_cast<std::byte*>(ngx_pnalloc(r->pool, found->result_bytes)) : nullptr;
    if (room == nullptr) {
        return false;
    }
    const std::span<std::byte> result(room, found->result_bytes);
    if (!cache.copy(*found, result) || result.front() != std::byte{'{'} ||
        result.back() != std::byte{'}'}) {
        return false;
    }
    link_->count_hit(found->entry);
    leave_job();
    stage = Stage::answered;
    reply.completion.status = NGX_HTTP_OK;
    reply.completion.result_bytes = found->result_bytes;
    reply.completion.audio = found->audio;
    reply.completion.cached = 1;
    reply.bytes = result;
    note(reply.completion);
    return true;
}

}  // namespace sonogate::ngx_module
