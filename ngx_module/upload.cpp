#include "ngx_module/upload.hpp"

#include "base/clock.hpp"
#include "ngx_module/content_type.hpp"
#include "ngx_module/query.hpp"

#include <algorithm>

namespace sonogate::ngx_module {

namespace {

constexpr std::uint64_t charge_step_bytes = 1U << 20U;
constexpr std::uint64_t unknown_length_slab_bytes = 1U << 20U;  // a chunked body starts here
constexpr std::size_t file_piece_bytes = 1U << 20U;

std::string_view content_type_of(ngx_http_request_t* r) noexcept {
    return r->headers_in.content_type == nullptr ? std::string_view{}
                                                 : view(r->headers_in.content_type->value);
}

}  // namespace

Result<void> Upload::begin(ngx_http_request_t* r, Link& link, Job& job, off_t most_bytes) noexcept {
    r_ = r;
    link_ = &link;
    job_ = &job;
    most_bytes_ = static_cast<std::uint64_t>(most_bytes);
    const off_t declared = r->headers_in.content_length_n;
    std::uint64_t wanted = std::min(most_bytes_, unknown_length_slab_bytes);
    if (most_bytes > 0 && declared >= 0 && !r->headers_in.chunked) {
        wanted = static_cast<std::uint64_t>(declared);
    }
    auto slab = link.slabs().take(wanted);
    if (!slab) {
        return slab.failure();
    }
    link.replace_slab(job, *slab);
    params_ = shm::ParamsWriter(job.slab->params());
    if (r->args.len > 0) {
        auto* scratch = static_cast<char*>(ngx_pnalloc(r->pool, r->args.len));
        if (scratch == nullptr) {
            return Errc::internal;
        }
        const auto query = read_query(view(r->args), std::span(scratch, r->args.len), params_);
        if (!query) {
            return query;
        }
    }
    params_.next_source();
    first_byte_us_ = last_byte_us_ = now_us();
    return {};
}

Result<void> Upload::read_content_type() noexcept {
    const std::string_view type = content_type_of(r_);
    const Wrapping wrapping = wrapping_of(type);
    kind_ = wrapping == Wrapping::json ? shm::BodyKind::json : shm::BodyKind::raw;
    if (wrapping != Wrapping::multipart) {
        return {};
    }
    std::array<char, Multipart::max_boundary_bytes> boundary{};
    const auto named = header_parameter(type, "boundary", boundary);
    auto parser = Multipart::with_boundary(named.value_or(std::string_view{}));
    if (!parser) {
        return parser.failure();
    }
    multipart_ = *parser;
    return {};
}

Progress Upload::pump() noexcept {
    if (kind_ == shm::BodyKind::none) {
        if (const auto known = read_content_type(); !known) {
            failure_ = known.failure();
            return Progress::refused;
        }
    }
    for (;;) {
        if (!consume()) {
            return Progress::refused;
        }
        if (!r_->reading_body) {
            return finish();
        }
        if (!may_read()) {
            // The client's timer does not run while it is we who wait. Edge-triggered epoll will
            // not fire again for bytes that are there already: whoever resumes calls pump().
            if (r_->connection->read->timer_set) {
                ngx_del_timer(r_->connection->read);
            }
            return Progress::paused;
        }
        aim();
        const ngx_int_t rc = ngx_http_read_unbuffered_request_body(r_);
        if (rc >= NGX_HTTP_SPECIAL_RESPONSE || rc == NGX_ERROR) {
            status_ = rc == NGX_ERROR ? NGX_HTTP_INTERNAL_SERVER_ERROR : rc;
            return Progress::broken;
        }
        if (rc == NGX_AGAIN && r_->request_body->bufs == nullptr) {
            return Progress::waiting;
        }
    }
}

// Takes over what nginx's reader has. A body that mirror read before may lie in a file.
bool Upload::consume() noexcept {
    ngx_http_request_body_t* body = r_->request_body;
    if (body == nullptr || body->bufs == nullptr) {
        return true;
    }
    last_byte_us_ = now_us();
    for (ngx_chain_t* link = body->bufs; link != nullptr; link = link->next) {
        ngx_buf_t& buffer = *link->buf;
        const bool taken =
            buffer.in_file && !ngx_buf_in_memory(&buffer)
                ? take_file(buffer)
                : take(buffer.pos, static_cast<std::size_t>(buffer.last - buffer.pos));
        if (!taken) {
            return false;
        }
        buffer.pos = buffer.last;
    }
    body->bufs = nullptr;
    job_->held_bytes = end_;
    return multipart_ ? take_apart() : true;
}

bool Upload::take_file(ngx_buf_t& buffer) noexcept {
    while (buffer.file_pos < buffer.file_last) {
        const auto piece = static_cast<std::size_t>(
            std::min(buffer.file_last - buffer.file_pos, static_cast<off_t>(file_piece_bytes)));
        if (!grow(end_ + piece)) {
            return false;
        }
        const ssize_t n = ::pread(buffer.file->fd, at(end_), piece, buffer.file_pos);
        if (n <= 0) {
            failure_ = {.code = Errc::internal, .error = n < 0 ? errno : EIO};
            return false;
        }
        buffer.file_pos += n;
        if (!take(at(end_), static_cast<std::size_t>(n))) {
            return false;
        }
    }
    return true;
}

bool Upload::take(const u_char* data, std::size_t bytes) noexcept {
    if (bytes == 0) {
        return true;
    }
    if (!grow(end_ + bytes)) {
        return false;
    }
    if (data != at(end_)) {
        std::memcpy(at(end_), data, bytes);
    }
    end_ += bytes;
    received_bytes_ += bytes;
    job_->slab->touched(end_);
    if (!multipart_) {
        hash_audio(audio_bytes_, static_cast<std::size_t>(end_ - audio_bytes_));
        audio_bytes_ = end_;
    }
    return true;
}

void Upload::hash_audio(std::uint64_t offset, std::size_t bytes) noexcept {
    if (hash_) {
        hash_->add({reinterpret_cast<const std::byte*>(at(offset)), bytes});
    }
}

// A body of unknown length moves once, to a slab for the most that it can become.
bool Upload::grow(std::uint64_t bytes) noexcept {
    if (bytes <= job_->slab->audio().size()) {
        return true;
    }
    if (bytes > most_bytes_) {
        failure_ = {.code = Errc::body_too_large, .limit = most_bytes_, .value = bytes};
        return false;
    }
    auto larger = link_->slabs().take(most_bytes_);
    if (!larger) {
        failure_ = larger.failure();
        return false;
    }
    std::memcpy((*larger)->audio().data(), job_->slab->audio().data(), end_);
    params_.move_to((*larger)->params());
    (*larger)->touched(end_);
    link_->replace_slab(*job_, *larger);
    return true;
}

// Audio moves to the front only where something stood before it: after a part's headers the next
// bytes are received where they belong.
bool Upload::take_apart() noexcept {
    std::uint64_t from = audio_bytes_;
    for (;;) {
        const std::string_view window{reinterpret_cast<const char*>(at(from)),
                                      static_cast<std::size_t>(end_ - from)};
        const Multipart::Step step = multipart_->next(window);
        if (step.kind == Multipart::Kind::more) {
            break;
        }
        if (step.kind == Multipart::Kind::failed) {
            failure_ = step.failure;
            return false;
        }
        if (step.kind == Multipart::Kind::audio) {
            hash_audio(from, step.bytes);
            if (from != audio_bytes_) {
                std::memmove(at(audio_bytes_), at(from), step.bytes);
            }
            audio_bytes_ += step.bytes;
        } else if (step.kind == Multipart::Kind::parameter) {
            if (const auto added = params_.add(step.parameter, step.value); !added) {
                failure_ = added.failure();
                return false;
            }
        }
        from += step.bytes;
    }
    if (from != audio_bytes_) {
        std::memmove(at(audio_bytes_), at(from), static_cast<std::size_t>(end_ - from));
        end_ -= from - audio_bytes_;
    }
    return true;
}

// Whether the ticket holds more than what is here; asks for more ahead of need.
bool Upload::may_read() noexcept {
    if (job_->state != JobState::admitted) {
        return true;  // small: the submission will be its ticket
    }
    const std::uint64_t granted = job_->granted_bytes;
    if (granted >= job_->need_bytes) {
        return true;
    }
    const std::uint64_t left = granted > end_ ? granted - end_ : 0;
    if (left <= charge_step_bytes / 2) {
        link_->charge(*job_,
                      std::min(job_->need_bytes, std::max(granted, end_) + charge_step_bytes));
    }
    return left > 0;
}

// Points nginx's buffer at the slab, so that recv() lands there. Chunks and the frames of HTTP/2
// and 3 are copied: their framing lies between the bytes.
void Upload::aim() noexcept {
    ngx_http_request_body_t* body = r_->request_body;
    if (r_->headers_in.chunked || r_->http_version >= NGX_HTTP_VERSION_20 || body->buf == nullptr ||
        body->rest <= 0) {
        return;
    }
    std::uint64_t room =
        std::min(static_cast<std::uint64_t>(body->rest), job_->slab->audio().size() - end_);
    if (job_->state == JobState::admitted && job_->granted_bytes < job_->need_bytes) {
        room = std::min(room, job_->granted_bytes - end_);
    }
    ngx_buf_t& buffer = *body->buf;
    buffer.start = buffer.pos = buffer.last = at(end_);
    buffer.end = buffer.start + room;
}

Progress Upload::finish() noexcept {
    if (multipart_ && !multipart_->finished()) {
        failure_ = {.code = Errc::malformed_multipart};
        return Progress::refused;
    }
    if (audio_bytes_ == 0) {
        failure_ = {.code = Errc::missing_audio};
        return Progress::refused;
    }
    return Progress::done;
}

}  // namespace sonogate::ngx_module
