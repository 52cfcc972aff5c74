// A request body on its way into a slab.
//
// For: reading it with nginx's own reader, straight into shared memory where its length is known
// (recv() lands in the slab), copied otherwise (chunked, HTTP/2); taking multipart apart on the
// way; stopping where the ticket holds no more. Not for: asking for the first ticket (gate.cpp) nor
// for what happens to the audio.
//
//   slab:  params (64 KiB) | audio, complete | bytes received, not yet known to be audio | free
//                            0        audio_bytes                                     end
#pragma once

#include "ngx_module/content_hash.hpp"
#include "ngx_module/link.hpp"
#include "ngx_module/multipart.hpp"
#include "ngx_module/ngx.hpp"
#include "shm/params.hpp"

#include <optional>

namespace sonogate::ngx_module {

enum class Progress : std::uint8_t {
    done,     // the whole body is there
    waiting,  // for the client
    paused,   // for memory: on_grant() goes on
    refused,  // failure() says why
    broken,   // nginx's reader said status()
};

class Upload {
  public:
    // Takes a slab for the job and reads the query. Call before anything else. `most_bytes` bounds
    // a body of unknown length; 0 = there will be no body, only the query. Errors: those of
    // read_query(), malformed_multipart, internal.
    Result<void> begin(ngx_http_request_t* r, Link& link, Job& job, off_t most_bytes) noexcept;

    // Hashes the audio, or the JSON body, as it arrives. After begin().
    void hash_with(const ContentHash::Key& key) noexcept { hash_.emplace(key); }
    // What it has come to, for the caller to add to and to finish; null where nothing was hashed.
    ContentHash* hash() noexcept { return hash_ ? &*hash_ : nullptr; }

    // Reads as much as there is and may be read.
    Progress pump() noexcept;

    const Failure& failure() const noexcept { return failure_; }
    ngx_int_t status() const noexcept { return status_; }

    std::size_t params_bytes() const noexcept { return params_.size(); }
    std::uint64_t audio_bytes() const noexcept { return audio_bytes_; }
    std::uint64_t received_bytes() const noexcept { return received_bytes_; }
    shm::BodyKind kind() const noexcept { return kind_; }
    // Of the audio's part, made harmless; empty where it has none.
    std::string_view filename() const noexcept {
        return multipart_ ? multipart_->filename() : std::string_view{};
    }
    std::uint64_t first_byte_us() const noexcept { return first_byte_us_; }
    std::uint64_t last_byte_us() const noexcept { return last_byte_us_; }

  private:
    Result<void> read_content_type() noexcept;
    bool consume() noexcept;
    bool take(const u_char* data, std::size_t bytes) noexcept;
    bool take_file(ngx_buf_t& buffer) noexcept;
    bool grow(std::uint64_t bytes) noexcept;
    bool take_apart() noexcept;
    void hash_audio(std::uint64_t offset, std::size_t bytes) noexcept;
    bool may_read() noexcept;
    void aim() noexcept;
    Progress finish() noexcept;
    u_char* at(std::uint64_t offset) const noexcept {
        return reinterpret_cast<u_char*>(job_->slab->audio().data()) + offset;
    }

    ngx_http_request_t* r_ = nullptr;
    Link* link_ = nullptr;
    Job* job_ = nullptr;
    std::uint64_t most_bytes_ = 0;
    shm::BodyKind kind_ = shm::BodyKind::none;
    shm::ParamsWriter params_;
    std::optional<Multipart> multipart_;
    std::uint64_t audio_bytes_ = 0;
    std::uint64_t end_ = 0;
    std::uint64_t received_bytes_ = 0;
    std::uint64_t first_byte_us_ = 0;
    std::uint64_t last_byte_us_ = 0;
    std::optional<ContentHash> hash_;
    Failure failure_;
    ngx_int_t status_ = NGX_OK;
};

}  // namespace sonogate::ngx_module
