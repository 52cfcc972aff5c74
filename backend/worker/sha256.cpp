#include "worker/sha256.hpp"

#include <algorithm>

#include "digest/sha256.hpp"

namespace sonogate::worker {

namespace {

constexpr std::size_t piece_bytes = 4U << 20U;

}  // namespace

Result<std::string> sha256_hex(Bytes bytes, const std::function<bool()>& stop_requested) {
    digest::Sha256 digest;
    for (std::size_t at = 0; at < bytes.size(); at += piece_bytes) {
        if (at > 0 && stop_requested && stop_requested()) {
            return Errc::cancelled;
        }
        digest.add(bytes.subspan(at, std::min(piece_bytes, bytes.size() - at)));
    }
    return digest.finish();
}

}  // namespace sonogate::worker
