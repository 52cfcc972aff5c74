// The body of PATCH /v1/tracks/{id}, read with distrust.
//
// For: librarian/changes.cpp. Not for: the bodies of uploads (worker/envelope.hpp).
#pragma once

#include <string_view>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "catalog/track.hpp"
#include "shm/params.hpp"

namespace sonogate::librarian {

// Labels from the packed parameters, then from the JSON object `body`; the first that names one
// wins. A null member sets its label back to empty. Members of a track that no client can set are
// ignored, so that an answer of GET may be sent back; a track_id other than `id` is refused.
// Errors: malformed_request (params), malformed_json (no object, or neither body nor parameters),
// invalid_parameter (repeated, of a wrong type, not allowed).
Result<catalog::LabelChanges> read_label_patch(Bytes params, Bytes body, std::string_view id);

}  // namespace sonogate::librarian
