#include "worker/sha256.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <memory>

namespace sonogate::worker {

namespace {

constexpr std::size_t piece_bytes = 4U << 20U;

struct FreeDigest {
    void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
};

// Fetched once: EVP_sha256() looks its implementation up at every use.
const EVP_MD* sha256_method() {
    static const EVP_MD* const method = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    return method;
}

}  // namespace

Result<std::string> sha256_hex(Bytes bytes, const std::function<bool()>& stop_requested) {
    const std::unique_ptr<EVP_MD_CTX, FreeDigest> context(EVP_MD_CTX_new());
    if (!context || EVP_DigestInit_ex(context.get(), sha256_method(), nullptr) != 1) {
        return Errc::internal;
    }
    for (std::size_t at = 0; at < bytes.size(); at += piece_bytes) {
        if (at > 0 && stop_requested && stop_requested()) {
            return Errc::cancelled;
        }
        const Bytes piece = bytes.subspan(at, std::min(piece_bytes, bytes.size() - at));
        if (EVP_DigestUpdate(context.get(), piece.data(), piece.size()) != 1) {
            return Errc::internal;
        }
    }
    std::array<unsigned char, 32> digest{};
    if (EVP_DigestFinal_ex(context.get(), digest.data(), nullptr) != 1) {
        return Errc::internal;
    }
    constexpr std::string_view digits = "0123456789abcdef";
    std::string hex;
    hex.reserve(2 * digest.size());
    for (const unsigned char byte : digest) {
        hex += digits[byte >> 4U];
        hex += digits[byte & 15U];
    }
    return hex;
}

}  // namespace sonogate::worker
