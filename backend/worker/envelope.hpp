// A job's input taken out of its wrapping: the audio's bytes and the parameters, whether the body
// was raw or JSON.
//
// For: worker/operations.cpp. Not for: multipart (nginx took it apart) nor for decoding audio.
// JSON: an object; members are parameters that come after the packed ones. Strings, numbers, true
// and false are taken as their text, null as left out; `metadata` may be an object and is handed on
// as JSON text; other arrays and objects are invalid_parameter. Unknown members are ignored, but
// must be JSON. `audio` and `fingerprint` are base64 (RFC 4648 section 4, padded, line breaks
// allowed); other characters are invalid_parameter, named.
#pragma once

#include <forward_list>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "shm/params.hpp"
#include "worker/operation.hpp"

namespace sonogate::worker {

// Movable, not copyable: `params` and `audio` may borrow from the owned parts as well as from the
// request.
struct Envelope {
    shm::Params params;
    Bytes audio;                                        // empty where there is none
    std::optional<std::vector<std::byte>> fingerprint;  // JSON member of identify, base64 undone

    Envelope() = default;
    Envelope(Envelope&&) noexcept = default;
    Envelope& operator=(Envelope&&) noexcept = default;
    Envelope(const Envelope&) = delete;
    Envelope& operator=(const Envelope&) = delete;

    std::vector<std::byte> owned_audio;
    std::forward_list<std::string> owned_texts;
};

// Errors: malformed_request (packed parameters), malformed_json, invalid_parameter (repeated, of a
// wrong type, bad base64, `upload_id`: there are no uploads to name), job_too_large where parsing
// would pass the job's memory. An absent audio is no error here.
Result<Envelope> open_envelope(const Request& request);

}  // namespace sonogate::worker
